/** Reports each batch that this worker finished, in one line, once. */
import * as batchProgress from "../../../store/batches/batch-progress.js";
import type { WorkerContext } from "../../../worker/context.js";
import { endingText } from "../../reports/batch-progress-text.js";
import type { Terminal } from "../terminal.js";

/** Asked for at once. */
const BATCHES_MAX = 100;

export async function reportFinished(terminal: Terminal, { memory, read }: WorkerContext): Promise<void> {
  while (memory.endedBatches.length > 0) {
    const ids = memory.endedBatches.slice(0, BATCHES_MAX);
    const endings = await batchProgress.endings(read, ids);
    // Only now: after an error they are reported by the next call.
    memory.endedBatches.splice(0, ids.length);
    for (const ending of endings) terminal.note(endingText(ending));
  }
}
