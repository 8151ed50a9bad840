/**
 * Owns the two streams of a command. What was asked for goes to stdout; progress, notes, questions and errors go to stderr, so
 * that `--json` can be read by a program. Known secrets are blotted out of everything, and control characters of data never
 * reach a terminal.
 */
import { styleText } from "node:util";

/** Shorter texts would blot out ordinary words. */
const SECRET_CHARACTERS_MIN = 8;

export interface Terminal {
  /** A person sits there who can be asked. */
  readonly interactive: boolean;
  /** stderr can be drawn over. */
  readonly drawsOver: boolean;
  /** Stack traces are wanted. */
  debug: boolean;
  /** Of stdout; a file has no width. */
  columns(): number;
  /** Lines of what was asked for. */
  print(text: string): void;
  /** A line beside it, above the live ones. */
  note(text: string): void;
  /** Lines at the bottom of the screen, in place of the former ones. Only where `drawsOver`. */
  live(lines: readonly string[]): void;
  /** Takes the live lines away. */
  endLive(): void;
  bold(text: string): string;
  dim(text: string): string;
  /** From now on this text appears nowhere. */
  hide(secret: string): void;
}

export function openTerminal(): Terminal {
  const { stdout, stderr, stdin } = process;
  const board = openLiveBoard(stderr);
  const secrets = new Set<string>();
  const clean = (text: string) =>
    [...secrets].reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text);
  const styled = (format: "bold" | "dim", text: string) =>
    usesStyle(stdout) ? styleText(format, text) : text;
  return {
    interactive: stdin.isTTY && stderr.isTTY,
    drawsOver: stderr.isTTY && process.env["TERM"] !== "dumb",
    debug: false,
    columns: () => (stdout.isTTY ? stdout.columns : Infinity),
    print: (text) => void stdout.write(`${clean(text)}\n`),
    note: (text) => {
      board.clear();
      stderr.write(`${clean(text)}\n`);
      board.draw();
    },
    live: (next) => board.show(next.map((line) => fit(clean(line), stderr.columns))),
    endLive: () => {
      board.clear();
      board.show([]);
    },
    bold: (text) => styled("bold", text),
    dim: (text) => styled("dim", text),
    hide: (secret) => {
      if (secret.length >= SECRET_CHARACTERS_MIN) secrets.add(secret);
    },
  };
}

interface LiveBoard {
  show(next: readonly string[]): void;
  draw(): void;
  clear(): void;
}

/** What draws is loaded with the first lines: most commands never draw, and it takes longer to load than they do. */
function openLiveBoard(stream: NodeJS.WriteStream): LiveBoard {
  let lines: readonly string[] = [];
  let update: ReturnType<typeof import("log-update").createLogUpdate> | null = null;
  let loading: Promise<void> | null = null;
  const load = async (): Promise<void> => {
    const { createLogUpdate } = await import("log-update");
    update = createLogUpdate(stream, { showCursor: true });
    board.draw();
  };
  const board = {
    show: (next: readonly string[]): void => {
      lines = next;
      board.draw();
    },
    draw: (): void => {
      if (lines.length === 0) return;
      if (update === null) loading ??= load();
      else update(lines.join("\n"));
    },
    clear: (): void => {
      if (lines.length > 0) update?.clear();
    },
  };
  return board;
}

function usesStyle(stream: NodeJS.WriteStream): boolean {
  const refused = process.env["NO_COLOR"] ?? "";
  return stream.isTTY && refused === "" && process.env["TERM"] !== "dumb";
}

/** One line that is not wrapped. */
export function fit(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

/** Data as a terminal may show it: without escape sequences and other control characters but line feeds and tabs. */
export function harmless(text: string): string {
  return text.replace(/(?![\n\t])[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, "�");
}
