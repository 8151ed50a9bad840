/**
 * Owns the calls about batches. Only `createBatch` cannot be repeated; after an `ambiguous` one `findBatches`
 * says what became of it.
 */
import { CHAT_ENDPOINT } from "./body.js";
import { eachPage, type Connection, type ListPlan } from "./connection.js";
import { readBatch, readListedBatch, untoldReason } from "./wire.js";
import { ProviderError, type CallOptions, type FoundBatches, type ProviderBatch } from "../../model/former-provider.js";

const BATCH_PAGE_SIZE = 100;
/** 20,000 batches: ten hours at OpenAI's limit of 2,000 creations an hour. */
const BATCH_PAGES_MAX = 200;

/** See `Provider.createBatch`. */
export async function createBatch(
  { client, call, timeouts }: Connection,
  { inputFileId, metadata }: { inputFileId: string; metadata: Readonly<Record<string, string>> },
  options: CallOptions = {},
): Promise<ProviderBatch> {
  const plan = { what: "create the batch", timeoutMs: timeouts.createMs, unrepeatable: true, ...options };
  return call(plan, async (signal) =>
    readBatch(
      await client.batches.create(
        {
          input_file_id: inputFileId,
          endpoint: CHAT_ENDPOINT,
          completion_window: "24h",
          metadata: { ...metadata },
        },
        { signal },
      ),
    ),
  );
}

/** See `Provider.findBatches`. A list that does not end within the bound throws `retryable`. */
export async function findBatches(
  connection: Connection,
  { since, match }: { since: number; match: (batch: ProviderBatch) => boolean },
  options: CallOptions = {},
): Promise<FoundBatches> {
  // By id: a list that grows while it is read may show one batch on two pages, and it would be taken for two.
  const found = new Map<string, ProviderBatch>();
  const untold = new Set<string>();
  const query = { limit: BATCH_PAGE_SIZE };
  const list: ListPlan<ListedBatch> = {
    path: "/batches",
    query,
    read: listedBatch,
    pagesMax: BATCH_PAGES_MAX,
    ...options,
  };
  const complete = await eachPage(connection, list, (batches) => {
    // A time that is not said may be any.
    const recent = batches.filter(({ batch }) => batch.createdAt === null || batch.createdAt >= since);
    for (const { batch, why } of recent) {
      if (why !== null) untold.add(why);
      else if (match(batch) && batch.id === "") untold.add("an entry that is ours, without an id");
      else if (match(batch)) found.set(batch.id, batch);
    }
    // A whole page must be older: within one, and at servers that list the other way, order is not relied on.
    const oldestFirst = (batches[0]?.batch.createdAt ?? 0) < (batches.at(-1)?.batch.createdAt ?? 0);
    return recent.length > 0 || oldestFirst;
  });
  if (!complete) {
    // Half a list would say "not found" of a batch that was paid for.
    const bound = `${BATCH_PAGES_MAX} pages of ${BATCH_PAGE_SIZE}`;
    throw new ProviderError(
      "retryable",
      `the provider's list of batches did not end within ${bound}, or one page of it came twice and said that there is more`,
    );
  }
  const newestFirst = (a: ProviderBatch, b: ProviderBatch) => (b.createdAt ?? 0) - (a.createdAt ?? 0);
  return { found: [...found.values()].sort(newestFirst), untold: [...untold] };
}

interface ListedBatch {
  readonly id: string;
  readonly batch: ProviderBatch;
  /** Why it does not say whose it is; null: it does. */
  readonly why: string | null;
}

function listedBatch(json: unknown): ListedBatch {
  const batch = readListedBatch(json);
  return { id: batch.id, batch, why: untoldReason(json, batch) };
}

/** See `Provider.retrieveBatch`. */
export async function retrieveBatch(
  { client, call, timeouts }: Connection,
  id: string,
  options: CallOptions = {},
): Promise<ProviderBatch> {
  const plan = { what: `retrieve batch ${id}`, timeoutMs: timeouts.callMs, ...options };
  return call(plan, async (signal) => readBatch(await client.batches.retrieve(id, { signal })));
}

/** See `Provider.cancelBatch`. */
export async function cancelBatch(
  connection: Connection,
  id: string,
  options: CallOptions = {},
): Promise<ProviderBatch> {
  const { client, timeouts } = connection;
  const plan = { what: `cancel batch ${id}`, timeoutMs: timeouts.callMs, ...options };
  try {
    return await connection.call(plan, async (signal) =>
      readBatch(await client.batches.cancel(id, { signal })),
    );
  } catch (error) {
    // 409 at OpenAI, 400 at others, for a batch that has ended.
    const isSaidNo = error instanceof ProviderError && ["refused", "unsupported"].includes(error.kind);
    if (!isSaidNo) throw error;
    const batch = await retrieveBatch(connection, id, options);
    if (batch.terminal) return batch;
    throw error;
  }
}
