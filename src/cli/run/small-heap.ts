/** Bounds the memory of a run: what V8 has not collected yet would be three times what is in use. */
import { setFlagsFromString } from "node:v8";

/** The heap is collected when it is half larger than what was in use after the last collection. */
const GROWTH_PERCENT = 50;

/** Only for a process that does nothing else. */
export function keepHeapSmall(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
}
