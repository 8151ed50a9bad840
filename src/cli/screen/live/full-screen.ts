/**
 * Owns the whole terminal while a command draws on it: the alternate screen, so that nothing scrolls and what stood
 * there before comes back, however the command ends but by kill -9. Not what is drawn.
 */

const COLUMNS_DEFAULT = 80;
const ROWS_DEFAULT = 24;
/** The alternate screen, without cursor, and without breaking what is wider than it seems. */
const ENTER = "\u001b[?1049h\u001b[?25l\u001b[?7l";
const LEAVE = "\u001b[?7h\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
/** Before a line, not after it: there the cursor may stand on the last character of the line. */
const ERASE_LINE = "\u001b[K";
const TO_END_OF_SCREEN = "\u001b[J";

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Lines for a terminal of this size: at most as many, none longer. */
export type Draw = (size: Size) => readonly string[];

export interface FullScreen {
  /** Replaces the frame, now and at each change of the size. */
  show(draw: Draw): void;
  /** Gives the terminal back. Repeatable. */
  close(): void;
}

type Stream = NodeJS.WritableStream & { readonly columns?: number; readonly rows?: number };

export function openFullScreen(stream: Stream): FullScreen {
  let drawn: Draw = () => [];
  let open = true;
  const enter = () => void stream.write(ENTER);
  const leave = () => void stream.write(LEAVE);
  const redraw = (): void => {
    const size = { columns: stream.columns || COLUMNS_DEFAULT, rows: stream.rows || ROWS_DEFAULT };
    const lines = drawn(size).slice(0, size.rows);
    const rest = lines.length < size.rows ? [TO_END_OF_SCREEN] : [];
    stream.write(HOME + [...lines.map((line) => ERASE_LINE + line), ...rest].join("\r\n"));
  };
  /** Ctrl-Z: the shell gets its own screen, and `fg` brings ours back. */
  const suspend = (): void => {
    leave();
    process.kill(process.pid, "SIGSTOP");
  };
  const resume = (): void => {
    enter();
    redraw();
  };
  const close = (): void => {
    if (!open) return;
    open = false;
    stream.off("resize", redraw);
    process.off("SIGTSTP", suspend).off("SIGCONT", resume).off("exit", close);
    leave();
  };
  stream.on("resize", redraw);
  process.on("SIGTSTP", suspend).on("SIGCONT", resume).on("exit", close);
  enter();
  return {
    show: (draw) => {
      drawn = draw;
      if (open) redraw();
    },
    close,
  };
}
