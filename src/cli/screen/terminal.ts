/**
 * Owns the two streams of a command. What was asked for goes to stdout; progress, notes, questions and errors go to stderr, so
 * that `--json` can be read by a program. Known secrets are blotted out of everything. What is written is one line, whatever is in
 * it: text of rows, models and providers can neither begin a line nor steer the terminal.
 */
import { styleText } from "node:util";
import { oneLine, proseLine } from "../../model/words/one-line.js";
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
  /** A line of what was asked for. A line of JSON stays the same JSON. */
  print(line: string): void;
  /** A line beside it, above the live ones. */
  note(line: string): void;
  /** Lines at the bottom of the screen, in place of the former ones. Only where `drawsOver`. */
  live(lines: readonly LiveLine[]): void;
  /** Takes the live lines away. */
  endLive(): void;
  /** A whole line. */
  bold(line: string): string;
  dim(line: string): string;
  /** From now on this text appears nowhere. */
  hide(secret: string): void;
}

export function openTerminal(): Terminal {
  const { stdout, stderr, stdin } = process;
  const board = openLiveBoard(stderr);
  const secrets = new Set<string>();
  const clean = (text: string) =>
    safeLine([...secrets].reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text));
  const styled = (format: "bold" | "dim", text: string) =>
    usesStyle(stdout) ? styleText(format, oneLine(text)) : text;
  return {
    interactive: stdin.isTTY && stderr.isTTY,
    drawsOver: stderr.isTTY && process.env["TERM"] !== "dumb",
    debug: false,
    columns: () => (stdout.isTTY ? stdout.columns : Infinity),
    print: (text) => void stdout.write(`${clean(text)}\n`),
    note: (text) => {
      board.clear();
      stderr.write(`${proseLine(clean(text))}\n`);
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
      // Errors may have escaped it already.
      if (secret.length >= SECRET_CHARACTERS_MIN)
        secrets.add(secret).add(oneLine(secret)).add(proseLine(secret));
    },
  };
}

function usesStyle(stream: NodeJS.WriteStream): boolean {
  const refused = process.env["NO_COLOR"] ?? "";
  return stream.isTTY && refused === "" && process.env["TERM"] !== "dumb";
}

const STYLES = ["\u001b[1m", "\u001b[2m"];
const STYLE_END = "\u001b[22m";

/** A line may be bold or dim as a whole. */
function safeLine(text: string): string {
  const style = STYLES.find((begin) => text.startsWith(begin));
  if (style === undefined || !text.endsWith(STYLE_END)) return oneLine(text);
  return style + oneLine(text.slice(style.length, -STYLE_END.length)) + STYLE_END;
}
