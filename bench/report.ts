/** How figures are summed up and written: the middle one of several, aligned tables, JSON for programs. */
import { cpus, loadavg } from "node:os";
import { renderTable } from "../src/cli/screen/lay-out.js";
import { withoutProc } from "./usage.js";

const LINE_CHARACTERS = 200;
const NOT_HAD = "–";

/** Null among them, or none: null. */
export function median(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null).toSorted((a, b) => a - b);
  return known.length < values.length ? null : (known[Math.floor((known.length - 1) / 2)] ?? null);
}

/** `2.13 (2.01 to 2.40)` */
export function spread(values: readonly (number | null)[]): string {
  const middle = median(values);
  if (middle === null) return NOT_HAD;
  const known = values.filter((value) => value !== null);
  if (known.length === 1) return middle.toFixed(2);
  return `${middle.toFixed(2)} (${Math.min(...known).toFixed(2)} to ${Math.max(...known).toFixed(2)})`;
}

export function quotient(value: number | null, by: number | null): number | null {
  return value === null || by === null || by === 0 ? null : value / by;
}

/** `amount(1_234_567, 1e6, 1)`: `1.2` */
export function amount(value: number | null, unit: number, digits: number): string {
  if (value === null) return NOT_HAD;
  return (value / unit).toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** The first cell of each row names it. */
export function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const header = titles.map((title, index) => ({ title, align: index === 0 ? "left" : "right" }) as const);
  for (const line of renderTable(header, rows, LINE_CHARACTERS)) console.log(`  ${line}`);
  console.log();
}

export interface Machine {
  readonly node: string;
  readonly cores: number;
  readonly platform: string;
  readonly postgres: string;
  /** Of the minute before the end. */
  readonly load: number;
}

export function machine(): Machine {
  const platform = `${process.platform}-${process.arch}`;
  const [load = 0] = loadavg();
  return { node: process.version, cores: cpus().length, platform, postgres: "18", load };
}

export function printMachine(): void {
  const { node, cores, platform, load } = machine();
  const place = `PostgreSQL 18, durable; Node ${node}; ${cores} cores, ${platform}`;
  console.log(`${place}; load average of the last minute ${load.toFixed(1)}`);
  if (withoutProc !== null) console.log(withoutProc);
}
