/** Lays out rows as an aligned table, or as one block a row where the table does not fit. Pure. */

export interface TableColumn {
  readonly title: string;
  readonly align: "left" | "right";
}

const GAP = "  ";

/** Lines no longer than `columns` where the cells allow it. Every row has a cell per column; the first one names the row. */
export function renderTable(
  header: readonly TableColumn[],
  rows: readonly (readonly string[])[],
  columns: number,
): string[] {
  const widths = header.map((column, index) =>
    Math.max(column.title.length, ...rows.map((row) => (row[index] ?? "").length)),
  );
  const total = widths.reduce((sum, width) => sum + width, 0) + GAP.length * (header.length - 1);
  if (total > columns) return rows.flatMap((row) => renderBlock(header, row));
  const line = (cells: readonly string[]) =>
    header
      .map((column, index) => pad(cells[index] ?? "", widths[index] ?? 0, column.align))
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
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    const longer = line === indent ? line + word : `${line} ${word}`;
    if (longer.length <= columns || line === indent) {
      line = longer;
      continue;
    }
    lines.push(line);
    line = indent + word;
  }
  return [...lines, line];
}
