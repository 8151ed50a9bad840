/** Owns how an answer becomes a reply: whole, or broken on purpose by a test's fault. */
import { createReadStream } from "node:fs";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { Fault } from "../engine/faults.js";
import type { Answer } from "../protocol/wire.js";

type Headers = Readonly<Record<string, string>>;

export function responseOf(answer: Answer, headers: Headers): Response {
  const init = { status: answer.status, headers: { ...headers, ...headersOf(answer) } };
  if (answer.kind === "json") return new Response(JSON.stringify(answer.body), init);
  return new Response(ReadableStream.from(createReadStream(answer.path)), init);
}

function headersOf(answer: Answer): Headers {
  if (answer.kind === "json") return { "content-type": "application/json", ...answer.headers };
  return {
    "content-type": "application/octet-stream",
    "content-length": String(answer.bytes),
    "content-disposition": `attachment; filename="${answer.filename.replaceAll(/[^\w.-]/g, "_")}"`,
  };
}

interface Breaking {
  readonly fault: Exclude<Fault, { kind: "reply" }>;
  readonly headers: Headers;
}

/** Headers announce the whole body; only `afterBytes` of it follow. */
export function sendBroken(outgoing: ServerResponse, answer: Answer, { fault, headers }: Breaking): Response {
  if (fault.kind === "drop") {
    outgoing.destroy();
    return RESPONSE_ALREADY_SENT;
  }
  const text = answer.kind === "json" ? Buffer.from(JSON.stringify(answer.body)) : null;
  const bytes = text?.length ?? (answer.kind === "file" ? answer.bytes : 0);
  outgoing.writeHead(answer.status, { ...headers, ...headersOf(answer), "content-length": String(bytes) });
  const end = Math.min(fault.afterBytes, bytes);
  if (end === 0) outgoing.flushHeaders();
  const sent = piece(answer, text, end);
  sent.pipe(outgoing, { end: false });
  // Ended, not destroyed: what was written still reaches the client.
  if (fault.kind === "cut") sent.once("end", () => outgoing.socket?.end());
  return RESPONSE_ALREADY_SENT;
}

function piece(answer: Answer, text: Buffer | null, end: number): Readable {
  if (text !== null || end === 0) return Readable.from(end === 0 ? [] : [text?.subarray(0, end)]);
  return createReadStream(answer.kind === "file" ? answer.path : "", { end: end - 1 });
}
