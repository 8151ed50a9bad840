/** The options of `npm run bench -- COMMAND`, read once and shared by all commands. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { cliScript } from "../test/support/build.js";

const ROWS_MAX = 20_000_000;
const REPEATS_MAX = 25;
const WORKERS_MAX = 16;
const ROUNDS_MAX = 100;
const BATCH_REQUESTS_MAX = 50_000;

/** Null: not said, and each command has a default of its own. */
export interface BenchOptions {
  readonly rows: number | null;
  /** Of a command that measures several: all numbers of `--rows`; none was said: none. */
  readonly sizes: readonly number[];
  readonly repeats: number | null;
  /** Requests in a batch, of Rowmill's and of the floor's. */
  readonly batchRequests: number | null;
  readonly workers: readonly number[];
  /** Of `growth`: rows that are new, rows that are updated, and how often. */
  readonly added: number | null;
  readonly updated: number | null;
  readonly rounds: number | null;
  /** Of the answers in the provider's file. */
  readonly order: "asked" | "random";
  /**
   * `trigger`: rows are written while the triggers are there; `existing`: before, so that the first sweep finds them.
   */
  readonly arrivals: "trigger" | "existing";
  /** The built command line, `dist/cli/main.js`, of this version or of another one. */
  readonly cli: string;
  /** Another checkout, to compare with; null: none. */
  readonly against: string | null;
  /** Another one, measured in the same run. */
  readonly beside: string | null;
  readonly json: boolean;
  readonly smoke: boolean;
  /** Writes `recorded.json`, instead of comparing with it. */
  readonly record: boolean;
}

/** @throws Error for an option that is not known, or a number out of its bounds */
export function readOptions(args: readonly string[]): { command: string | null; options: BenchOptions } {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rows: { type: "string" },
      repeats: { type: "string" },
      batch: { type: "string" },
      workers: { type: "string", default: "2,4" },
      added: { type: "string" },
      updated: { type: "string" },
      rounds: { type: "string" },
      order: { type: "string", default: "asked" },
      arrivals: { type: "string", default: "trigger" },
      cli: { type: "string", default: cliScript },
      against: { type: "string" },
      beside: { type: "string" },
      json: { type: "boolean", default: false },
      smoke: { type: "boolean", default: false },
      record: { type: "boolean", default: false },
      rescue: { type: "boolean", default: false },
    },
  });
  const named = positionals[0] ?? (values.smoke ? "smoke" : values.rescue ? "rescue" : null);
  const sizes = list("--rows", values.rows, ROWS_MAX);
  const options: BenchOptions = {
    rows: sizes[0] ?? null,
    sizes,
    repeats: whole("--repeats", values.repeats, REPEATS_MAX),
    batchRequests: whole("--batch", values.batch, BATCH_REQUESTS_MAX),
    workers: list("--workers", values.workers, WORKERS_MAX),
    added: whole("--added", values.added, BATCH_REQUESTS_MAX),
    updated: whole("--updated", values.updated, ROWS_MAX),
    rounds: whole("--rounds", values.rounds, ROUNDS_MAX),
    order: oneOf("--order", values.order, ["asked", "random"]),
    arrivals: oneOf("--arrivals", values.arrivals, ["trigger", "existing"]),
    cli: resolve(values.cli),
    against: values.against === undefined ? null : resolve(values.against),
    beside: values.beside === undefined ? null : resolve(values.beside),
    json: values.json,
    smoke: values.smoke,
    record: values.record,
  };
  return { command: named, options };
}

/** `10k,1M` */
function list(name: string, text: string | undefined, max: number): number[] {
  return (text?.split(",") ?? []).flatMap((one) => whole(name, one, max) ?? []);
}

/** `1m`, `100k`, `250` or `100_000`. */
function whole(name: string, text: string | undefined, max: number): number | null {
  if (text === undefined) return null;
  const [, digits = "", unit = ""] = /^([\d_]+)(k|m|)$/.exec(text.toLowerCase()) ?? [];
  const factor = { k: 1_000, m: 1_000_000 }[unit] ?? 1;
  const value = Number(digits.replaceAll("_", "")) * factor;
  if (digits === "" || value < 1 || value > max)
    throw new Error(`${name} ${text}: write a whole number from 1 to ${max}`);
  return value;
}

function oneOf<T extends string>(name: string, text: string, words: readonly T[]): T {
  const word = words.find((candidate) => candidate === text);
  if (word === undefined) throw new Error(`${name} ${text}: write ${words.join(" or ")}`);
  return word;
}
