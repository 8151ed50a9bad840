/**
 * What the doctor finds about a table of MySQL or MariaDB: as a source, can it be read, and how fast? As a target, can
 * it take the answers? Writes nothing.
 */
import sql, { raw } from "sql-template-tag";
import type { ConnectorFinding, PrepareOptions } from "../../model/connector.js";
import type { Secret } from "../../model/secret.js";
import type { ReadTable } from "../reading/table-spec.js";
import { judgeSize, orFinding } from "../reading/findings.js";
import { requireAddress, type Address } from "./address.js";
import { isText } from "./column-text.js";
import { withSession, type Session } from "./connection.js";
import { isRefusedRight } from "./failure.js";
import { qualifiedName, quoteName } from "./inspection.js";
import { findingsOf } from "./plan-target.js";
import { readPages, shapeOf, type Shape } from "./read-pages.js";
import { lookAtTarget, type LookedAt, type Wanted } from "./target-writer.js";

/** Older ones lack `skip locked`, which keeps a write from waiting for others' rows. */
const VERSION_MIN = { mariadb: [10, 6], mysql: [8, 0] } as const;
const CLOCKS_APART_MS_MAX = 60_000;
/** Several times what one write holds. */
const PACKET_BYTES_MIN = 8 * 1024 * 1024;
type Findings = readonly ConnectorFinding[];

export async function diagnoseSource(table: ReadTable, signal: AbortSignal): Promise<Findings> {
  return orFinding(async () => {
    const address = requireAddress(table.url, table.table);
    const { server, shape } = await withSession(address, signal, async (session) => ({
      server: await judgeServer(session, address),
      shape: await shapeOf(session, table, address),
    }));
    const { qualified, rowsEstimated: rows } = shape.found;
    // Without the cursor, whose newest value takes a scan of the table where there is no index.
    const pages = readPages({ ...table, cursor: null }, { since: null, place: null, signal });
    const size = await judgeSize(qualified, pages, () => ({ rows, isExact: false }));
    return [server, size, ...judgeCursor(table, shape), ...judgeKey(shape)];
  });
}

export async function diagnoseTarget(url: Secret, wanted: Wanted, of: PrepareOptions): Promise<Findings> {
  return orFinding(async () => {
    const address = requireAddress(url.reveal(), wanted.table);
    return withSession(address, of.signal, async (session) => {
      const server = await judgeServer(session, address);
      const looked = await lookAtTarget(session, address, { wanted, of });
      return [
        server,
        ...findingsOf(looked.plan, looked.found?.qualified ?? wanted.table),
        ...(await judgeRights(session, address, looked)),
        ...judgeColumns(looked),
        ...(await judgePacket(session)),
      ];
    });
  });
}

async function judgeServer(session: Session, { place }: Address): Promise<ConnectorFinding> {
  const { version, isMariaDb } = session.server;
  const beforeMs = Date.now();
  const row = await session.first<{ ms: string }>(sql`select round(unix_timestamp(now(6)) * 1000) as ms`);
  const aheadMs = Number(row?.ms ?? 0) - (beforeMs + Date.now()) / 2;
  const name = isMariaDb ? "MariaDB" : "MySQL";
  const is = `${place} is ${name} ${version.replace(/-.*/, "")}`;
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  const [majorMin, minorMin] = isMariaDb ? VERSION_MIN.mariadb : VERSION_MIN.mysql;
  if (major < majorMin || (major === majorMin && minor < minorMin))
    return { level: "problem", text: `${is}. Rowmill needs ${name} ${majorMin}.${minorMin} or later.` };
  if (Math.abs(aheadMs) <= CLOCKS_APART_MS_MAX)
    return { level: "ok", text: `${is}, and its clock agrees with this machine's` };
  const way = aheadMs > 0 ? "ahead of" : "behind";
  return {
    level: "warning",
    text: `${is}. Its clock is ${Math.round(Math.abs(aheadMs) / 1_000)} s ${way} this machine's.`,
    fixes: ["Synchronize both with a time server. Otherwise changes may be read late, because the cursor holds times."],
  };
}

function judgeCursor(table: ReadTable, { found, cursor, key }: Shape): Findings {
  const { qualified, indexed } = found;
  if (cursor === null) return [{ level: "ok", text: `no cursor, so all rows of ${qualified} are read each time` }];
  const name = quoteName(cursor.name);
  const columns = [...new Set([cursor.name, ...key.map((one) => one.name)])].map(quoteName).join(", ");
  const findings: ConnectorFinding[] = [];
  if (!indexed.has(cursor.name))
    findings.push({
      level: "warning",
      text: `no index of ${qualified} begins with the cursor ${name}: each reading of changes scans the whole table.`,
      sql: [`alter table ${qualified} add index (${columns});`],
    });
  if (cursor.nullable)
    findings.push({
      level: "warning",
      text: `the cursor ${name} may be null: only full readings find changes of such rows.`,
    });
  if (cursor.type === "datetime" || cursor.type === "date")
    findings.push({
      level: "warning",
      text: `the cursor ${name} is a ${cursor.type}, which has no time zone: it must hold UTC.`,
      fixes: ["Otherwise make it a timestamp, or set overlap to more than the difference."],
    });
  return findings.length > 0
    ? findings
    : [{ level: "ok", text: `changes are found by ${name} (${cursor.declared}), by an index` }];
}

function judgeKey({ key, found }: Shape): Findings {
  const nullable = key.filter((column) => column.nullable).map(({ name }) => quoteName(name));
  if (nullable.length === 0) return [];
  const text = `${nullable.join(", ")} of ${found.qualified} may be null: such rows have no key and are not read.`;
  return [{ level: "warning", text }];
}

/** The server checks the rights before it looks for rows, of which these statements have none. */
async function judgeRights(session: Session, address: Address, { found, plan, content }: LookedAt): Promise<Findings> {
  const name = raw(qualifiedName(address));
  const [column] = plan.columns.map((one) => raw(quoteName(one.column.name)));
  const update = column === undefined ? [] : [sql`update ${name} set ${column} = ${column} where 1 = 0`];
  const insert =
    column === undefined ? [] : [sql`insert into ${name} (${column}) select null from ${name} where 1 = 0`];
  const rights = found === null ? "create" : content === null ? "select, insert, update" : "select, update";
  const probes =
    found === null ? [] : [sql`select 1 from ${name} where 1 = 0`, ...update, ...(content === null ? insert : [])];
  try {
    for (const probe of probes) await session.run(probe);
    if (found !== null || (await mayCreate(session, address))) return [];
  } catch (error) {
    if (!isRefusedRight(error)) throw error;
  }
  const user = await session.first<{ user: string }>(sql`select current_user() as user`);
  const doWhat = found === null ? "create" : "write to";
  const text = `the user ${user?.user ?? ""} may not ${doWhat} ${qualifiedName(address)}.`;
  const of = (user?.user ?? "")
    .split("@")
    .map((part) => `'${part}'`)
    .join("@");
  return [{ level: "problem", text, sql: [`grant ${rights} on ${qualifiedName(address)} to ${of};`] }];
}

async function mayCreate(session: Session, { database }: Address): Promise<boolean> {
  const row = await session.first(sql`
    select 1 as one
    from (
      select privilege_type as kind, null as place from information_schema.user_privileges
      union all
      select privilege_type, table_schema from information_schema.schema_privileges
      union all
      select privilege_type, table_schema from information_schema.table_privileges) rights
    where kind = 'CREATE' and (place is null or ${database} like place)
    limit 1`);
  return row !== null;
}

function judgeColumns({ plan, key }: LookedAt): Findings {
  const narrow = [...plan.columns.map(({ column }) => column), ...key].filter(
    (column) => isText(column) && column.charset !== "utf8mb4",
  );
  if (narrow.length === 0) return [];
  const names = narrow.map(({ name, charset }) => `${quoteName(name)} (${charset})`).join(", ");
  return [
    {
      level: "warning",
      text: `not every character fits into ${names}: an answer with an emoji may be refused.`,
      fixes: ["Convert the columns to utf8mb4."],
    },
  ];
}

async function judgePacket(session: Session): Promise<Findings> {
  const row = await session.first<{ bytes: string }>(sql`select @@max_allowed_packet as bytes`);
  if (Number(row?.bytes) >= PACKET_BYTES_MIN) return [];
  return [
    {
      level: "warning",
      text: `the server takes statements of ${Number(row?.bytes)} bytes at most; large answers may be more.`,
      fixes: [`Set max_allowed_packet to ${PACKET_BYTES_MIN} or more.`],
    },
  ];
}
