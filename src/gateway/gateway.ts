/**
 * A local server with OpenAI's Files and Batch API. Puts its parts together; knows nothing of pipelines. All state is
 * in `dataDir`, so a killed gateway continues where it stopped when it is started again.
 */
import { BatchStore } from "./storage/batch-store.js";
import { CallLog } from "./storage/call-log.js";
import { addBatchRoutes, CreationLimit } from "./http/batch-routes.js";
import { createDemoModel } from "./demo-model/demo-model.js";
import { Engine } from "./engine/engine.js";
import { startRetention } from "./engine/retention.js";
import { addFileRoutes } from "./http/file-routes.js";
import { FileStore } from "./storage/file-store.js";
import { HttpServer } from "./http/http-server.js";
import { Journal, type JournalReader } from "./storage/journal.js";
import { addModelRoutes } from "./http/model-routes.js";
import { settingsOf, type GatewayOptions, type GatewaySettings } from "./settings.js";
import { openStateDir, type StateDir } from "./storage/state-dir.js";
import { isTerminal, type BatchObject } from "./protocol/wire.js";

export type { GatewayOptions } from "./settings.js";

export interface Gateway {
  /** `http://127.0.0.1:PORT/v1`, for OPENAI_BASE_URL. */
  readonly url: string;
  readonly port: number;
  /** All calls and effects so far, also of previous gateways on this folder. */
  readonly journal: JournalReader;
  /** Asks the `hold` hook again for each held batch. */
  release(): void;
  /** The provider ends the batch: it executes `afterRequests` requests in all (default: no more), then expires. */
  expire(batchId: string, options?: { afterRequests?: number }): void;
  /** The same, but it becomes cancelling and cancelled. */
  cancel(batchId: string, options?: { afterRequests?: number }): void;
  /** The batch, once `is` returns true; default: once it has ended. Rejects if the gateway closes first. */
  until(batchId: string, is?: (batch: BatchObject) => boolean): Promise<BatchObject>;
  /** Disconnects all clients, stops batches where they are, and releases the folder. Repeatable. */
  close(): Promise<void>;
}

/** Listens when it resolves. @throws RowmillError `usage` for wrong settings, `refused` if the folder is in use */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const settings = settingsOf(options);
  const state = openStateDir(settings.dataDir);
  let parts: GatewayParts | null = null;
  try {
    parts = await openParts(settings, state);
    return gatewayOf(settings, parts, await parts.server.listen());
  } catch (error) {
    if (parts === null) state.close();
    else await closeParts(parts);
    throw error;
  }
}

interface GatewayParts {
  readonly state: StateDir;
  readonly journal: Journal;
  readonly engine: Engine;
  readonly server: HttpServer;
  readonly stopRetention: () => void;
}

async function openParts(settings: GatewaySettings, state: StateDir): Promise<GatewayParts> {
  const { clock, limits } = settings;
  const files = new FileStore(state.filesDir, clock);
  const batches = new BatchStore(state.batchesDir);
  adoptForFirstKey(settings, [files, batches]);
  const journal = await Journal.open({
    dataDir: state.root,
    bytesMax: settings.retention.journalBytesMax,
    running: batches.listRunning().map(({ batch }) => batch.id),
    log: settings.log,
  });
  const calls = new CallLog(journal, clock);
  const model = createDemoModel({ onceSeen: new Set(journal.once) });
  const journalled = new Map(journal.executed);
  const engine = new Engine({ settings, files, batches, journal, model, workDir: state.workDir, journalled });
  const creations = new CreationLimit(
    limits.creationsPerHour,
    batches.list(null).map(({ batch }) => batch.created_at),
  );
  const server = new HttpServer({ settings, calls });
  addFileRoutes(server, { settings, files, journal });
  addBatchRoutes(server, { settings, files, batches, engine, creations });
  addModelRoutes(server, { settings, journal, model });
  const stopRetention = startRetention({ settings, files, batches, calls });
  return { state, journal, engine, server, stopRetention };
}

/** Gives what a gateway without keys has made to the first key. */
function adoptForFirstKey({ keys }: GatewaySettings, stores: readonly (FileStore | BatchStore)[]): void {
  const first = keys?.[0];
  if (first !== undefined) for (const store of stores) store.adopt(first.owner);
}

function gatewayOf(settings: GatewaySettings, parts: GatewayParts, port: number): Gateway {
  const { engine, journal } = parts;
  const host = settings.host.includes(":") ? `[${settings.host}]` : settings.host;
  let closed: Promise<void> | null = null;
  return {
    url: `${settings.tls === null ? "http" : "https"}://${host}:${port}/v1`,
    port,
    journal,
    release: () => engine.wake(),
    expire: (id, { afterRequests = 0 } = {}) => engine.stopAfter(id, "expired", afterRequests),
    cancel: (id, { afterRequests = 0 } = {}) => engine.stopAfter(id, "cancelled", afterRequests),
    until: (id, is = ({ status }) => isTerminal(status)) => engine.until(id, is),
    close: () => (closed ??= closeParts(parts)),
  };
}

async function closeParts({ server, engine, journal, state, stopRetention }: GatewayParts): Promise<void> {
  stopRetention();
  await server.close();
  await engine.close();
  journal.close();
  state.close();
}
