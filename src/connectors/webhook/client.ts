/** Sends one delivery and reads the reply, both bounded. */
import { ConnectorError } from "../../model/connector.js";
import { isCertificateCode, TRUST_FIX } from "../../model/words/certificate-text.js";
import { guardedAgent, PrivateAddress } from "./guard.js";
import type { Hook } from "./options.js";
import type { Reply } from "./reply.js";
import { signatures } from "./signature.js";

const REPLY_BYTES_MAX = 1_000_000;
/** For the whole exchange. */
const EXCHANGE_MS_MAX = 30_000;

export interface Delivery {
  readonly id: string;
  readonly body: string;
  readonly signal: AbortSignal;
}

/** @throws ConnectorError */
export async function openClient(
  hook: Hook,
  exchangeMsMax = EXCHANGE_MS_MAX,
): Promise<(delivery: Delivery) => Promise<Reply>> {
  // Only now: loading it takes 130 ms and 20 MB.
  const undici = await import("undici");
  const dispatcher = guardedAgent(undici, hook);
  return async ({ id, body, signal }) => {
    const timeOut = AbortSignal.timeout(exchangeMsMax);
    try {
      const reply = await undici.request(hook.url, {
        dispatcher,
        method: "POST",
        headers: { ...hook.headers, ...ownHeaders(hook, id, body) },
        body,
        signal: AbortSignal.any([signal, timeOut]),
      });
      const header = (name: string) => [reply.headers[name]].flat()[0] ?? null;
      return { status: reply.statusCode, header, body: await boundedText(reply.body) };
    } catch (error) {
      const { place } = hook.receiver;
      if (signal.aborted) throw new ConnectorError("again", `The call of the web hook at ${place} was stopped.`);
      if (!timeOut.aborted) throw explain(error, place);
      throw new ConnectorError("again", `The web hook at ${place} gave no full reply within ${exchangeMsMax} ms.`);
    }
  };
}

function ownHeaders({ keys }: Hook, id: string, body: string): Record<string, string> {
  const seconds = Math.floor(Date.now() / 1_000);
  return {
    "content-type": "application/json",
    "user-agent": "rowmill",
    "idempotency-key": id,
    "webhook-id": id,
    "webhook-timestamp": String(seconds),
    "webhook-signature": signatures({ id, seconds, body }, keys),
  };
}

/** Null: it is longer than we read. */
async function boundedText(sent: AsyncIterable<Buffer>): Promise<string | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of sent) {
    bytes += chunk.length;
    if (bytes > REPLY_BYTES_MAX) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The causes are left out: the client's errors may repeat headers. */
function explain(error: unknown, place: string): Error {
  if (error instanceof PrivateAddress)
    return new ConnectorError("stop", `The web hook at ${place} is at the private address ${error.message}.`, {
      hints: ["If that is your own network: webhook({ …, allowPrivate: true })"],
    });
  const code = codeOf(error);
  const trust = isCertificateCode(code) ? `; ${TRUST_FIX}` : "";
  return new ConnectorError("again", `No reply from the web hook at ${place} (${code})${trust}.`);
}

function codeOf(error: unknown): string {
  // Node tries each address of a host and wraps all failures in one error.
  const [first]: unknown[] = error instanceof AggregateError ? error.errors : [error];
  return first instanceof Error && "code" in first && typeof first.code === "string"
    ? first.code
    : "the connection broke";
}
