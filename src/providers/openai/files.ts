/** Owns the calls about files: upload, find, delete, read. Each may be repeated without harm. */
import { openAsBlob } from "node:fs";
import { RowmillError } from "../../model/errors.js";
import { eachPage, type Connection, type ListPlan } from "./connection.js";
import { downloadLines } from "./download.js";
import { readFile, readListedFile } from "./wire.js";
import {
  ProviderError,
  type CallOptions,
  type FileBounds,
  type ProviderFile,
  type ReadOptions,
} from "../../model/former-provider.js";

/**
 * Otherwise `fetch` copies a body that it sends, in case it must be sent again: 200 MB of file took 220 MB of
 * memory, and take 40 so (measured; the fetch standard clones a request that has a window or may redirect).
 */
const SEND_WITHOUT_COPY = { redirect: "error", window: null } as const;

const FILE_PAGE_SIZE = 1_000;
/** What a server says that has no such call, does not know its parameters, or keeps it from this key. */
const NOT_SAID = new Set([400, 403, 404, 405, 422, 501]);
/** Newest first, so that what was just uploaded is on the first page. */
const FILE_PAGES_MAX = 20;

/** See `Provider.uploadInput`. @throws also RowmillError `spool_failed` when the file cannot be read. */
export async function uploadInput(
  { client, call, timeouts }: Connection,
  input: { path: string; filename: string },
  options: CallOptions = {},
): Promise<ProviderFile> {
  const what = `upload ${input.filename}`;
  return call({ what, timeoutMs: timeouts.uploadMs, ...options }, async (signal) => {
    const blob = await openSpool(input.path);
    const file = new File([blob], input.filename);
    return readFile(
      await client.files.create({ file, purpose: "batch" }, { signal, fetchOptions: SEND_WITHOUT_COPY }),
    );
  });
}

/** A blob over the file is read as it is sent, with a known length, and can be read again by a retry. */
async function openSpool(path: string): Promise<Blob> {
  try {
    return await openAsBlob(path);
  } catch (cause) {
    throw new RowmillError("spool_failed", `cannot open ${path} to upload it`, { cause });
  }
}

const BOUNDS_DEFAULT: FileBounds = { linesMax: 100_000, bytesMax: 1_000_000_000 };

/** See `Provider.findInputs`. */
export async function findInputs(
  connection: Connection,
  prefix: string,
  options: CallOptions = {},
): Promise<readonly ProviderFile[]> {
  // By id, as batches are: a file that is shown twice would be taken for a superfluous copy, and deleted.
  const found = new Map<string, ProviderFile>();
  const query = { purpose: "batch", order: "desc", limit: FILE_PAGE_SIZE };
  const list: ListPlan<ProviderFile> = {
    path: "/files",
    query,
    read: readListedFile,
    pagesMax: FILE_PAGES_MAX,
    ...options,
  };
  const look = eachPage(connection, list, (files) => {
    for (const file of files)
      if (file.id !== "" && file.filename.startsWith(prefix)) found.set(file.id, file);
    return true;
  });
  await unlessNotSaid(look);
  return [...found.values()].sort((a, b) => (b.createdAt ?? 0) - (a.createdAt ?? 0));
}

/** See `Provider.inspectFile`. */
export function inspectFile(
  { client, call, timeouts }: Connection,
  fileId: string,
  options: CallOptions = {},
): Promise<ProviderFile | null> {
  const plan = { what: `retrieve file ${fileId}`, timeoutMs: timeouts.callMs, ...options };
  return unlessNotSaid(
    call(plan, async (signal) => readListedFile(await client.files.retrieve(fileId, { signal }))),
  );
}

async function unlessNotSaid<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ProviderError && error.status !== null && NOT_SAID.has(error.status)) return null;
    throw error;
  }
}

/** See `Provider.deleteFile`. */
export async function deleteFile(
  { client, call, timeouts }: Connection,
  fileId: string,
  options: CallOptions = {},
): Promise<boolean> {
  try {
    await call({ what: `delete file ${fileId}`, timeoutMs: timeouts.callMs, ...options }, (signal) =>
      client.files.delete(fileId, { signal }),
    );
    return true;
  } catch (error) {
    if (error instanceof ProviderError && error.kind === "notFound") return false;
    throw error;
  }
}

/** See `Provider.readLines`. */
export async function* readLines(
  connection: Connection,
  fileId: string,
  { bounds = BOUNDS_DEFAULT, ...options }: ReadOptions = {},
): AsyncGenerator<string> {
  const { client, call, timeouts } = connection;
  const { response, hangUp } = await call(
    { what: `read file ${fileId}`, timeoutMs: timeouts.callMs, ...options },
    async (signal) => {
      // Lives longer than the call, which ends with the headers.
      const body = new AbortController();
      const giveUp = () => body.abort();
      signal.addEventListener("abort", giveUp, { once: true });
      const fetchOptions = { redirect: "follow" } as const;
      const content = await client.files.content(fileId, { signal: body.signal, fetchOptions });
      signal.removeEventListener("abort", giveUp);
      return { response: content, hangUp: giveUp };
    },
  );
  const { stallMs } = timeouts;
  const { signal } = options;
  const recordedBytes = () => recordedSize(connection, fileId, options);
  yield* downloadLines({ fileId, response, recordedBytes, bounds, stallMs, signal, hangUp });
}

/** Null: it is not to be had. Whatever is wrong with the record of a file says nothing about its content. */
async function recordedSize(
  connection: Connection,
  fileId: string,
  options: CallOptions,
): Promise<number | null> {
  try {
    return (await inspectFile(connection, fileId, options))?.bytes ?? null;
  } catch (error) {
    if (error instanceof ProviderError && options.signal?.aborted !== true) return null;
    throw error;
  }
}
