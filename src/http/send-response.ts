/**
 * Writes a `Response` to a connection as fast as the client reads it. A body that fails cuts the connection, so that
 * the client sees a broken answer and not a short one; a client that leaves cancels the body.
 */
import type { ServerResponse } from "node:http";
import { setImmediate as soon } from "node:timers/promises";

type Reader = ReadableStreamDefaultReader<Uint8Array>;

/** Rejects if the body fails. A call that was answered in the meantime, or whose client left, gets nothing. */
export async function sendResponse(response: Response, outgoing: ServerResponse): Promise<void> {
  if (outgoing.destroyed || outgoing.headersSent) {
    await response.body?.cancel();
    return;
  }
  const headers = headersOf(response.headers);
  if (response.body === null || outgoing.req.method === "HEAD") {
    outgoing.writeHead(response.status, headers).end();
    await response.body?.cancel();
    return;
  }
  const reader = response.body.getReader();
  const leave = (): void => void reader.cancel().catch(() => undefined);
  outgoing.once("close", leave);
  try {
    await sendBody(reader, outgoing, () => outgoing.writeHead(response.status, headers));
  } catch (error) {
    outgoing.destroy();
    throw error;
  } finally {
    outgoing.off("close", leave);
  }
}

/** A body of one piece that is there at once gets its length; others are sent piece by piece. */
async function sendBody(reader: Reader, outgoing: ServerResponse, writeHead: () => void): Promise<void> {
  const reading = reader.read();
  const first = await Promise.race([reading, soon(null)]);
  const next = first === null ? reading : reader.read();
  if (first?.value !== undefined && (await Promise.race([next, soon(null)]))?.done === true) {
    if (!outgoing.hasHeader("content-length")) outgoing.setHeader("content-length", first.value.byteLength);
    writeHead();
    outgoing.end(first.value);
    return;
  }
  writeHead();
  if (first?.value !== undefined) outgoing.write(first.value);
  else outgoing.flushHeaders();
  for (let piece = await next; !piece.done && !outgoing.destroyed; piece = await reader.read())
    if (!outgoing.write(piece.value)) await drained(outgoing);
  outgoing.end();
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      outgoing.off("drain", end).off("close", end);
      resolve();
    };
    outgoing.once("drain", end).once("close", end);
    if (outgoing.destroyed) end();
  });
}

function headersOf(headers: Headers): Record<string, string | string[]> {
  const cookies = headers.getSetCookie();
  const all = Object.fromEntries(headers);
  return cookies.length === 0 ? all : { ...all, "set-cookie": cookies };
}
