/** Names what a user's function gave in place of text. Pure but for promises; never throws. */
import { types } from "node:util";

/** `a promise`, `undefined`, `a value of type number`. A promise that fails later does no more harm: nobody waits for it. */
export function nameWrongValue(value: unknown): string {
  if (types.isPromise(value)) {
    // Unhandled it would end the whole worker, for one row's function.
    void Promise.prototype.then.call(value, undefined, () => undefined);
    return "a promise";
  }
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  return value === "" ? "an empty text" : `a value of type ${typeof value}`;
}
