/** Chooses the rows of a try and reads them as they are now. Only reads. */
import { RowmillError } from "../../model/errors.js";
import { firstRowsHint } from "../../model/words/replica-words.js";
import { DatabaseError, type Database, type Queryable } from "../../postgres/database.js";
import { requirePredicate } from "../../sources/table/requirements.js";
import { createTableSource } from "../../sources/table/table-source.js";
import { contentsOf, type Source, type SourceRow } from "../../sources/source.js";
import type { Asking } from "../../worker/context.js";
import { spelledKeys } from "../story/row-key.js";

export const TRY_ROWS_MAX = 100;
/** Of all rows together, which stay in memory until they are shown. */
const CONTENT_CHARACTERS_MAX = 16_000_000;

export interface Choice {
  /** At most TRY_ROWS_MAX. */
  readonly rows: number;
  /** As typed; empty: any rows. */
  readonly keys: readonly string[];
  /** In addition to the config's own condition. */
  readonly where: string | null;
  readonly random: boolean;
}

/** In the order of the keys. @throws RowmillError `usage` or `not_found` where there is no row to ask */
export async function chooseRows(database: Database, asking: Asking, choice: Choice): Promise<SourceRow[]> {
  const source = choice.where === null ? asking.source : await narrowed(database, asking, choice.where);
  const keys = choice.keys.length > 0 ? await spelled(database, asking, choice.keys) : null;
  return database.transaction(
    async (tx) => {
      const chosen = keys ?? (await sampled(tx, asking, { source, choice }));
      const rows = await readAll(tx, source, chosen);
      const missing = chosen.filter((key) => !rows.has(key));
      const [first] = missing;
      if (keys !== null && first !== undefined) throw noSuchRow(asking, { key: first, where: choice.where });
      return chosen.flatMap((key) => rows.get(key) ?? []);
    },
    { readOnly: true },
  );
}

async function narrowed(database: Database, { id, config, table }: Asking, where: string): Promise<Source> {
  if (where.trim() === "" || /^\s*where\b|;\s*$/i.test(where))
    throw new RowmillError(
      "usage",
      "--where: expected an SQL condition such as \"lang = 'en'\", without the word WHERE or a semicolon at its end.",
    );
  const own = config.source.where;
  // A comment at the end of one must not hide what follows.
  const both = own === null ? where : `(${own}\n) and (${where}\n)`;
  const source = { ...config.source, where: both };
  try {
    await database.transaction((tx) => requirePredicate(tx, { ...config, source }, table), { readOnly: true });
  } catch (error) {
    if (!(error instanceof RowmillError) || error.code !== "source_unsupported") throw error;
    const { cause } = error;
    const why = cause instanceof DatabaseError ? cause.message : error.message;
    throw new RowmillError("usage", `--where: ${why}`, { cause, hints: error.hints });
  }
  return createTableSource(table, { pipelineId: id, where: both, skipBefore: null });
}

async function spelled(database: Database, { table }: Asking, given: readonly string[]): Promise<string[]> {
  const keys = await database.transaction((tx) => spelledKeys(tx, table, given), { readOnly: true });
  return [...new Set(keys)];
}

async function sampled(
  tx: Queryable,
  { config, table }: Asking,
  { source, choice }: { readonly source: Source; readonly choice: Choice },
): Promise<readonly string[]> {
  const keys = await source.sampleKeys(tx, { max: choice.rows, random: choice.random });
  if (keys === null)
    throw new RowmillError("database_timeout", `Choosing rows of ${table.qualified} took too long.`, {
      hints: [`Name them: rowmill try ${config.name} --key KEY`],
    });
  if (keys.length > 0) return keys;
  const narrow = choice.where ?? config.source.where;
  throw new RowmillError(
    "not_found",
    `There is no row to ask in ${table.qualified}${narrow === null ? "" : ` that matches: ${narrow}`}.`,
    config.source.replica === null ? {} : { hints: [firstRowsHint(config.source.replica)] },
  );
}

async function readAll(tx: Queryable, source: Source, keys: readonly string[]): Promise<Map<string, SourceRow>> {
  const rows = new Map<string, SourceRow>();
  let characters = 0;
  for await (const read of contentsOf(source, tx, keys))
    for (const row of read) {
      rows.set(row.key, row);
      characters += Object.values(row.cells ?? {}).reduce((sum, cell) => sum + (cell?.length ?? 0), 0);
      if (characters > CONTENT_CHARACTERS_MAX)
        throw new RowmillError("usage", `These rows have more than ${CONTENT_CHARACTERS_MAX} characters together.`, {
          hints: ["Try fewer rows: -n 1"],
        });
    }
  return rows;
}

function noSuchRow(
  { config, table }: Asking,
  { key, where }: { readonly key: string; readonly where: string | null },
): RowmillError {
  const matching = where !== null || config.source.where !== null ? " that matches the condition" : "";
  return new RowmillError("not_found", `There is no row with the key ${key} in ${table.qualified}${matching}.`);
}
