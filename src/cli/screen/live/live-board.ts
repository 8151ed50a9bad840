/**
 * Owns the lines at the bottom of a terminal that are redrawn, not their text. A narrower window breaks them into more
 * rows, all of which are drawn over; after `fg` they are left alone, because a shell has written below them.
 */
import { stripVTControlCharacters } from "node:util";
import { fit, formatDuration } from "../text.js";

const ROW_UP_AND_ERASED = "\u001b[1A\u001b[2K";
const COLUMNS_DEFAULT = 80;

/** Of several, the first that fits is shown; where none does, the last one is cut. */
export type LiveLine = string | readonly string[];

export interface LiveBoard {
  show(next: readonly LiveLine[]): void;
  draw(): void;
  clear(): void;
}

type Stream = NodeJS.WritableStream & { readonly columns: number };

/** Loads what draws with the first lines: most commands never draw, and take less time than loading it. */
export function openLiveBoard(stream: Stream): LiveBoard {
  let lines: readonly LiveLine[] = [];
  let drawn: readonly string[] = [];
  let update: ReturnType<typeof import("log-update").createLogUpdate> | null = null;
  let loading: Promise<void> | null = null;
  const columns = (): number => stream.columns || COLUMNS_DEFAULT;
  const load = async (): Promise<void> => {
    const { createLogUpdate } = await import("log-update");
    update = createLogUpdate(stream, { showCursor: true });
    process.on("SIGCONT", () => {
      update?.done();
      drawn = [];
    });
    board.draw();
  };
  const eraseBroken = (): void => {
    const rows = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns())), 0);
    if (rows > drawn.length) stream.write(ROW_UP_AND_ERASED.repeat(rows - drawn.length));
    drawn = [];
  };
  const board = {
    show: (next: readonly LiveLine[]): void => {
      lines = next;
      board.draw();
    },
    draw: (): void => {
      if (lines.length === 0) return;
      if (update === null) {
        loading ??= load();
        return;
      }
      eraseBroken();
      const shown = lines.map((line) => fitting(line, columns()));
      update(shown.join("\n"));
      drawn = shown.map(stripVTControlCharacters);
    },
    clear: (): void => {
      if (lines.length === 0) return;
      eraseBroken();
      update?.clear();
    },
  };
  return board;
}

function fitting(line: LiveLine, columns: number): string {
  const texts = typeof line === "string" ? [line] : line;
  const fits = texts.find((text) => stripVTControlCharacters(text).length <= columns);
  return fits ?? fit(stripVTControlCharacters(texts.at(-1) ?? ""), columns);
}

const SHOWN_AFTER_MS = 300;
const FRAME_MS = 100;
const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const ELAPSED_FROM_MS = 2_000;

/** What is being done; a function where that moves on. */
export type Label = string | (() => string);

/** Shows `label` in a line of its own while the work takes longer than `SHOWN_AFTER_MS`. The work must not draw. */
export async function withSpinner<T>(
  board: Pick<LiveBoard, "show" | "clear">,
  label: Label,
  work: () => Promise<T>,
): Promise<T> {
  const startedAtMs = performance.now();
  let frame = 0;
  const timer = setInterval(() => {
    const ms = performance.now() - startedAtMs;
    if (ms < SHOWN_AFTER_MS) return;
    const elapsed = ms < ELAPSED_FROM_MS ? "" : ` ${formatDuration(ms)}`;
    const text = typeof label === "string" ? label : label();
    board.show([`${FRAMES[frame++ % FRAMES.length] ?? ""} ${text} …${elapsed}`]);
  }, FRAME_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    board.clear();
    board.show([]);
  }
}
