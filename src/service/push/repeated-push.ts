/**
 * The quick way of a body that repeats the last one: a trigger that posts its whole table for each row of a statement
 * sends a thousand of them, while its user's INSERT waits. The body of a token that was valid a moment ago is read
 * first; then one statement looks up both the token and the digest. Anything else goes the ordinary way.
 */
import { malformed } from "../../http/body-refusal.js";
import * as pushes from "../../store/replicas/pushes.js";
import { DIGEST_BYTES_MIN, refuseBody, sha256Of, unchanged } from "./push-route.js";
import type { Call, Desk } from "../routes.js";

const KNOWN_MS = 60_000;
const KNOWN_MAX = 1_000;
/** Larger ones go the ordinary way. */
const EARLY_BYTES_MAX = 4 * 1024 * 1024;

/** Tokens in addresses that were valid a moment ago: their bodies may be read before they are looked up again. */
export class KnownTokens {
  readonly #until = new Map<string, number>();

  add(text: string, now = Date.now()): void {
    this.#until.delete(text);
    this.#until.set(text, now + KNOWN_MS);
    const [oldest] = this.#until.keys();
    if (this.#until.size > KNOWN_MAX && oldest !== undefined) this.#until.delete(oldest);
  }

  has(text: string, now = Date.now()): boolean {
    const until = this.#until.get(text);
    if (until !== undefined && until <= now) this.#until.delete(text);
    return until !== undefined && until > now;
  }
}

/** Null: go the ordinary way, with the body in `early` if it was read. */
export async function answerRepeated(desk: Desk, call: Call): Promise<Response | null> {
  const text = call.req.param("token") ?? "";
  const size = Number(call.req.header("content-length") ?? 0);
  const isPacked = call.req.header("content-encoding") !== undefined;
  if (isPacked || size < DIGEST_BYTES_MIN || size > EARLY_BYTES_MAX || !desk.known.has(text)) return null;
  const release = await desk.bodies.take(size, 0);
  if (release === null) return null;
  call.set("early", { bytes: null, release });
  const bytes = await wholeBody(call.req.raw);
  if (bytes === null) return refuseBody(desk, malformed("body_cut"));
  const rows = await pushes.repeated(desk.database, text, sha256Of(bytes));
  if (rows !== null) return unchanged(rows);
  call.set("early", { bytes, release });
  return null;
}

/** Not as a stream, which costs several times as much: its Content-Length, which bounds it, was checked. */
async function wholeBody(request: Request): Promise<Buffer | null> {
  return request.arrayBuffer().then(
    (bytes) => Buffer.from(bytes),
    () => null,
  );
}
