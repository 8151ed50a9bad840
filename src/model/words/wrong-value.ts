/** Names what a user's function returned instead of text. Pure except for promises; never throws. */
import { types } from "node:util";

/** `a promise`, `undefined`, `a value of type number`. A promise that fails later is ignored. */
export function nameWrongValue(value: unknown): string {
  if (types.isPromise(value)) {
    // An unhandled rejection would end the whole worker.
    void Promise.prototype.then.call(value, undefined, () => undefined);
    return "a promise";
  }
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  return value === "" ? "an empty text" : `a value of type ${typeof value}`;
}
