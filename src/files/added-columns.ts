/** Decides the names of the columns that are added to a file. */
import type { AnswerColumn } from "../model/answer/answer-columns.js";
import { freeName } from "./column-names.js";
import { badFile } from "./file-failure.js";
import type { FileLook } from "./file-types.js";
import { jsonlRecord } from "./jsonl-record.js";
import { cutsOf } from "./read-pages.js";

const ERROR_NAME = "error";

export interface AddedColumns {
  /** The names in the output, in the order of the answer's columns. */
  readonly answers: readonly string[];
  /** The name of the column for errors. */
  readonly error: string;
  /** For display. */
  readonly notes: readonly string[];
}

/** A name that the file has too gets a number: `summary_2`. */
export function addedColumns(columns: readonly string[], answer: readonly AnswerColumn[]): AddedColumns {
  const taken = new Set(columns);
  const notes: string[] = [];
  const named = (name: string, what: string): string => {
    const made = freeName(name, taken);
    taken.add(made);
    if (made !== name) notes.push(`The file has a column ${name}, so ${what} is written as ${made}.`);
    return made;
  };
  const answers = answer.map(({ field }) => named(field, "the answer's"));
  return { answers, error: named(ERROR_NAME, "the column for errors"), notes };
}

/** Of JSONL, whose names may differ from line to line. */
const NAMES_MAX = 10_000;

/**
 * All names in the file. JSONL is read through for this. With `only`, lines without one of these names are passed over.
 * @throws RowmillError if there are more than a table can have
 */
export async function allColumns(
  look: FileLook,
  { only, signal }: { only?: readonly string[] | undefined; signal?: AbortSignal | undefined } = {},
): Promise<readonly string[]> {
  if (look.format !== "jsonl") return look.columns;
  const names = new Set(look.columns);
  // A name may also be written with escapes.
  const wanted = only === undefined ? null : [...only, String.raw`\u`].map((name) => Buffer.from(name));
  for await (const cuts of cutsOf(look, { after: look.body, signal })) {
    for (const cut of cuts) {
      if (wanted !== null && !wanted.some((name) => cut.raw?.includes(name))) continue;
      const record = jsonlRecord(cut);
      for (const name of "cells" in record ? Object.keys(record.cells) : []) names.add(name);
    }
    if (names.size > NAMES_MAX) throw badFile(look.path, `has more than ${NAMES_MAX} different names of fields.`);
  }
  return [...names];
}
