/**
 * Puts one row's story together: its cells now, its request, every attempt, the events of its batches, and the result.
 * A table that cannot be read leaves the reason in its place.
 */
import { compileAnswer } from "../../model/answer/answer.js";
import { RowmillError } from "../../model/errors.js";
import type { Json, PipelineConfig, RowCells } from "../../model/pipeline.js";
import { shownJson } from "../../sources/table/shown-cells.js";
import { readColumns } from "../../sources/table/columns.js";
import { inspectTable, type SourceTable } from "../../sources/table/inspection.js";
import { createTableSource } from "../../sources/table/table-source.js";
import { identifier, join, raw, sql, type Database, type Queryable } from "../../postgres/database.js";
import { STAMP_COLUMNS } from "../../targets/table/statements.js";
import { lockForReading } from "../../targets/table/read-answers.js";
import { keyParts, spellKey } from "./row-key.js";
import * as deliverers from "../../store/deliveries/deliverers.js";
import type { RowDelivery } from "../../store/deliveries/deliverers.js";
import * as overview from "../../store/ledger/overview.js";
import type { AttemptStory, BatchEventStory, RequestStory } from "../../store/ledger/overview.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import * as tries from "../../store/tries/tries.js";
import type { RowTry } from "../../store/tries/tries.js";

const TRIES_MAX = 20;

/** The row as it is now. */
export type RowNow =
  | { readonly state: "present"; readonly cells: RowCells; readonly matchesWhere: boolean }
  | { readonly state: "absent" }
  | { readonly state: "unknown"; readonly reason: string };

export type ResultNow =
  | { readonly state: "present"; readonly cells: Readonly<Record<string, Json>> }
  | { readonly state: "absent" }
  | { readonly state: "unknown"; readonly reason: string };

/** The shape of `show --json`, but for the money of tries. */
export interface RowStory {
  readonly pipeline: string;
  /** As the ledger spells it: composite keys as a JSON array. */
  readonly key: string;
  readonly row: RowNow;
  readonly request: RequestStory | null;
  /** Why there can be no request; null where there is or may be one. */
  readonly refused: string | null;
  readonly attempts: readonly AttemptStory[];
  readonly events: readonly BatchEventStory[];
  /** Live questions about this row, the newest first, and how many older ones there are. */
  readonly tries: readonly RowTry[];
  readonly triesMore: number;
  readonly result: ResultNow;
  /** Of its answer, to a target elsewhere. */
  readonly delivery: RowDelivery | null;
}

export async function readRowStory(
  database: Database,
  pipeline: PipelineRow,
  wanted: { config: PipelineConfig | undefined; key: readonly string[] },
): Promise<RowStory> {
  const { config } = wanted;
  const table = await lookAtTable(database, config);
  const parts = keyParts(wanted.key, table.seen?.key.length ?? config?.source.key.length ?? null);
  return database.transaction(async (tx) => {
    const key = await spellKey(tx, table.seen, parts);
    const request = await overview.requestStory(tx, pipeline.id, key);
    const attempts = request === null ? [] : await overview.attemptStories(tx, request.id);
    const batches = [...new Set(attempts.map((attempt) => attempt.batchId))];
    const tried = await tries.triesOfRow(tx, { pipeline: pipeline.name, key, max: TRIES_MAX });
    const reachable = table.seen !== null && config !== undefined;
    return {
      pipeline: pipeline.name,
      key,
      row: reachable
        ? await readRow(tx, { table: table.seen, config, pipelineId: pipeline.id, key })
        : { state: "unknown", reason: table.reason },
      request,
      refused: request === null ? await overview.refusedKeyReason(tx, pipeline.id, key) : null,
      attempts,
      events: await overview.batchEventStories(tx, batches),
      tries: tried.tries,
      triesMore: tried.more,
      result: reachable
        ? await readResult(tx, { table: table.seen, config, parts })
        : { state: "unknown", reason: table.reason },
      delivery: await deliverers.rowDelivery(tx, pipeline.id, key),
    };
  });
}

async function lookAtTable(
  database: Database,
  config: PipelineConfig | undefined,
): Promise<{ seen: SourceTable; reason: string } | { seen: null; reason: string }> {
  if (config === undefined) return { seen: null, reason: "The pipeline is no longer in the config." };
  const seen = await inspectTable(database, config.source).catch(reasonOfUnsupported);
  return "reason" in seen ? { seen: null, reason: seen.reason } : { seen, reason: "" };
}

/** A table that does not fit the config is part of the story. */
function reasonOfUnsupported(error: unknown): { reason: string } {
  const isTable = error instanceof RowmillError && /^(?:source|target)_unsupported$/.test(error.code);
  if (isTable) return { reason: error.message };
  throw error;
}

async function readRow(
  tx: Queryable,
  wanted: { table: SourceTable; config: PipelineConfig; pipelineId: number; key: string },
): Promise<RowNow> {
  const { table, config, pipelineId, key } = wanted;
  const read = async (where: string | null) => {
    return createTableSource(table, { pipelineId, where, skipBefore: null }).readShown(tx, key);
  };
  const matching = await read(config.source.where);
  if (matching !== null) return { state: "present", cells: matching, matchesWhere: true };
  const leftOut = config.source.where === null ? null : await read(null);
  return leftOut === null ? { state: "absent" } : { state: "present", cells: leftOut, matchesWhere: false };
}

/** Only the columns that this pipeline writes: the table may be your own. */
export async function readResult(
  tx: Queryable,
  wanted: { table: SourceTable; config: PipelineConfig; parts: readonly string[] },
): Promise<ResultNow> {
  const { table, config, parts } = wanted;
  const relation = await lockForReading(tx, { ...config.target, source: table }).catch(reasonOfUnsupported);
  if ("reason" in relation) return { state: "unknown", reason: relation.reason };
  const written = compileAnswer(config.answer).columns.map(
    (column) => config.target.columns?.[column.field] ?? column.field,
  );
  const where = join(
    table.key.map(
      (column, index) => sql`t.${identifier(column.name)} = ${parts[index] ?? ""}::text::${raw(column.type)}`,
    ),
    " and ",
  );
  const columns = await readColumns(tx, relation.oid, [...written, ...STAMP_COLUMNS.map(({ name }) => name)]);
  const cellsNow = join(columns.map((column) => shownJson("t", column)));
  const row = await tx.first<{ cells: Json[] }>(sql`
    select pg_catalog.json_build_array(variadic array[${cellsNow}]::pg_catalog.json[]) as cells
    from ${raw(relation.from)} t
    where ${where}`);
  if (row === null) return { state: "absent" };
  const cells = Object.fromEntries(columns.map((column, index) => [column.name, row.cells[index] ?? null]));
  const empty = Object.values(cells).every((value) => value === null);
  return empty ? { state: "absent" } : { state: "present", cells };
}
