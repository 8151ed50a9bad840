/**
 * The text of the function that a source table's triggers call, and nothing that runs it. It runs inside the
 * transactions of your writers, with the rights of its owner, who may only insert arrivals. So it never raises, runs no
 * code of other roles (casts, operators, functions outside of pg_catalog), and costs as little as can be:
 * bench/triggers.ts measures it.
 */
import { quoteIdentifier, quoteLiteral } from "../../postgres/database.js";
import { isMeasured } from "./row-size.js";
import * as arrivals from "../../store/requests/arrivals.js";
import { ROW_BYTES_MAX } from "../source.js";
import type { SourceTable, TableColumn } from "./inspection.js";

/** Part of the signature: raise it when the trigger's text changes. */
export const TRIGGER_VERSION = 5;
/** Values of a row; PostgreSQL has 1,664 at most, and some are for the key. */
const CELLS_MAX = 1_600;
/** Types below it are PostgreSQL's own. */
const FIRST_OWN_OID = 16_384;
/** Keys in one row of arrivals, and keys that the function holds in memory; a larger statement appends several rows. */
const KEYS_PER_ARRIVAL = 5_000;

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
 * **A column that is gone, renamed or retyped** becomes a "sweep" mark, an arrival without keys. Gone or renamed, it
 * makes an error where plpgsql plans the statement that names it, at any call: a table's change ends the plans over its
 * transition tables. Retyped, it makes null keys. Statements with operators (`changedKeys`) are planned only once the
 * types are as expected: for another role's type PostgreSQL may run a cast.
 *
 * **Every row is read once, and no array holds more than one arrival's keys.** A query is faster than a loop, so INSERT
 * and DELETE take the first keys by a query and the rest by a loop. An UPDATE would compare its rows twice, so it
 * counts them first.
 *
 * **Reading stands in a block that catches, writing does not**, so the block's subtransaction takes no number: more
 * than 64 in one transaction would slow down the whole server. The block costs 0.5 µs a call; a look into pg_attribute
 * instead, 25 µs (both measured). Only the loop reads and writes in one block: a join may need more than the server's
 * settings allow, and one number for that many rows is nothing.
 */
export function triggerFunctionText(table: SourceTable, options: TriggerOptions): string {
  const { pipelineId } = options;
  const { written, replaced, append } = partsOf(table, options);
  const few = `limit ${KEYS_PER_ARRIVAL + 1}`;
  const name = `rowmill.${triggerFunctionName(pipelineId)}`;
  return `create or replace function ${name}() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp${pinnedSettings(table.key)}
as ${quoteLiteral(`
declare
  found_keys text[];
  one_key text;
  as_expected boolean;
  is_large boolean;
begin
  if current_setting('rowmill.writing', true) = '${pipelineId}' then return null; end if;
  if tg_op = 'TRUNCATE' then
    ${append("null")}
    return null;
  end if;
  begin
    if tg_op = 'INSERT' then
      found_keys := array(${written} ${few});
    elsif tg_op = 'DELETE' then
      found_keys := array(${replaced} ${few});
    else
      select ${hasTypes(table)}, exists (select from rowmill_new offset ${KEYS_PER_ARRIVAL})
        into as_expected, is_large from rowmill_new t limit 1;
      if as_expected is null then
        found_keys := array(${replaced} ${few});
      elsif not as_expected then
        found_keys := array[null];
      elsif not is_large then
        found_keys := array(${changedKeys(table, options, "few")} ${few});
      end if;
    end if;
  exception when others then
    found_keys := array[null];
  end;
  if cardinality(found_keys) = 0 then
    return null;
  elsif found_keys[1] is null and found_keys is not null then
    ${append("null")}
  elsif cardinality(found_keys) <= ${KEYS_PER_ARRIVAL} then
    ${append("found_keys")}
  else
    ${appendMany(table, options)}
  end if;
  return null;
end`)}`;
}

interface Parts {
  readonly written: string;
  readonly replaced: string;
  readonly append: (keys: string) => string;
}

function partsOf(table: SourceTable, { pipelineId }: TriggerOptions): Parts {
  return {
    written: keysOf(table, "rowmill_new"),
    replaced: keysOf(table, "rowmill_old"),
    append: (keys) => `insert into rowmill.arrivals (pipeline_id, keys) values (${pipelineId}, ${keys});`,
  };
}

/** Of INSERT and DELETE the first keys were found; of an UPDATE none. */
function appendMany(table: SourceTable, options: TriggerOptions): string {
  const { written, replaced, append } = partsOf(table, options);
  const appendEach = (keys: string) => `found_keys := '{}';
        for one_key in ${keys} loop
          found_keys := found_keys || one_key;
          if cardinality(found_keys) = ${KEYS_PER_ARRIVAL} then
            ${append("found_keys")}
            found_keys := '{}';
          end if;
        end loop;`;
  const appendAll = (keys: string) => `${append(`found_keys[:${KEYS_PER_ARRIVAL}]`)}
        ${appendEach(`${keys} offset ${KEYS_PER_ARRIVAL}`)}`;
  return `begin
      if tg_op = 'INSERT' then
        ${appendAll(written)}
      elsif tg_op = 'DELETE' then
        ${appendAll(replaced)}
      else
        ${appendEach(changedKeys(table, options, "many"))}
      end if;
      if cardinality(found_keys) > 0 then
        ${append("found_keys")}
      end if;
    exception when others then
      ${append("null")}
    end;`;
}

/** Of a key of such a type no setting shapes the text. */
const SETTLED_TYPES = new Set(["smallint", "integer", "bigint", "oid", "uuid", "numeric", "text", "character varying"]);
const TEXT_TYPES = new Set(["text", "character varying"]);
const SHORT_TYPES = new Set(["smallint", "integer", "bigint", "oid", "uuid"]);

/** As the source reads its keys. Each setting costs every call of the function, so only where the key needs it. */
function pinnedSettings(key: readonly TableColumn[]): string {
  return key.every((column) => SETTLED_TYPES.has(column.type))
    ? ""
    : " set timezone = 'UTC' set datestyle = 'ISO, YMD'";
}

/**
 * A value's text by its type's output function, which for keys equals their cast to text. No cast stands in the
 * function: for a column that has another role's type by now, it would run that role's code with our rights.
 */
function keyText(parts: readonly string[]): string {
  const texts = parts.map((part) => `concat(${part})`);
  return texts.length === 1 ? (texts[0] ?? "") : `json_build_array(${texts.join(", ")})::text`;
}

function allPresent(parts: readonly string[]): string {
  return parts.map((part) => `${part} is not null`).join(" and ");
}

function cell(column: TableColumn): string {
  return `t.${quoteIdentifier(column.name)}`;
}

/** Every row has a key, and one that is short. */
function isAlwaysUsable({ key, nullableKey }: SourceTable): boolean {
  return nullableKey.length === 0 && key.length === 1 && key.every((column) => SHORT_TYPES.has(column.type));
}

/** Key and declared columns, each once. */
function namedColumns(table: SourceTable): readonly TableColumn[] {
  return [...new Map([...table.key, ...table.columns].map((column) => [column.name, column])).values()];
}

function hasTypes(table: SourceTable): string {
  return namedColumns(table)
    .map((column) => `pg_typeof(${cell(column)}) = ${column.typeOid}::oid`)
    .join(" and ");
}

/** The keys of all rows, an empty one where no key names the row; nulls when a column has another type than it had. */
function keysOf(table: SourceTable, relation: string): string {
  const parts = table.key.map((column) => cell(column));
  const key = keyText(parts);
  if (isAlwaysUsable(table)) return `select case when ${hasTypes(table)} then ${key} end from ${relation} t`;
  const told = `case when ${hasTypes(table)} then case when ${allPresent(parts)} then ${key} else '' end end`;
  return (
    `select case when octet_length(k.key) > ${arrivals.KEY_BYTES_MAX} then '' else k.key end from (select ` +
    `${told} as key from ${relation} t offset 0) k`
  );
}

/**
 * The keys that are on one side only, or whose columns differ in a byte: no type's own idea of equality is asked (json
 * has none, some collations a generous one), and no value is turned into text. Whether content as text is new is for
 * the intake to find out. Empty keys where no key names the row.
 *
 * Of many rows texts are compared by a hash, because a join of them as they are writes them to the disk: that took 1.8
 * times the user's own statement instead of 1.6. For one row it costs 4 µs more.
 */
function changedKeys(table: SourceTable, { wholeRow }: TriggerOptions, rowsAre: "few" | "many"): string {
  const isHashed = (column: TableColumn) => rowsAre === "many" && hasLength(column) && TEXT_TYPES.has(column.type);
  const cells = table.columns.map((column) => (isHashed(column) ? hashOf(column) : cell(column)));
  const isWhole = wholeRow || cells.length > CELLS_MAX;
  const selected = [
    ...table.key.map((column, index) => `${cell(column)} as k${index}`),
    ...(isWhole ? ["row(t.*) as whole"] : cells.map((value, index) => `${value} as c${index}`)),
  ].join(", ");
  const differs = isWhole
    ? "n.whole *<> o.whole"
    : unlike(table.columns.map((column) => hasLength(column) && !isHashed(column)));
  const sameKey = table.key.map(({ type }, index) => `${exact(`n.k${index}`, type)} = ${exact(`o.k${index}`, type)}`);
  return `select ${changedKey(table)}
        from (select ${selected} from rowmill_new t) n
          full join (select ${selected} from rowmill_old t) o on ${sameKey.join(" and ")}
        where n.k0 is null or o.k0 is null or ${differs}`;
}

/** Of values that are too large to read, lengths are compared: to read two of 600 MB costs a write seconds. */
function unlike(measured: readonly boolean[]): string {
  const names = (side: string) => measured.map((_, index) => `${side}.c${index}`);
  const lengths = (side: string) =>
    names(side).map((name, index) => (measured[index] ? `octet_length(${name})` : name));
  const compared = (values: (side: string) => string[]) =>
    `row(${values("n").join(", ")})::record *<> row(${values("o").join(", ")})::record`;
  const sizes = [...lengths("n"), ...lengths("o")].filter((_, index) => measured[index % measured.length]);
  if (sizes.length === 0) return compared(names);
  return (
    `case when greatest(${sizes.join(", ")}) <= ${ROW_BYTES_MAX} then ${compared(names)} else ` +
    `${compared(lengths)} end`
  );
}

function hashOf(column: TableColumn): string {
  const [value, length] = [cell(column), `octet_length(${cell(column)})`];
  return `case when ${length} <= ${ROW_BYTES_MAX} then hashtextextended(${value} collate "C", 0) else ${length} end`;
}

/** From whichever side has one. */
function changedKey(table: SourceTable): string {
  if (isAlwaysUsable(table)) return "concat(coalesce(n.k0, o.k0))";
  const told = ["n", "o"].map((side) => {
    const parts = table.key.map((_, index) => `${side}.k${index}`);
    const key = keyText(parts);
    return `case when ${allPresent(parts)} and octet_length(${key}) <= ${arrivals.KEY_BYTES_MAX} then ${key} end`;
  });
  return `coalesce(${told.join(", ")}, '')`;
}

/** Equal only where the texts of two keys are. */
function exact(part: string, type: string): string {
  if (type === "numeric") return `nullif(concat(${part}) collate "C", '')`;
  return TEXT_TYPES.has(type) ? `${part} collate "C"` : part;
}

/** Without domains, whose functions may be another role's. */
function hasLength(column: TableColumn): boolean {
  return isMeasured(column) && column.typeOid < FIRST_OWN_OID;
}
