/**
 * Owns the calls about batches, and our names in their metadata. Only `createBatch` cannot be repeated: after an
 * `ambiguous` one, `findBatches` shows what happened to it.
 */
import {
  ProviderError,
  type BatchMark,
  type BatchRef,
  type CallOptions,
  type CreateIntent,
  type FoundBatches,
  type ListedBatch,
  type ProviderBatch,
} from "../../model/provider/provider.js";
import { eachPage, saysNo, type Connection, type ListPlan } from "./http/connection.js";
import { CHAT_ENDPOINT } from "./encoder.js";
import { fileIdOf, refsOf } from "./refs.js";
import { readBatch, readListedBatch, untoldReason, type WireBatch } from "./wire.js";

const BATCH_PAGE_SIZE = 100;
/** 20,000 batches: ten hours at OpenAI's limit of 2,000 creations an hour. */
const BATCH_PAGES_MAX = 200;

function toProviderBatch(wire: WireBatch): ProviderBatch {
  const { inputFileId, outputFileId, errorFileId, metadata, ...batch } = wire;
  const refs = { input: inputFileId, output: outputFileId, error: errorFileId };
  return { ...batch, refs, mark: markIn(metadata) };
}

function metadataOf(mark: BatchMark): Record<string, string> {
  return {
    rowmill_deployment: mark.deployment,
    rowmill_batch: mark.batch,
    rowmill_pipeline: mark.pipeline,
    // For a ledger restored from an older backup, which may know the definition all the same.
    rowmill_definition: mark.definition,
  };
}

function markIn(metadata: Readonly<Record<string, string>>): BatchMark | null {
  const batch = metadata["rowmill_batch"];
  if (batch === undefined) return null;
  return {
    batch,
    deployment: metadata["rowmill_deployment"] ?? "",
    pipeline: metadata["rowmill_pipeline"] ?? "",
    definition: metadata["rowmill_definition"] ?? "",
  };
}

/** See `Provider.create`. */
export async function createBatch(
  { client, call, timeouts }: Connection,
  { staged, mark }: Pick<CreateIntent, "staged" | "mark">,
  options: CallOptions = {},
): Promise<ProviderBatch> {
  const plan = { what: "create the batch", timeoutMs: timeouts.createMs, unrepeatable: true, ...options };
  return call(plan, async (signal) => {
    const wanted = {
      input_file_id: fileIdOf(staged),
      endpoint: CHAT_ENDPOINT,
      completion_window: "24h",
      metadata: metadataOf(mark),
    } as const;
    return toProviderBatch(readBatch(await client.batches.create(wanted, { signal })));
  });
}

interface WireEntry {
  readonly id: string;
  readonly batch: WireBatch;
  /** Why its owner is unknown; null: it is known. */
  readonly untold: string | null;
}

async function* wireBatches(connection: Connection, since: number, options: CallOptions): AsyncGenerator<WireEntry> {
  // A list that grows while it is read may show one batch on two pages.
  const seen = new Set<string>();
  const query = { limit: BATCH_PAGE_SIZE };
  const list: ListPlan<WireEntry> = { path: "/batches", query, read: readEntry, pagesMax: BATCH_PAGES_MAX };
  const pages = eachPage(connection, { ...list, ...options });
  for (let page = await pages.next(); ; page = await pages.next()) {
    if (page.done === true) {
      if (page.value) return;
      throw endlessList();
    }
    const entries = page.value;
    // A batch without a time may be recent.
    const recent = entries.filter(({ batch }) => batch.createdAt === null || batch.createdAt >= since);
    for (const entry of recent) {
      if (entry.id !== "" && seen.has(entry.id)) continue;
      seen.add(entry.id);
      yield entry;
    }
    // Ends at a whole page of older ones: within a page, and at servers that list oldest first, order proves nothing.
    const oldestFirst = (entries[0]?.batch.createdAt ?? 0) < (entries.at(-1)?.batch.createdAt ?? 0);
    if (recent.length === 0 && !oldestFirst) return;
  }
}

/** Half a list would say "not found" about a batch that was paid for. */
function endlessList(): ProviderError {
  const bound = `${BATCH_PAGES_MAX} pages of ${BATCH_PAGE_SIZE}`;
  return new ProviderError(
    "retryable",
    `the provider's list of batches did not end within ${bound}, or repeated a page`,
  );
}

function readEntry(json: unknown): WireEntry {
  const batch = readListedBatch(json);
  return { id: batch.id, batch, untold: untoldReason(json, batch) };
}

const NAMELESS = "an entry of ours without an id";

/** See `Provider.list`. */
export async function* listBatches(
  connection: Connection,
  since: number,
  options: CallOptions = {},
): AsyncGenerator<ListedBatch> {
  for await (const entry of wireBatches(connection, since, options)) {
    const batch = toProviderBatch(entry.batch);
    yield { batch, untold: entry.untold ?? (batch.mark !== null && batch.id === "" ? NAMELESS : null) };
  }
}

/** See `Provider.find`. */
export async function findBatches(
  connection: Connection,
  { intent, since }: { intent: CreateIntent; since: number },
  options: CallOptions = {},
): Promise<FoundBatches> {
  const inputFileId = fileIdOf(intent.staged);
  const certain: (ProviderBatch & { isOfThisCreate: boolean })[] = [];
  const doubts = new Set<string>();
  for await (const { batch, untold } of wireBatches(connection, since, options)) {
    const isOfThisCreate = batch.inputFileId === inputFileId;
    const isOurs = isOfThisCreate || batch.metadata["rowmill_batch"] === intent.mark.batch;
    if (untold !== null) doubts.add(untold);
    else if (isOurs && batch.id === "") doubts.add(NAMELESS);
    else if (isOurs) certain.push({ ...toProviderBatch(batch), isOfThisCreate });
  }
  certain.sort((a, b) => (b.createdAt ?? 0) - (a.createdAt ?? 0));
  return { certain, possible: [], doubts: [...doubts] };
}

/** See `Provider.status`. */
export async function retrieveBatch(
  { client, call, timeouts }: Connection,
  id: string,
  options: CallOptions = {},
): Promise<ProviderBatch> {
  const plan = { what: `retrieve batch ${id}`, timeoutMs: timeouts.callMs, ...options };
  return call(plan, async (signal) => toProviderBatch(readBatch(await client.batches.retrieve(id, { signal }))));
}

/** See `Provider.cancel`. */
export async function cancelBatch(
  connection: Connection,
  id: string,
  options: CallOptions = {},
): Promise<ProviderBatch> {
  const { client, timeouts } = connection;
  const plan = { what: `cancel batch ${id}`, timeoutMs: timeouts.callMs, ...options };
  try {
    return await connection.call(plan, async (signal) =>
      toProviderBatch(readBatch(await client.batches.cancel(id, { signal }))),
    );
  } catch (error) {
    // 409 at OpenAI, 400 at others, for a batch that has ended.
    if (!saysNo(error)) throw error;
    const found = await retrieveBatch(connection, id, options);
    if (found.terminal) return found;
    throw error;
  }
}

/** The refs of a batch, with what it names by now and did not name before. */
export async function completeRefs(
  connection: Connection,
  batch: BatchRef,
  options: CallOptions,
): Promise<ReturnType<typeof refsOf>> {
  const known = refsOf(batch);
  const seen = refsOf(await retrieveBatch(connection, batch.id, options));
  return { input: known.input, output: known.output ?? seen.output, error: known.error ?? seen.error };
}
