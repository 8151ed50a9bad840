/** Shows that something takes long: only where lines can be drawn over, and only after `SHOWN_AFTER_MS`. */
import { formatWait } from "./text.js";
import type { LiveBoard } from "./live-board.js";

const SHOWN_AFTER_MS = 300;
const FRAME_MS = 100;
const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const ELAPSED_FROM_MS = 2_000;

/** Runs the work with `label` in a line of its own meanwhile. The work itself must not draw there. */
export async function withSpinner<T>(
  board: Pick<LiveBoard, "show" | "clear">,
  label: string,
  work: () => Promise<T>,
): Promise<T> {
  const startedAtMs = performance.now();
  let frame = 0;
  const timer = setInterval(() => {
    const ms = performance.now() - startedAtMs;
    if (ms < SHOWN_AFTER_MS) return;
    const elapsed = ms < ELAPSED_FROM_MS ? "" : ` ${formatWait(ms)}`;
    board.show([`${FRAMES[frame++ % FRAMES.length] ?? ""} ${label} …${elapsed}`]);
  }, FRAME_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    board.clear();
    board.show([]);
  }
}
