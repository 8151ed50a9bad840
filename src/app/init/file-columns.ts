/** What a file has to choose from: its columns with examples, and which of them identify a row. Only reads. */
import { basename } from "node:path";
import { isUsable } from "../../connectors/files/file-row.js";
import { KnownKeys } from "../../connectors/files/known-keys.js";
import type { FileLook } from "../../files/file-types.js";
import { lookAtFile } from "../../files/look-at-file.js";
import { readRecords } from "../../files/read-records.js";
import { RowmillError } from "../../model/errors.js";
import { counted } from "../../model/words/counted.js";
import type { FoundTable } from "./list-tables.js";

/** Each costs up to 50 bytes a row while the file is read. */
const KEYS_TRIED_MAX = 8;
const KEY_BYTES_MAX = 1_024;
const EXAMPLE_CHARACTERS = 60;

/** @throws RowmillError if it cannot be read */
export async function columnsOfFile(
  path: string,
  key: readonly string[] | null,
): Promise<{ readonly table: FoundTable; readonly notes: readonly string[] }> {
  const look = await lookAtFile(path);
  const usable = look.columns.filter(isUsable);
  requireColumns(path, usable, key ?? []);
  const tried = key === null ? usable.slice(0, KEYS_TRIED_MAX).map((name) => [name]) : [key];
  const keys = tried.map((columns) => new TriedKey(columns));
  const unread = await readInto(look, keys);
  const [only] = keys;
  if (key !== null && only?.problem != null) throw refusedKey(path, key, only.problem);
  const columns = usable.map((name) => ({ name, type: "text", example: exampleOf(look, name) }));
  const good = keys.filter(({ problem }) => problem === null).map((one) => one.columns);
  const table = { name: path, qualified: path, columns, keys: good, problem: null };
  return { table, notes: [...look.notes, ...notesOn(look, usable, unread)] };
}

export function requireColumns(path: string, columns: readonly string[], wanted: readonly string[]): void {
  const missing = wanted.find((name) => !columns.includes(name));
  if (missing === undefined) return;
  throw new RowmillError("usage", `${basename(path)} has no column ${JSON.stringify(missing)}.`, {
    hints: [`Its columns: ${columns.join(", ")}`],
  });
}

/** Returns how many records cannot be read. */
async function readInto(look: FileLook, keys: readonly TriedKey[]): Promise<number> {
  let unread = 0;
  for await (const { records } of readRecords(look)) {
    for (const record of records) {
      if ("problem" in record) unread += 1;
      else for (const key of keys) key.add(record.cells, record.line);
    }
  }
  return unread;
}

function notesOn(look: FileLook, usable: readonly string[], unread: number): string[] {
  const left = look.columns.filter((name) => !usable.includes(name));
  return [
    ...left.map((name) => `A config cannot name the column ${JSON.stringify(name.slice(0, EXAMPLE_CHARACTERS))}.`),
    ...(look.examples.length > 0 ? [] : ["There are no rows yet, so any column may be the key."]),
    ...(unread === 0 ? [] : [`${counted(unread, "line")} cannot be read, and will be left out.`]),
  ];
}

function exampleOf({ columns, examples }: FileLook, name: string): string {
  const at = columns.indexOf(name);
  const cell = examples.map((cells) => cells[at] ?? "").find((text) => text.trim() !== "") ?? "";
  return cell.slice(0, EXAMPLE_CHARACTERS);
}

/** Columns that identify a row, until a row shows that they do not. */
class TriedKey {
  readonly columns: readonly string[];
  problem: string | null = null;
  #known = new KnownKeys();

  constructor(columns: readonly string[]) {
    this.columns = columns;
  }

  add(cells: Readonly<Record<string, string | null>>, line: number): void {
    if (this.problem !== null) return;
    this.problem = this.#problemOf(
      this.columns.map((name) => cells[name] ?? ""),
      line,
    );
    // Its memory is free from here on.
    if (this.problem !== null) this.#known = new KnownKeys();
  }

  #problemOf(values: readonly string[], line: number): string | null {
    const key = JSON.stringify(values);
    if (values.includes("")) return `it is empty in line ${line}`;
    if (Buffer.byteLength(key) > KEY_BYTES_MAX) return `it has more than ${KEY_BYTES_MAX} bytes in line ${line}`;
    const earlier = this.#known.add(key, String(line), line);
    const shown = values.map((value) => JSON.stringify(value.slice(0, EXAMPLE_CHARACTERS))).join(" and ");
    return earlier === null ? null : `lines ${earlier} and ${line} have the same, ${shown}`;
  }
}

function refusedKey(path: string, key: readonly string[], problem: string): RowmillError {
  const named = key.map((name) => JSON.stringify(name)).join(" and ");
  return new RowmillError("usage", `--key: ${named} does not identify a row of ${basename(path)}: ${problem}.`, {
    hints: [NO_KEY],
  });
}

const NO_KEY =
  "Without such a column use rowmill run FILE, which knows a line by its content; or name several: --key a,b";

export function noKey(path: string): RowmillError {
  return new RowmillError("usage", `No column of ${basename(path)} is different and not empty in each row.`, {
    hints: [NO_KEY],
  });
}
