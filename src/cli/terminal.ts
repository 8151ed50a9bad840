/**
 * Owns the two streams of a command. What was asked for goes to stdout; progress, notes, questions and errors go to stderr, so
 * that `--json` can be read by a program. Known secrets are blotted out of everything, and control characters of data never
 * reach a terminal.
 */
import { styleText } from "node:util";
import { openLiveBoard, type LiveLine } from "./live-board.js";

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
  live(lines: readonly LiveLine[]): void;
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
    live: (next) =>
      board.show(next.map((line) => (typeof line === "string" ? clean(line) : line.map(clean)))),
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

function usesStyle(stream: NodeJS.WriteStream): boolean {
  const refused = process.env["NO_COLOR"] ?? "";
  return stream.isTTY && refused === "" && process.env["TERM"] !== "dumb";
}

/** Data as a terminal may show it: without escape sequences and other control characters but line feeds and tabs. */
export function harmless(text: string): string {
  return text.replace(/(?![\n\t])[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, "�");
}
