/**
 * A local server with OpenAI's Files and Batch API. Puts its parts together; knows nothing of pipelines. All state is
 * in `dataDir`, so a killed gateway continues where it stopped when it is started again.
 */
import multipart from "@fastify/multipart";
import { RowmillError } from "../model/errors.js";
import { BatchStore } from "./storage/batch-store.js";
import { addBatchRoutes, CreationLimit } from "./http/batch-routes.js";
import { createDemoModel } from "./demo-model/demo-model.js";
import { Engine } from "./engine/engine.js";
import { addFileRoutes } from "./http/file-routes.js";
import { FileStore } from "./storage/file-store.js";
import { HttpServer } from "./http/http-server.js";
import { Journal, type JournalReader } from "./storage/journal.js";
import { addModelRoutes } from "./http/model-routes.js";
import { settingsOf, type GatewayOptions, type GatewaySettings } from "./settings.js";
import { openStateDir, type StateDir } from "./storage/state-dir.js";
import { isTerminal, type BatchObject } from "./protocol/wire.js";

export type { GatewayOptions } from "./settings.js";

const UPLOAD_FIELDS_MAX = 16;
const UPLOAD_FIELD_BYTES_MAX = 4_096;

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
    await parts.server.app.listen({ host: settings.host, port: settings.port });
    return gatewayOf(settings, parts);
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
}

async function openParts(settings: GatewaySettings, state: StateDir): Promise<GatewayParts> {
  const { clock, limits } = settings;
  const files = new FileStore(state.filesDir, clock);
  const batches = new BatchStore(state.batchesDir);
  adoptForFirstKey(settings, [files, batches]);
  const journal = new Journal(state.journalPath);
  const { journalled, onceSeen } = await rememberJournal(journal, batches);
  const model = createDemoModel({ onceSeen });
  const engine = new Engine({ settings, files, batches, journal, model, workDir: state.workDir, journalled });
  const creations = new CreationLimit(
    limits.creationsPerHour,
    batches.list(null).map(({ batch }) => batch.created_at),
  );
  const server = new HttpServer({ settings, journal });
  await server.app.register(multipart, {
    throwFileSizeLimit: false,
    limits: { fileSize: limits.bytesMax, files: 1, fields: UPLOAD_FIELDS_MAX, fieldSize: UPLOAD_FIELD_BYTES_MAX },
  });
  addFileRoutes(server, { settings, files, journal });
  addBatchRoutes(server, { settings, files, batches, engine, creations });
  addModelRoutes(server, { settings, journal, model });
  return { state, journal, engine, server };
}

/** Gives what a gateway without keys has made to the first key. */
function adoptForFirstKey({ keys }: GatewaySettings, stores: readonly (FileStore | BatchStore)[]): void {
  const first = keys?.[0];
  if (first !== undefined) for (const store of stores) store.adopt(first.owner);
}

/** What the previous run left: the progress of unfinished batches, and the `…-once` texts already seen. */
async function rememberJournal(
  journal: Journal,
  batches: BatchStore,
): Promise<{ journalled: Map<string, number>; onceSeen: Set<string> }> {
  const journalled = new Map(batches.listRunning().map(({ batch }) => [batch.id, 0]));
  const onceSeen = new Set<string>();
  for await (const entry of journal.entries()) {
    if (entry.kind !== "executed") continue;
    const lines = entry.batchId === null ? undefined : journalled.get(entry.batchId);
    if (lines !== undefined && entry.batchId !== null) journalled.set(entry.batchId, lines + 1);
    if (entry.behaviour?.includes("-once") === true) onceSeen.add(entry.contentHash);
  }
  return { journalled, onceSeen };
}

function gatewayOf(settings: GatewaySettings, parts: GatewayParts): Gateway {
  const { engine, journal, server } = parts;
  const address = server.app.server.address();
  if (address === null || typeof address === "string") {
    throw new RowmillError("internal", "The gateway has no port.");
  }
  const host = settings.host.includes(":") ? `[${settings.host}]` : settings.host;
  let closed: Promise<void> | null = null;
  return {
    url: `${settings.tls === null ? "http" : "https"}://${host}:${address.port}/v1`,
    port: address.port,
    journal,
    release: () => engine.wake(),
    expire: (id, { afterRequests = 0 } = {}) => engine.stopAfter(id, "expired", afterRequests),
    cancel: (id, { afterRequests = 0 } = {}) => engine.stopAfter(id, "cancelled", afterRequests),
    until: (id, is = ({ status }) => isTerminal(status)) => engine.until(id, is),
    close: () => (closed ??= closeParts(parts)),
  };
}

async function closeParts({ server, engine, journal, state }: GatewayParts): Promise<void> {
  await server.app.close();
  await engine.close();
  journal.close();
  state.close();
}
