/** The database as such: reachable, new enough, UTF8; what lies between it and us; its clock. */
import type { ConnectionFacts } from "../../postgres/failure.js";
import { notChecked, ok, problem, warning, type Finding } from "../../model/words/finding.js";
import { schemasOnPath } from "../../sources/table/inspection.js";
import { quoteIdentifier, sql } from "../../postgres/database.js";
import * as migrations from "../../store/ledger/migrations.js";
import { hasDatabase, openProjectDatabase } from "../open/open-database.js";
import { judgeDatabaseRights, readDatabaseRights } from "./database-rights.js";
import { factsOf, findingOf, known, readOnly, type Check, type Look } from "./look.js";
import { judgeClock } from "./machine-checks.js";

const CONNECT_MS_MAX = 7_000;
const QUERY_MS_MAX = 7_000;
/** Supabase's transaction pooler. */
const TRANSACTION_POOLER_PORT = 6543;

const CONNECTED = { group: "Database", needs: ["connection"], otherwise: "" } as const;

export const DATABASE_CHECKS: readonly Check[] = [
  {
    ...CONNECTED,
    id: "connection",
    title: "Connection",
    needs: ["config", "variables"],
    otherwise: "the database cannot be reached",
    run: connect,
  },
  { ...CONNECTED, id: "version", title: "Version", otherwise: "the database is too old", run: checkVersion },
  {
    ...CONNECTED,
    id: "encoding",
    title: "Encoding",
    otherwise: "the database's encoding is not UTF8",
    run: checkEncoding,
  },
  { ...CONNECTED, id: "pooler", title: "Pooler", run: checkPooler },
  { ...CONNECTED, id: "tls", title: "TLS", run: checkTls },
  { ...CONNECTED, id: "search-path", title: "Search path", run: checkSearchPath },
  { ...CONNECTED, id: "database-clock", title: "Clock", run: compareClocks },
  { ...CONNECTED, id: "rights", title: "Rights", needs: ["version", "encoding"], run: checkRights },
];

async function connect(look: Look): Promise<readonly Finding[]> {
  const config = known(look.config, "a config");
  if (!(await hasDatabase(config)))
    return [notChecked("the embedded database does not exist yet; rowmill up creates it")];
  try {
    look.opened = await openProjectDatabase(config, known(look.environment, "variables"), {
      poolMax: 2,
      connectTimeoutMs: CONNECT_MS_MAX,
      queryTimeoutMs: QUERY_MS_MAX,
    });
  } catch (error) {
    return [findingOf(error)];
  }
  return [ok(`connected to ${look.opened.place}`)];
}

async function checkVersion(look: Look): Promise<readonly Finding[]> {
  const row = await readOnly(look, (tx) =>
    tx.first<{ number: number; name: string }>(
      sql`
        select current_setting('server_version_num')::int as number, current_setting('server_version') as name`,
    ),
  );
  return [judgeVersion(row?.number ?? 0, row?.name ?? "unknown")];
}

export function judgeVersion(number: number, name: string): Finding {
  if (number >= migrations.POSTGRES_VERSION_MIN) return ok(`PostgreSQL ${name}`);
  return problem(`PostgreSQL ${name} is too old.`, {
    fixes: [`Rowmill needs PostgreSQL ${migrations.POSTGRES_VERSION_MIN / 10_000} or later: upgrade the server.`],
  });
}

async function checkEncoding(look: Look): Promise<readonly Finding[]> {
  const row = await readOnly(look, (tx) =>
    tx.first<{ encoding: string }>(sql`select current_setting('server_encoding') as encoding`),
  );
  return [judgeEncoding(row?.encoding ?? "unknown")];
}

export function judgeEncoding(encoding: string): Finding {
  if (encoding === "UTF8") return ok(encoding);
  return problem(`The database's encoding is ${encoding}; Rowmill needs UTF8.`, {
    fixes: [
      "A database keeps its encoding, so create another one and move the data with pg_dump: create database " +
        "app_utf8 encoding 'UTF8' template template0;",
    ],
  });
}

interface OpenSchema {
  readonly schema: string;
  /** As GRANT and REVOKE take it: `public`, or a quoted role. */
  readonly grantee: string;
  /** It is its own schema, and no REVOKE keeps it out. */
  readonly owns: boolean;
}

/** Without superusers, from whom nothing can be kept. */
async function checkSearchPath(look: Look): Promise<readonly Finding[]> {
  const open = await readOnly(look, async (tx) => {
    const path = await schemasOnPath(tx);
    return tx.rows<OpenSchema>(sql`
      select n.nspname as schema,
        case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end as grantee,
        false as owns
      from pg_catalog.pg_namespace n
      cross join lateral aclexplode(n.nspacl) a
      left join pg_catalog.pg_roles r on r.oid = a.grantee
      where n.nspname = any(${path}::text[])
        and a.privilege_type = 'CREATE'
        and a.grantee <> n.nspowner
        and (a.grantee = 0 or (not r.rolsuper and r.rolname <> current_user))
      union all
      select n.nspname, quote_ident(r.rolname), true
      from pg_catalog.pg_namespace n
      join pg_catalog.pg_roles r on r.oid = n.nspowner
      where n.nspname = any(${path}::text[])
        and not r.rolsuper
        and r.rolname <> all(array[current_user::text, 'pg_database_owner'])
      order by 1, 2`);
  });
  return judgeSearchPath(open);
}

export function judgeSearchPath(open: readonly OpenSchema[]): readonly Finding[] {
  if (open.length === 0) return [ok("no other role may create objects in its schemas")];
  return open.map(({ schema, grantee, owns }) => {
    const who = grantee === "public" ? "Every role" : `The role ${grantee}`;
    return warning(
      `${who} may create objects in the schema "${schema}", which is on the search path of Rowmill's user. ` +
        `Rowmill's own statements ignore that path, but your triggers and \`where\` may find another role's ` +
        "objects there.",
      owns
        ? { fixes: [`If you do not trust ${grantee}, who owns the schema, remove it from that search path.`] }
        : { sql: [`revoke create on schema ${quoteIdentifier(schema)} from ${grantee};`] },
    );
  });
}

/** PostgreSQL sends each client its process id at the login. A pooler speaks for many and sends another number. */
async function checkPooler(look: Look): Promise<readonly Finding[]> {
  const facts = factsOf(look);
  if (facts === null) return [ok("none: the embedded database")];
  const client = await known(look.opened, "a database").database.pool.connect();
  try {
    const { rows } = await client.query<{ pid: number }>("select pg_catalog.pg_backend_pid() as pid");
    const processId = "processID" in client ? client.processID : null;
    look.pooled = processId !== (rows[0]?.pid ?? null);
  } finally {
    client.release();
  }
  return [judgePooler(facts, look.pooled)];
}

export function judgePooler(facts: Pick<ConnectionFacts, "port">, speaksForIt: boolean): Finding {
  if (facts.port !== TRANSACTION_POOLER_PORT && !speaksForIt) return ok("none: a direct connection");
  const what =
    facts.port === TRANSACTION_POOLER_PORT
      ? `a transaction pooler (port ${TRANSACTION_POOLER_PORT})`
      : "a pooler or proxy";
  return ok(`connected through ${what}, which Rowmill supports`, {
    fixes: [
      "Transaction mode is fine: Rowmill keeps nothing in a session. Poolers do not pass notifications on, so " +
        "workers poll several times a second.",
      "Each worker opens up to 10 connections: allow as many in the pooler. The pooler's time limits for " +
        "statements apply to Rowmill too.",
    ],
  });
}

async function checkTls(look: Look): Promise<readonly Finding[]> {
  const facts = factsOf(look);
  if (facts === null) return [ok("not needed: the embedded database runs on this machine")];
  const row = await readOnly(look, (tx) =>
    tx.first<{ ssl: boolean }>(sql`select ssl from pg_catalog.pg_stat_ssl where pid = pg_backend_pid()`),
  );
  // Behind a pooler the server knows only the pooler's own connection.
  return [judgeTls(facts, look.pooled ? null : (row?.ssl ?? null))];
}

const isOfThisMachine = (host: string) => host.startsWith("/") || /^(localhost$|127\.|::1$|\[::1\]$)/.test(host);

/** `encrypted`: as the server sees it; null: it does not know. */
export function judgeTls(facts: ConnectionFacts, encrypted: boolean | null): Finding {
  const { sslMode, host, addressFrom, sslModeFrom } = facts;
  if (isOfThisMachine(host)) return ok("not needed: the connection stays on this machine");
  const opportunistic = sslMode === "prefer" || sslMode === "allow";
  if (sslMode === "disable" || (opportunistic && encrypted === false)) {
    const why = sslMode === "disable" ? `${sslModeFrom ?? "sslmode"} is "disable"` : "the server does not offer it";
    return warning(
      `Off, because ${why}: anyone on the network between this machine and ${host} can read and change your rows.`,
      {
        fixes: [
          `Set sslmode=verify-full in ${addressFrom}, and sslrootcert if your own authority signed the certificate.`,
        ],
      },
    );
  }
  if (opportunistic) return ok(`used if the server offers it (sslmode=${sslMode}), certificate not verified`);
  const verified = { require: "certificate not verified", "verify-ca": "authority verified" }[sslMode];
  return ok(`on, ${verified ?? "certificate verified"} (sslmode=${sslMode})`);
}

async function compareClocks(look: Look): Promise<readonly Finding[]> {
  const beforeMs = Date.now();
  const row = await readOnly(look, async (tx) =>
    tx.first<{ ms: number }>(sql`select extract(epoch from clock_timestamp())::float8 * 1000 as ms`),
  );
  const afterMs = Date.now();
  const aheadMs = (row?.ms ?? beforeMs) - (beforeMs + afterMs) / 2;
  return [judgeClock("the database's clock", { aheadMs, unsureMs: (afterMs - beforeMs) / 2 })];
}

async function checkRights(look: Look): Promise<readonly Finding[]> {
  const findings = judgeDatabaseRights(await readOnly(look, readDatabaseRights));
  return findings.length > 0 ? findings : [ok("this user can create or use Rowmill's schemas and role")];
}
