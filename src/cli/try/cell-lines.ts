/** Lines of named values below a label, cut to a width: `answer  genre  "drama"`. Pure. */
import type { Json } from "../../model/pipeline.js";
import { proseLine } from "../../model/words/one-line.js";
import { wrap } from "../screen/lay-out.js";
import { fit } from "../screen/text.js";

const INDENT = "    ";
const LABEL_WIDTH = 8;
const NAME_WIDTH_MAX = 16;
const GAP = "  ";
/** Where no terminal says its width. */
const COLUMNS_ELSEWHERE = 100;
const COLUMNS_MIN = 40;

/** The width for values; a file has no width of its own. */
export function shownColumns(columns: number): number {
  return Number.isFinite(columns) ? Math.max(COLUMNS_MIN, columns) : COLUMNS_ELSEWHERE;
}

export interface Named {
  readonly name: string;
  readonly value: string;
}

/** The label stands in front of the first line only. `linesMax`: of one value. */
export function cellLines(
  label: string,
  cells: readonly Named[],
  { columns, linesMax }: { readonly columns: number; readonly linesMax: number },
): string[] {
  const names = cells.map(({ name }) => fit(name, NAME_WIDTH_MAX));
  const width = Math.max(0, ...names.map((name) => name.length));
  const margin = INDENT.length + LABEL_WIDTH + GAP.length + (width === 0 ? 0 : width + GAP.length);
  return cells.flatMap(({ value }, index) =>
    valueLines(value, { columns: columns - margin, linesMax }).map((line, at) => {
      const head = index === 0 && at === 0 ? label : "";
      const name = at === 0 ? (names[index] ?? "") : "";
      const named = width === 0 ? "" : `${name.padEnd(width)}${GAP}`;
      return `${INDENT}${head.padEnd(LABEL_WIDTH)}${GAP}${named}${line}`.trimEnd();
    }),
  );
}

function valueLines(
  value: string,
  { columns, linesMax }: { readonly columns: number; readonly linesMax: number },
): string[] {
  // More would not be shown.
  const start = value.slice(0, columns * (linesMax + 1));
  const lines = wrap(proseLine(start), columns, "");
  const shown = lines.slice(0, linesMax).map((line) => fit(line, columns));
  const isCut = lines.length > linesMax || start.length < value.length;
  const last = shown.pop() ?? "";
  return [...shown, isCut && !last.endsWith("…") ? fit(`${last} …`, columns) : last];
}

/** JSON, so that a text differs from a number. */
export function jsonCells(cells: Readonly<Record<string, Json>>): Named[] {
  return Object.entries(cells).map(([name, value]) => ({ name, value: shownValue(value) }));
}

/** On one line, with spaces at which it can be broken. */
export function shownValue(value: Json): string {
  // Line breaks in texts are escaped by then.
  return JSON.stringify(value, undefined, 1)
    .replaceAll(/([[{])\n */g, "$1")
    .replaceAll(/\n *([\]}])/g, "$1")
    .replaceAll(/\n */g, " ");
}
