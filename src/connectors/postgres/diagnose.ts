/**
 * What the doctor finds about a table of another PostgreSQL: as a source, can it be read, and how fast? As a target,
 * can it take the answers? Writes nothing.
 */
import { ConnectorError, type ConnectorFinding } from "../../model/connector.js";
import type { Secret } from "../../model/secret.js";
import { counted } from "../../model/words/counted.js";
import { quoteIdentifier, sql, type Database, type Queryable, type Reader } from "../../postgres/database.js";
import { hiddenRows } from "../../postgres/row-security.js";
import { inspectTable, relationNamed, type SourceTable } from "../../sources/table/inspection.js";
import { targetFaults } from "../../targets/table/diagnose.js";
import { examineTarget, type TargetPlan } from "../../targets/table/ensure.js";
import { judgeSize, orFinding, type RowCount } from "../reading/findings.js";
import { readPages, requireCursor, shapeOf } from "./read-pages.js";
import { openServer } from "./server.js";
import type { ReadTable } from "../reading/table-spec.js";
import { wantedTable, type Preparing } from "./target-writer.js";

/** Those that Rowmill is tested with. */
const VERSION_MIN = 140_000;
/** Less does no harm: what has to be exact goes by the clock there alone. */
const CLOCKS_APART_MS_MAX = 60_000;

export async function diagnoseSource(table: ReadTable, signal: AbortSignal): Promise<readonly ConnectorFinding[]> {
  return orFinding(async () => {
    const server = openServer(table.url, table.table, { poolMax: 1, signal });
    try {
      const findings = [await diagnoseServer(server.database, server.place)];
      return [...findings, ...(await diagnoseTable(server.database, table, signal))];
    } catch (error) {
      throw server.explain(error);
    } finally {
      await server.database.close();
    }
  });
}

async function diagnoseTable(
  database: Database,
  table: ReadTable,
  signal: AbortSignal,
): Promise<readonly ConnectorFinding[]> {
  const found = await database.transaction((tx) => inspectTable(tx, shapeOf(table)), { readOnly: true });
  const rights = await database.transaction((tx) => judgeRights(tx, found), { readOnly: true });
  if (rights.length > 0) return rights;
  const cursor = await database.transaction((tx) => judgeCursor(tx, table, found), { readOnly: true });
  // Without the cursor, whose newest value takes a scan of the table where there is no index.
  const pages = readPages({ ...table, cursor: null }, { since: null, place: null, signal });
  return [await judgeSize(found.qualified, pages, () => estimateRows(database, found)), ...cursor];
}

async function judgeRights(
  client: Reader,
  { oid, schema, qualified, key, columns }: SourceTable,
): Promise<readonly ConnectorFinding[]> {
  const names = [...new Set([...key, ...columns].map(({ name }) => name))];
  const row = await client.first<{ user: string; usage: boolean; thinned: boolean; lacking: string[] }>(sql`
    select current_user::text as user,
      has_schema_privilege(c.relnamespace, 'USAGE') as usage,
      row_security_active(c.oid) as thinned,
      array(
        select a.attname::text
        from pg_catalog.pg_attribute a
        where a.attrelid = c.oid
          and a.attname = any(${names}::text[])
          and not has_column_privilege(c.oid, a.attnum, 'SELECT')
        order by a.attnum) as lacking
    from pg_catalog.pg_class c
    where c.oid = ${oid}::oid`);
  if (row === null) throw new ConnectorError("again", `${qualified} was dropped during the check.`);
  const { user, usage, thinned, lacking } = row;
  const me = quoteIdentifier(user);
  const grants = [
    ...(usage ? [] : [`grant usage on schema ${quoteIdentifier(schema)} to ${me};`]),
    ...(lacking.length === 0
      ? []
      : [`grant select (${lacking.map(quoteIdentifier).join(", ")}) on ${qualified} to ${me};`]),
  ];
  const of = lacking.length === 0 || lacking.length === names.length ? "" : `${lacking.join(", ")} of `;
  const { text, fixes, sql: exemption } = hiddenRows(qualified, user);
  return [
    ...(grants.length === 0
      ? []
      : [{ level: "problem" as const, text: `the user "${user}" may not read ${of}${qualified}.`, sql: grants }]),
    ...(thinned ? [{ level: "problem" as const, text, fixes, sql: exemption }] : []),
  ];
}

async function judgeCursor(tx: Queryable, table: ReadTable, found: SourceTable): Promise<readonly ConnectorFinding[]> {
  const { qualified, oid, key } = found;
  if (table.cursor === null)
    return [{ level: "ok", text: `no cursor, so all rows of ${qualified} are read each time` }];
  const { name, type } = requireCursor(found, table);
  const quoted = quoteIdentifier(name);
  const row = await tx.first<{ indexed: boolean; notNull: boolean }>(sql`
    select a.attnotnull as "notNull", exists (
        select 1
        from pg_catalog.pg_index i
        join pg_catalog.pg_class c on c.oid = i.indexrelid
        join pg_catalog.pg_am m on m.oid = c.relam and m.amname = 'btree'
        where i.indrelid = a.attrelid and i.indisvalid and i.indpred is null and i.indkey[0] = a.attnum) as indexed
    from pg_catalog.pg_attribute a
    where a.attrelid = ${oid}::oid and a.attname = ${name}`);
  const columns = [...new Set([name, ...key.map((column) => column.name)])].map(quoteIdentifier).join(", ");
  const findings: ConnectorFinding[] = [];
  if (row?.indexed !== true)
    findings.push({
      level: "warning",
      text: `no index of ${qualified} begins with the cursor ${quoted}: each reading of changes scans the whole table.`,
      sql: [`create index concurrently on ${qualified} (${columns});`],
    });
  if (row?.notNull !== true)
    findings.push({
      level: "warning",
      text: `the cursor ${quoted} may be null: only full readings find changes of such rows.`,
      sql: [`alter table ${qualified} alter column ${quoted} set not null;`],
    });
  if (type === "timestamp without time zone")
    findings.push({
      level: "warning",
      text: `the cursor ${quoted} is a timestamp without time zone: it must hold UTC.`,
      fixes: ["Otherwise make it a timestamptz, or set overlap to more than the difference."],
    });
  return findings.length > 0
    ? findings
    : [{ level: "ok", text: `changes are found by ${quoted} (${type}), by an index` }];
}

async function estimateRows(database: Database, { relations }: SourceTable): Promise<RowCount> {
  const rows = await database.number(sql`
    select coalesce(sum(greatest(c.reltuples, 0)), 0)::float8
    from pg_catalog.pg_class c
    where c.oid = any(${relations.map(({ oid }) => oid)}::oid[])`);
  return { rows, isExact: false };
}

/** `place`: where it is. @throws DatabaseError where it cannot be reached */
async function diagnoseServer(database: Database, place: string): Promise<ConnectorFinding> {
  const beforeMs = Date.now();
  const row = await database.first<{ number: number; version: string; ms: number }>(sql`
    select current_setting('server_version_num')::int as number, current_setting('server_version') as version,
      extract(epoch from clock_timestamp())::float8 * 1000 as ms`);
  const { number, version, ms } = row ?? { number: 0, version: "unknown", ms: beforeMs };
  const is = `${place} is PostgreSQL ${version}`;
  if (number < VERSION_MIN)
    return {
      level: "warning",
      text: `${is}, which Rowmill is not tested with.`,
      fixes: [`It is tested with PostgreSQL ${VERSION_MIN / 10_000} and later.`],
    };
  const aheadMs = ms - Date.now();
  // The answer came between the two moments.
  if (ms >= beforeMs - CLOCKS_APART_MS_MAX && aheadMs <= CLOCKS_APART_MS_MAX)
    return { level: "ok", text: `${is}, and its clock agrees with this machine's` };
  const way = aheadMs > 0 ? "ahead of" : "behind";
  return {
    level: "warning",
    text: `${is}. Its clock is ${Math.round(Math.abs(aheadMs) / 1_000)} s ${way} this machine's.`,
    fixes: ["Synchronize both with a time server. Otherwise changes may be read late, because the cursor holds times."],
  };
}

export async function diagnoseTarget(
  url: Secret,
  preparing: Preparing,
  signal: AbortSignal,
): Promise<readonly ConnectorFinding[]> {
  return orFinding(async () => {
    const server = openServer(url.reveal(), preparing.wanted.table, { poolMax: 1, signal });
    const { database, place } = server;
    try {
      const findings = [await diagnoseServer(database, place)];
      const plan = await examineTarget(database, await wantedTable(database, preparing));
      const faults = await database.transaction((tx) => targetFaults(tx, preparing.wanted.table, plan), {
        readOnly: true,
      });
      if (faults.length > 0) return [...findings, ...faults];
      const triggers = await database.transaction((tx) => judgeTriggers(tx, plan), { readOnly: true });
      return [...findings, judgePlan(plan), ...triggers];
    } catch (error) {
      throw server.explain(error);
    } finally {
      await database.close();
    }
  });
}

function judgePlan({ exists, qualified, statements }: TargetPlan): ConnectorFinding {
  if (!exists) return { level: "ok", text: `rowmill up creates ${qualified}` };
  const can = `answers can be written into ${qualified}`;
  if (statements.length === 0) return { level: "ok", text: can };
  return { level: "ok", text: `${can}; rowmill up changes it first: ${statements.join("; ")}` };
}

/** They run for each answer, and may refuse one. */
async function judgeTriggers(client: Reader, { exists, qualified }: TargetPlan): Promise<readonly ConnectorFinding[]> {
  const relation = exists ? await relationNamed(client, qualified) : null;
  if (relation === null) return [];
  const count = await client.number(sql`
    select count(*)::float8
    from pg_catalog.pg_trigger
    where tgrelid = ${relation.oid}::oid and not tgisinternal and tgenabled in ('O', 'A')`);
  return count === 0
    ? []
    : [{ level: "ok", text: `${counted(count, "trigger")} of ${qualified} may run for each answer` }];
}
