/**
 * The text of the function that a source table's triggers call, and nothing that runs it. Its owner may insert arrivals and do
 * nothing else; whoever writes to the table calls it with that owner's rights, inside of a transaction of theirs.
 *
 * So it never raises, runs no code of anybody's (casts, operators, functions outside of pg_catalog), and costs as little as can
 * be: bench/triggers.ts measures it.
 */
import { quoteIdentifier, quoteLiteral } from "../store/database.js";
import { isMeasured } from "./row-size.js";
import { KEY_BYTES_MAX } from "../store/arrivals.js";
import { ROW_BYTES_MAX } from "./source.js";
import type { SourceTable, TableColumn } from "./table-inspection.js";

/** Part of the signature: raise it when the trigger's text changes. */
export const TRIGGER_VERSION = 4;
/** Columns of a target list, and values of a row, with some room for what stands beside them; PostgreSQL has 1,664 at most. */
const CELLS_MAX = 1_600;
/** Keys in one row of arrivals; a larger statement appends several rows. */
const KEYS_PER_ARRIVAL = 5_000;
/** Keys that the function holds in memory at once, 1 kB each at most; of a larger statement it reads the rows twice. */
const KEYS_AT_ONCE = 50_000;

export interface TriggerOptions {
  readonly pipelineId: number;
  /** With a predicate any change of a row may matter: the whole row is compared, not only the declared columns. */
  readonly wholeRow: boolean;
}

/** In the schema rowmill. */
export function triggerFunctionName(pipelineId: number): string {
  return `arrive_${pipelineId}`;
}

/**
 * **A column that is gone, renamed or retyped** becomes a "sweep" mark, an arrival without keys. Gone or renamed, it makes an error where
 * plpgsql plans the statement that names it; at any call, also in a session that planned it before, since a table's change ends the
 * plans over its transition tables. Retyped, it makes null keys.
 *
 * **Reading stands in a block that catches, writing does not.** So the block's subtransaction takes no number, of which more than 64 in
 * one transaction would slow down the whole server. The block costs 2 µs a call; a look into pg_attribute before each reading, which
 * would need no block, 25 µs (both measured).
 *
 * **Only a statement of very many keys reads and writes at once,** in a block of its own: what it sorts may be more than the server's
 * settings allow, and one number for so many rows is nothing.
 */
export function triggerFunctionText(table: SourceTable, options: TriggerOptions): string {
  const { pipelineId } = options;
  const changed = changedKeys(table, options);
  return `create or replace function rowmill.${triggerFunctionName(pipelineId)}() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp${pinnedSettings(table.key)}
as ${quoteLiteral(`
declare found_keys text[];
begin
  if current_setting('rowmill.writing', true) = '${pipelineId}' then return null; end if;
  if tg_op = 'TRUNCATE' then
    insert into rowmill.arrivals (pipeline_id) values (${pipelineId});
    return null;
  end if;
  begin
    if tg_op = 'INSERT' then
      found_keys := array(${keysOf(table, "rowmill_new")} limit ${KEYS_AT_ONCE + 1});
    elsif tg_op = 'DELETE' then
      found_keys := array(${keysOf(table, "rowmill_old")} limit ${KEYS_AT_ONCE + 1});
    else
      found_keys := array(${changed} limit ${KEYS_AT_ONCE + 1});
    end if;
  exception when others then
    found_keys := array[null];
  end;
  if cardinality(found_keys) = 0 then
    return null;
  elsif found_keys[1] is null then
    insert into rowmill.arrivals (pipeline_id) values (${pipelineId});
  elsif cardinality(found_keys) <= ${KEYS_PER_ARRIVAL} then
    insert into rowmill.arrivals (pipeline_id, keys) values (${pipelineId}, found_keys);
  elsif cardinality(found_keys) <= ${KEYS_AT_ONCE} then
    insert into rowmill.arrivals (pipeline_id, keys)
    select ${pipelineId}, found_keys[i : i + ${KEYS_PER_ARRIVAL - 1}] from generate_series(1, cardinality(found_keys), ${KEYS_PER_ARRIVAL}) i;
  else
    begin
      if tg_op = 'INSERT' then
        ${appendMany(pipelineId, keysOf(table, "rowmill_new"))}
      elsif tg_op = 'DELETE' then
        ${appendMany(pipelineId, keysOf(table, "rowmill_old"))}
      else
        ${appendMany(pipelineId, changed)}
      end if;
    exception when others then
      insert into rowmill.arrivals (pipeline_id) values (${pipelineId});
    end;
  end if;
  return null;
end`)}`;
}

/** Of a key of such a type no setting shapes the text. */
const settledTypes = new Set([
  "smallint",
  "integer",
  "bigint",
  "oid",
  "uuid",
  "numeric",
  "text",
  "character varying",
]);
const shortTypes = new Set(["smallint", "integer", "bigint", "oid", "uuid"]);

/** As the source reads its keys. Each setting costs every call of the function, so only where the key needs it. */
function pinnedSettings(key: readonly TableColumn[]): string {
  return key.every((column) => settledTypes.has(column.type))
    ? ""
    : " set timezone = 'UTC' set datestyle = 'ISO, YMD'";
}

/**
 * A value's text by its type's output function, which for the types of keys is what their cast to text says. No cast stands in the
 * function: of a column that got somebody's own type since, it would run, or plan, its owner's code with our rights.
 */
function keyText(key: readonly TableColumn[]): string {
  const texts = key.map((column) => `concat(t.${quoteIdentifier(column.name)})`);
  return texts.length === 1 ? (texts[0] ?? "") : `json_build_array(${texts.join(", ")})::text`;
}

/** The row has a whole key, and one that is not too long. */
function usable(key: readonly TableColumn[]): string {
  const present = key.map((column) => `t.${quoteIdentifier(column.name)} is not null`);
  return [...present, ...(isShort(key) ? [] : [`octet_length(${keyText(key)}) <= ${KEY_BYTES_MAX}`])].join(
    " and ",
  );
}

function isShort(key: readonly TableColumn[]): boolean {
  return key.length === 1 && key.every((column) => shortTypes.has(column.type));
}

/** No row can be without a usable key. */
function isAlwaysUsable({ key, nullableKey }: SourceTable): boolean {
  return nullableKey.length === 0 && isShort(key);
}

/** Key and declared columns, each once. */
function namedColumns(table: SourceTable): readonly TableColumn[] {
  return [...new Map([...table.key, ...table.columns].map((column) => [column.name, column])).values()];
}

/** The keys of all rows, an empty one where no key names the row; nulls when a column has another type than it had. */
function keysOf(table: SourceTable, relation: string): string {
  const expected = namedColumns(table)
    .map((column) => `pg_typeof(t.${quoteIdentifier(column.name)}) = ${column.typeOid}::oid`)
    .join(" and ");
  const key = keyText(table.key);
  const told = isAlwaysUsable(table) ? key : `case when ${usable(table.key)} then ${key} else '' end`;
  return `select case when ${expected} then ${told} end from ${relation} t`;
}

/**
 * The keys that are on one side only, or whose columns differ in a byte: no type's own idea of equality is asked (json has none, some
 * collations a generous one), and no value is turned into text. Whether content as text is new is for the intake to find out. An empty
 * key, once, where there are rows that no key names.
 */
function changedKeys(table: SourceTable, options: TriggerOptions): string {
  const named = namedColumns(table);
  const wholeRow = options.wholeRow || named.flatMap((column) => cellNames(column, "")).length > CELLS_MAX;
  const alias = (column: TableColumn) => `c${named.findIndex((other) => other.name === column.name)}`;
  const cells = named.map((column) => cellOf(column, alias(column), wholeRow)).join(", ");
  const whole = wholeRow ? ", row(t.*) as whole" : "";
  const rows = (relation: string) =>
    `(select ${keyText(table.key)} collate "C" as key, ${cells}${whole} from ${relation} t where ${usable(table.key)})`;
  const compared = (side: string) =>
    wholeRow
      ? `${side}.whole`
      : `row(${table.columns.flatMap((column) => cellNames(column, `${side}.${alias(column)}`)).join(", ")})::record`;
  const expected = named
    .map((column) => `pg_typeof(n.${alias(column)}) = ${column.typeOid}::oid`)
    .join(" and ");
  return `select case when ${expected} then coalesce(n.key, o.key) end
      from ${rows("rowmill_new")} n full join ${rows("rowmill_old")} o on n.key = o.key
      where n.key is null or o.key is null or ${compared("n")} *<> ${compared("o")}${keyless(table)}`;
}

function keyless(table: SourceTable): string {
  if (isAlwaysUsable(table)) return "";
  const any = ["rowmill_new", "rowmill_old"].map(
    (relation) => `exists (select from ${relation} t where (${usable(table.key)}) is not true)`,
  );
  return `
      union all select '' where ${any.join(" or ")}`;
}

/** Values too large to be read are compared by their length alone, as everywhere: to read two of 600 MB costs a write seconds. */
function cellOf(column: TableColumn, alias: string, wholeRow: boolean): string {
  const value = `t.${quoteIdentifier(column.name)}`;
  if (wholeRow || !hasLength(column)) return `${value} as ${alias}`;
  return `case when octet_length(${value}) <= ${ROW_BYTES_MAX} then ${value} end as ${alias}, octet_length(${value}) as ${alias}_bytes`;
}

function cellNames(column: TableColumn, alias: string): string[] {
  return hasLength(column) ? [alias, `${alias}_bytes`] : [alias];
}

/** Without domains: of a CASE over one comes its base type, and the column would look retyped. */
function hasLength(column: TableColumn): boolean {
  return isMeasured(column) && column.typeOid < 16_384;
}

function appendMany(pipelineId: number, keys: string): string {
  return `insert into rowmill.arrivals (pipeline_id, keys)
    select ${pipelineId}, array_agg(k.key) from (
      select n.key, (row_number() over () - 1) / ${KEYS_PER_ARRIVAL} as part from (${keys}) n (key)) k group by k.part;`;
}
