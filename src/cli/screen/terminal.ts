/**
 * Owns the two streams of a command. What was asked for goes to stdout; progress, notes, questions and errors go to
 * stderr, so that a program can read `--json`. Known secrets appear nowhere, and text of rows, models and providers can
 * neither begin a line nor steer the terminal. Lines are broken at spaces, and signs shown, on a terminal only.
 */
import { oneLine, proseLine } from "../../model/words/one-line.js";
import { formatAgo } from "./text.js";
import { invocationOf, layOut, spellCommands } from "./lay-out.js";
import { openFullScreen, type FullScreen } from "./live/full-screen.js";
import { openLiveBoard, withSpinner, type Label, type LiveLine } from "./live/live-board.js";

/** Hiding shorter texts would hide ordinary words. */
const SECRET_CHARACTERS_MIN = 8;

export interface Terminal {
  readonly interactive: boolean;
  readonly drawsOver: boolean;
  debug: boolean;
  quiet: boolean;
  /** Names of all commands: where a text names one, it is spelled as the reader types it. */
  commands: readonly string[];
  /** What a text of ours becomes first: in a run, a pipeline is a file. */
  words: (text: string) => string;
  /** JSON: each line on stderr is one record, for a program that collects logs. */
  logFormat: "text" | "json";
  columns(): number;
  print(line: string): void;
  /** The same for lines that hold text of rows and models, which stays as it is. */
  quote(line: string): void;
  /** For programs: a line of JSON or SQL, never broken. */
  data(line: string): void;
  /** A line on stderr, above the live ones. */
  note(line: string): void;
  /** A record of a log in JSON, on stderr. */
  record(line: string): void;
  /** Lines at the bottom of the screen, in place of the previous ones. Only where `drawsOver`. */
  live(lines: readonly LiveLine[]): void;
  endLive(): void;
  /** The whole terminal, for what is drawn over and over; null where stdout is none. To be closed. */
  fullScreen(): FullScreen | null;
  /** Text as it will be shown, without secrets and with commands as the reader types them: before it is measured. */
  spell(text: string): string;
  /** Shows a spinner with `label` while the work lasts, where it lasts long. The work must not draw or ask. */
  during<T>(label: Label, work: () => Promise<T>): Promise<T>;
  bold(line: string): string;
  dim(line: string): string;
  /** `3 min ago`; null where no terminal shows it, because a log is read later. */
  ago(at: Date): string | null;
  /** From now on this text appears nowhere. */
  hide(secret: string): void;
}

export function openTerminal(): Terminal {
  const { stdout, stderr, stdin } = process;
  const board = openLiveBoard(stderr);
  const secrets = new Set<string>();
  const invocation = invocationOf(process.argv[1] ?? "", { cwd: process.cwd(), env: process.env });
  const withoutSecrets = (text: string) =>
    [...secrets].reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text);
  const lines = (text: string, columns: number) => {
    const { style, words } = styleOf(withoutSecrets(text));
    const laid = layOut(words, columns);
    return style === null ? laid : laid.map((line) => STYLES[style] + line + STYLE_END);
  };
  const spelled = (text: string) => spellCommands(terminal.words(text), invocation, terminal.commands);
  const ours = (text: string, stream: NodeJS.WriteStream) =>
    lines(spelled(text), widthOf(stream)).map((line, at) => (at === 0 ? withSign(line, stream) : line));
  const write = (stream: NodeJS.WriteStream, written: readonly string[]) =>
    void stream.write(`${written.join("\n")}\n`);
  const terminal: Terminal = {
    get interactive() {
      return terminal.logFormat === "text" && stdin.isTTY && stderr.isTTY;
    },
    get drawsOver() {
      return terminal.logFormat === "text" && stderr.isTTY && process.env["TERM"] !== "dumb";
    },
    logFormat: "text",
    debug: false,
    quiet: false,
    commands: [],
    words: (text) => text,
    columns: () => widthOf(stdout),
    print: (text) => write(stdout, ours(text, stdout)),
    quote: (text) => write(stdout, lines(text, widthOf(stdout))),
    data: (text) => write(stdout, [oneLine(withoutSecrets(text))]),
    note: (text) => {
      if (terminal.logFormat === "json") return terminal.record(recordOf(spelled(text)));
      board.clear();
      write(stderr, ours(proseLine(withoutSecrets(text)), stderr));
      board.draw();
    },
    record: (line) => write(stderr, [oneLine(withoutSecrets(line))]),
    live: (next) =>
      board.show(
        next.flatMap((line): LiveLine[] =>
          typeof line === "string"
            ? ours(line, stderr)
            : [line.map((text) => proseLine(withoutSecrets(spelled(text))))],
        ),
      ),
    fullScreen: () => fullScreenOn(stdout, (line) => withSign(lines(line, Infinity).join(""), stdout)),
    spell: (text) => spelled(withoutSecrets(text)),
    endLive: () => {
      board.clear();
      board.show([]);
    },
    during: (label, work) => (terminal.drawsOver && !terminal.quiet ? withSpinner(board, label, work) : work()),
    bold: (text) => styled("bold", text),
    dim: (text) => styled("dim", text),
    ago: (at) => (stdout.isTTY ? formatAgo(Date.now() - at.getTime()) : null),
    hide: (secret) => {
      // Errors may have escaped it already.
      if (secret.length >= SECRET_CHARACTERS_MIN) secrets.add(secret).add(oneLine(secret)).add(proseLine(secret));
    },
  };
  return terminal;
}

/** Its lines are measured already. */
function fullScreenOn(stream: NodeJS.WriteStream, shown: (line: string) => string): FullScreen | null {
  if (!stream.isTTY || process.env["TERM"] === "dumb") return null;
  const screen = openFullScreen(stream);
  return { ...screen, show: (draw) => screen.show((size) => draw(size).map(shown)) };
}

/** A note as a record: its sign is the level. */
function recordOf(text: string): string {
  const [, sign = "", msg = ""] = /^ *(?:([✓!✗·]) )?([^]*)$/.exec(text) ?? [];
  const level = sign === "✗" ? "error" : sign === "!" ? "warn" : "info";
  return JSON.stringify({ level, time: new Date().toISOString(), msg });
}

/** Where a terminal does not say. */
const COLUMNS_DEFAULT = 80;

function widthOf(stream: NodeJS.WriteStream): number {
  return stream.isTTY ? stream.columns || COLUMNS_DEFAULT : Infinity;
}

type Style = keyof typeof STYLES;
const STYLES = { bold: "\u001b[1m", dim: "\u001b[2m" } as const;
const STYLE_END = "\u001b[22m";

function styled(style: Style, text: string): string {
  return usesStyle(process.stdout) ? STYLES[style] + oneLine(text) + STYLE_END : text;
}

function usesStyle(stream: NodeJS.WriteStream): boolean {
  const refused = process.env["NO_COLOR"] ?? "";
  return stream.isTTY && refused === "" && process.env["TERM"] !== "dumb";
}

/** A line may be bold or dim as a whole. */
function styleOf(text: string): { style: Style | null; words: string } {
  const style = (["bold", "dim"] as const).find((each) => text.startsWith(STYLES[each]));
  if (style === undefined || !text.endsWith(STYLE_END)) return { style: null, words: text };
  return { style, words: text.slice(STYLES[style].length, -STYLE_END.length) };
}

/** Fine, needs your attention, failed, not checked: signs that say the same without a color. */
const SIGNS: Readonly<Record<string, string>> = { "✓": "\u001b[32m", "!": "\u001b[33m", "✗": "\u001b[31m", "·": "" };
const COLOR_END = "\u001b[39m";

/** The sign that a line begins with: in color, without one, or left out of a file, which programs read. */
function withSign(line: string, stream: NodeJS.WriteStream): string {
  return line.replace(/^( *)([✓!✗·]) /, (_, indent: string, sign: string) => {
    if (!stream.isTTY) return indent;
    const color = usesStyle(stream) ? (SIGNS[sign] ?? "") : "";
    return `${indent}${color}${sign}${color === "" ? "" : COLOR_END} `;
  });
}
