/** Owns the calls about files: upload, find, delete, read. Each may be repeated without harm. */
import { openAsBlob } from "node:fs";
import { RowmillError } from "../../model/errors.js";
import { eachPage, type Connection, type ListPlan } from "./http/connection.js";
import { downloadLines, type FileBounds } from "./http/download.js";
import { readFile, readListedFile, type WireFile } from "./wire.js";
import { ProviderError, type CallOptions } from "../../model/provider/provider.js";

/**
 * Otherwise `fetch` copies a body in case it must be sent again (the fetch standard clones a request that has a window
 * or may redirect): a file of 200 MB took 220 MB of memory, and takes 40 like this (measured).
 */
const SEND_WITHOUT_COPY = { redirect: "error", window: null } as const;

const FILE_PAGE_SIZE = 1_000;
/** From a server that has no such call, does not know its parameters, or refuses it for this key. */
const NOT_SAID = new Set([400, 403, 404, 405, 422, 501]);
/** Newest first, so that what was just uploaded is on the first page. */
const FILE_PAGES_MAX = 20;

/** Streams the file from disk. @throws also RowmillError `spool_failed` when it cannot be read */
export async function uploadInput(
  { client, call, timeouts }: Connection,
  input: { path: string; filename: string },
  options: CallOptions = {},
): Promise<WireFile> {
  const what = `upload ${input.filename}`;
  return call({ what, timeoutMs: timeouts.uploadMs, ...options }, async (signal) => {
    const blob = await openSpool(input.path);
    const file = new File([blob], input.filename);
    return readFile(await client.files.create({ file, purpose: "batch" }, { signal, fetchOptions: SEND_WITHOUT_COPY }));
  });
}

/** The blob is read as it is sent, has a known length, and can be read again by a retry. */
async function openSpool(path: string): Promise<Blob> {
  try {
    return await openAsBlob(path);
  } catch (cause) {
    throw new RowmillError("spool_failed", `cannot open ${path} to upload it`, { cause });
  }
}

/** Twice the lines of the largest batch, and five times the bytes of the largest input file. */
const BOUNDS_DEFAULT: FileBounds = { linesMax: 100_000, bytesMax: 1_000_000_000 };

/** Input files whose name starts with `prefix`, newest first; none where the server has no list of files. */
export async function findInputs(
  connection: Connection,
  prefix: string,
  options: CallOptions = {},
): Promise<readonly WireFile[]> {
  // By id: a file that is listed twice would be taken for a superfluous copy, and deleted.
  const found = new Map<string, WireFile>();
  const query = { purpose: "batch", order: "desc", limit: FILE_PAGE_SIZE };
  const list: ListPlan<WireFile> = {
    path: "/files",
    query,
    read: readListedFile,
    pagesMax: FILE_PAGES_MAX,
    ...options,
  };
  const look = async () => {
    for await (const files of eachPage(connection, list))
      for (const file of files) if (file.id !== "" && file.filename.startsWith(prefix)) found.set(file.id, file);
  };
  await unlessNotSaid(look());
  return [...found.values()].sort((a, b) => (b.createdAt ?? 0) - (a.createdAt ?? 0));
}

/** The record of a file; null: the server does not show it. */
export function inspectFile(
  { client, call, timeouts }: Connection,
  fileId: string,
  options: CallOptions = {},
): Promise<WireFile | null> {
  const plan = { what: `retrieve file ${fileId}`, timeoutMs: timeouts.callMs, ...options };
  return unlessNotSaid(call(plan, async (signal) => readListedFile(await client.files.retrieve(fileId, { signal }))));
}

async function unlessNotSaid<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ProviderError && error.status !== null && NOT_SAID.has(error.status)) return null;
    throw error;
  }
}

/** True when it was there; false when it was already gone (404). */
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

/**
 * Lines split on 0x0A, without BOM, trailing CR and empty lines; as many at a time as came together. A body that stalls
 * or is cut short throws kind `retryable`, one beyond its bounds `OverlongFile`.
 */
export async function* readLines(
  connection: Connection,
  fileId: string,
  { bounds = BOUNDS_DEFAULT, ...options }: CallOptions & { readonly bounds?: FileBounds } = {},
): AsyncGenerator<readonly string[]> {
  const { client, call, timeouts } = connection;
  const { response, hangUp } = await call(
    { what: `read file ${fileId}`, timeoutMs: timeouts.callMs, ...options },
    async (signal) => {
      // Outlives the call, which ends with the headers.
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

/** Null: unknown. What is wrong with a file's record says nothing about its content. */
async function recordedSize(connection: Connection, fileId: string, options: CallOptions): Promise<number | null> {
  try {
    return (await inspectFile(connection, fileId, options))?.bytes ?? null;
  } catch (error) {
    if (error instanceof ProviderError && options.signal?.aborted !== true) return null;
    throw error;
  }
}
