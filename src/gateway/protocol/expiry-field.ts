/** Reads `expires_after` and `output_expires_after`: the lifetime of a file from its creation. Pure. */
import { refusal, type Answer } from "./wire.js";

const SECONDS_MIN = 3_600;
const SECONDS_MAX = 2_592_000;

/** Null if absent. `param`: the field's name, for the refusal. */
export function readExpiry(
  anchor: unknown,
  seconds: unknown,
  param: string,
): { readonly ttlSeconds: number | null } | { readonly refused: Answer } {
  if (anchor === undefined && seconds === undefined) return { ttlSeconds: null };
  if (anchor !== "created_at") {
    const message = `Invalid value: '${String(anchor)}'. Value must be 'created_at'.`;
    return { refused: refusal(400, message, { param: `${param}.anchor`, code: "invalid_value" }) };
  }
  const ttlSeconds = Number(seconds);
  if (Number.isInteger(ttlSeconds) && ttlSeconds >= SECONDS_MIN && ttlSeconds <= SECONDS_MAX) return { ttlSeconds };
  const message =
    `Invalid '${param}.seconds': expected an integer between ${SECONDS_MIN} and ${SECONDS_MAX}, ` +
    `but got '${String(seconds)}' instead.`;
  return { refused: refusal(400, message, { param: `${param}.seconds`, code: "invalid_value" }) };
}
