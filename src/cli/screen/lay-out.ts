/** Owns how text becomes lines of a terminal: commands as you type them, breaks at spaces, aligned tables. Pure. */
import { basename, dirname, sep } from "node:path";
import { oneLine, proseLine } from "../../model/words/one-line.js";

/** How this process was started, and so how the reader starts the next one: `npx rowmill` in a project. */
export function invocationOf(
  script: string,
  { cwd, env }: { cwd: string; env: Readonly<Record<string, string | undefined>> },
): "rowmill" | "npx rowmill" {
  const at = script.lastIndexOf(`${sep}node_modules${sep}`);
  const project = at < 0 ? null : script.slice(0, at + 1);
  const isOfProject = project !== null && `${cwd}${sep}`.startsWith(project);
  const isBin = basename(dirname(script)) === ".bin";
  const isNpx = env["npm_command"] === "exec" && basename(script) === "rowmill";
  return isOfProject || isBin || isNpx ? "npx rowmill" : "rowmill";
}

/** What our texts show after `rowmill` where it is no command's name. */
const NO_COMMANDS = ["--help", "COMMAND"];

/** Commands named in a text, as `invocation` spells them. `names`: of all commands, for "rowmill" is also a schema. */
export function spellCommands(text: string, invocation: string, names: readonly string[]): string {
  if (invocation === "rowmill" || names.length === 0) return text;
  const words = [...names, ...NO_COMMANDS].join("|");
  return text.replace(new RegExp(`(?<![\\w./-]|npx )rowmill (?=(?:${words})\\b)`, "g"), `${invocation} `);
}

const INDENT = "  ";
/** A command with its arguments, up to the end of a sentence: what is pasted should stand on one line. */
const COMMAND = /(?:npx )?\browmill (?:[a-z]+|--help)(?: \S+?)*?(?=[.;,)]?(?: |$)(?<=[.;,)] ?)|$)/g;
/** Stands for a space inside of a command while lines are broken. `oneLine` lets none through. */
const JOINED = "\u0000";

/** Broken at spaces into lines of at most `columns`; further ones are indented, so that none looks like one of ours. */
export function layOut(text: string, columns: number): string[] {
  const line = oneLine(text);
  if (line.length <= columns) return [line];
  const indent = /^ */.exec(line)?.[0] ?? "";
  const room = columns - indent.length - INDENT.length;
  const glued = line
    .slice(indent.length)
    .replace(COMMAND, (command) => (command.length <= room ? command.replaceAll(" ", JOINED) : command));
  return breakWords(glued.split(" "), columns, { first: indent, more: indent + INDENT }).map((broken) =>
    broken.replaceAll(JOINED, " "),
  );
}

/** For paragraphs of our own words: every line after the same `indent`. Longer words stay whole. */
export function wrap(text: string, columns: number, indent: string): string[] {
  return breakWords(proseLine(text).split(" "), columns, { first: indent, more: indent });
}

function breakWords(words: readonly string[], columns: number, indent: { first: string; more: string }): string[] {
  const lines: string[] = [];
  let begin = indent.first;
  let line = begin;
  for (const word of words) {
    const longer = line === begin ? line + word : `${line} ${word}`;
    if (longer.length <= columns || line === begin) {
      line = longer;
      continue;
    }
    lines.push(line);
    begin = indent.more;
    line = begin + word;
  }
  return [...lines, line];
}

export interface TableColumn {
  readonly title: string;
  readonly align: "left" | "right";
}

const GAP = "  ";

/** A table, or one block per row where it does not fit. Every row has a cell per column; the first names the row. */
export function renderTable(
  header: readonly TableColumn[],
  cells: readonly (readonly string[])[],
  columns: number,
): string[] {
  const rows = cells.map((row) => row.map(proseLine));
  const widths = header.map((column, index) =>
    Math.max(column.title.length, ...rows.map((row) => (row[index] ?? "").length)),
  );
  const total = widths.reduce((sum, width) => sum + width, 0) + GAP.length * (header.length - 1);
  if (total > columns) return rows.flatMap((row) => renderBlock(header, row));
  const line = (row: readonly string[]) =>
    header
      .map((column, index) => pad(row[index] ?? "", widths[index] ?? 0, column.align))
      .join(GAP)
      .trimEnd();
  return [line(header.map((column) => column.title)), ...rows.map(line)];
}

function pad(text: string, width: number, align: TableColumn["align"]): string {
  return align === "left" ? text.padEnd(width) : text.padStart(width);
}

function renderBlock(header: readonly TableColumn[], row: readonly string[]): string[] {
  const [name = "", ...cells] = row;
  const titles = header.slice(1).map((column) => column.title);
  const width = Math.max(...titles.map((title) => title.length));
  const lines = cells.flatMap((cell, index) =>
    cell === "" ? [] : [`  ${(titles[index] ?? "").padEnd(width)}  ${cell}`],
  );
  return [name, ...lines];
}
