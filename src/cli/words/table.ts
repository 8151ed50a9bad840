/**
 * Lays out rows as an aligned table, or as one block a row where the table does not fit. Text is made safe before its width is
 * counted. Pure.
 */
import { proseLine } from "../../model/words/one-line.js";

export interface TableColumn {
  readonly title: string;
  readonly align: "left" | "right";
}

const GAP = "  ";
const QUOTED_INDENT = "  ";

/** Lines no longer than `columns` where the cells allow it. Every row has a cell per column; the first one names the row. */
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

/** The first cell as a heading, the others as `title value`, the empty ones left out. */
function renderBlock(header: readonly TableColumn[], row: readonly string[]): string[] {
  const [name = "", ...cells] = row;
  const titles = header.slice(1).map((column) => column.title);
  const width = Math.max(...titles.map((title) => title.length));
  const lines = cells.flatMap((cell, index) =>
    cell === "" ? [] : [`  ${(titles[index] ?? "").padEnd(width)}  ${cell}`],
  );
  return [name, ...lines];
}

/** Text broken at spaces into lines of at most `columns`, each after `indent`. Longer words stay whole. */
export function wrap(text: string, columns: number, indent: string): string[] {
  return breakLines(text, columns, { first: indent, more: indent });
}

/** The same for text that others wrote: the further lines are indented, so that none can look like one of ours. */
export function wrapQuoted(text: string, columns: number): string[] {
  return breakLines(text, columns, { first: "", more: QUOTED_INDENT });
}

function breakLines(text: string, columns: number, indent: { first: string; more: string }): string[] {
  const lines: string[] = [];
  let begin = indent.first;
  let line = begin;
  for (const word of proseLine(text).split(" ")) {
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
