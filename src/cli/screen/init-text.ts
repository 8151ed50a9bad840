/** What `rowmill init` says. Pure. */
import type { FoundTable } from "../../app/init/list-tables.js";
import { ADAPTERS } from "../../providers/adapters.js";

/** Enough to choose from. */
const TABLES_SHOWN_MAX = 20;
const COLUMNS_SHOWN_MAX = 12;
const NAMES_SHOWN_MAX = 6;

/** One line per table: what it has, or why it cannot be watched. `only`: this one, where it exists. */
export function listFound(tables: readonly FoundTable[], only: string | undefined): string[] {
  const named = tables.filter((table) => table.name === only);
  const shown = named.length > 0 ? named : tables;
  const lines = shown.slice(0, TABLES_SHOWN_MAX).map(describeTable);
  const more = shown.length - lines.length;
  return more > 0 ? [...lines, `… and ${more} more`] : lines;
}

function describeTable({ name, columns, keys, problem }: FoundTable): string {
  if (problem !== null) return `${name} cannot be watched: ${problem}`;
  const names = columns.slice(0, COLUMNS_SHOWN_MAX).map((column) => column.name);
  const more = columns.length > names.length ? ", …" : "";
  return `${name}: key ${(keys[0] ?? []).join(", ")}; columns ${names.join(", ")}${more}`;
}

/** One line for each reason why tables cannot be watched, with their names. */
export function listUnwatchable(tables: readonly FoundTable[]): string[] {
  const reasons = [...new Set(tables.flatMap(({ problem }) => (problem === null ? [] : [problem])))];
  return reasons.map((reason) => {
    const names = tables.filter(({ problem }) => problem === reason).map(({ name }) => name);
    const more = names.length - NAMES_SHOWN_MAX;
    const shown = names.slice(0, NAMES_SHOWN_MAX).join(", ") + (more > 0 ? `, … and ${more} more` : "");
    return `${shown} cannot be watched: ${reason}`;
  });
}

export interface Written {
  readonly config: string;
  readonly tsconfig: boolean;
  readonly env: boolean;
  readonly ignored: readonly string[];
  readonly embedded: boolean;
  readonly hasKey: boolean;
}

/** What was written, and what to do next. */
export function describeWritten(written: Written): string[] {
  const files = [
    `✓ Wrote ${written.config}.`,
    ...(written.tsconfig ? ["Wrote tsconfig.json, so that your editor understands it."] : []),
    ...(written.env ? ["Wrote DATABASE_URL to .env, which only you can read."] : []),
    ...(written.ignored.length === 0
      ? []
      : [`Added ${written.ignored.join(" and ")} to .gitignore, to keep secrets and state out of git.`]),
  ];
  const steps = [
    ...(written.hasKey ? [] : [`Add your API key to .env: ${ADAPTERS[0].keyExample}`]),
    "Check your setup: rowmill doctor",
    "Start (shows the cost and asks first): rowmill up",
  ];
  return [...files, "Next:", ...steps.map((step, index) => `  ${index + 1}. ${step}`)];
}
