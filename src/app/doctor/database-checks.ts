/** The database as such: reachable, new enough, UTF8; what lies between it and us; its clock. */
import type { ConnectionFacts } from "../../postgres/failure.js";
import { RowmillError } from "../../model/errors.js";
import { schemasOnPath } from "../../sources/table/inspection.js";
import { quoteIdentifier, sql } from "../../postgres/database.js";
import * as migrations from "../../store/ledger/migrations.js";
import { hasDatabase, openProjectDatabase } from "../open/open-database.js";
import { notChecked, ok, problem, sentence, warning, type Check, type Finding } from "./check.js";
import { judgeClock } from "./clock.js";
import { factsOf, known, readOnly, type Look } from "./look.js";

const CONNECT_MS_MAX = 7_000;
const QUERY_MS_MAX = 7_000;
/** Supabase's transaction pooler. */
const TRANSACTION_POOLER_PORT = 6543;

const DATABASE = { group: "Database", otherwise: "the database is not as it must be" } as const;

export const DATABASE_CHECKS: readonly Check[] = [
  {
    ...DATABASE,
    id: "connection",
    title: "Connection",
    needs: ["config", "variables"],
    otherwise: "the database cannot be reached",
    run: connect,
  },
  {
    ...DATABASE,
    id: "version",
    title: "Version",
    needs: ["connection"],
    otherwise: "the database is too old",
    run: lookAtVersion,
  },
  {
    ...DATABASE,
    id: "encoding",
    title: "Encoding",
    needs: ["connection"],
    otherwise: "the database has another encoding than UTF8",
    run: lookAtEncoding,
  },
  { ...DATABASE, id: "pooler", title: "Pooler", needs: ["connection"], run: lookForPooler },
  { ...DATABASE, id: "tls", title: "TLS", needs: ["connection"], run: lookAtTls },
  { ...DATABASE, id: "search-path", title: "Search path", needs: ["connection"], run: lookAtSearchPath },
  { ...DATABASE, id: "database-clock", title: "Clock", needs: ["connection"], run: compareClocks },
];

async function connect(look: Look): Promise<readonly Finding[]> {
  const config = known(look.config, "a config");
  if (!(await hasDatabase(config)))
    return [notChecked("the embedded database is not made yet; rowmill up makes it")];
  try {
    look.opened = await openProjectDatabase(config, known(look.environment, "variables"), {
      poolMax: 2,
      connectTimeoutMs: CONNECT_MS_MAX,
      queryTimeoutMs: QUERY_MS_MAX,
    });
  } catch (error) {
    if (!(error instanceof RowmillError)) throw error;
    const [first = "", ...mistakes] = error.message.split("\n");
    return [problem(sentence(first), { mends: [...mistakes.map((line) => line.trim()), ...error.hints] })];
  }
  return [ok(`reached ${look.opened.place}`)];
}

async function lookAtVersion(look: Look): Promise<readonly Finding[]> {
  const row = await readOnly(look, (tx) =>
    tx.first<{ number: number; name: string }>(
      sql`select current_setting('server_version_num')::int as number, current_setting('server_version') as name`,
    ),
  );
  return [judgeVersion(row?.number ?? 0, row?.name ?? "unknown")];
}

export function judgeVersion(number: number, name: string): Finding {
  if (number >= migrations.POSTGRES_VERSION_MIN) return ok(`PostgreSQL ${name}`);
  return problem(`PostgreSQL ${name} is too old.`, {
    mends: [`Rowmill needs ${migrations.POSTGRES_VERSION_MIN / 10_000} or later: upgrade the server.`],
  });
}

async function lookAtEncoding(look: Look): Promise<readonly Finding[]> {
  const row = await readOnly(look, (tx) =>
    tx.first<{ encoding: string }>(sql`select current_setting('server_encoding') as encoding`),
  );
  return [judgeEncoding(row?.encoding ?? "unknown")];
}

export function judgeEncoding(encoding: string): Finding {
  if (encoding === "UTF8") return ok(encoding);
  return problem(`The database's encoding is ${encoding}; Rowmill needs UTF8.`, {
    mends: [
      "An encoding is chosen when a database is made: create database app_utf8 encoding 'UTF8' template template0; and move the data by pg_dump.",
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

/** Superusers left out, from whom nothing can be kept. */
async function lookAtSearchPath(look: Look): Promise<readonly Finding[]> {
  const open = await readOnly(look, async (tx) => {
    const path = await schemasOnPath(tx);
    return tx.rows<OpenSchema>(sql`
      select n.nspname as schema, case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end as grantee, false as owns
      from pg_catalog.pg_namespace n cross join lateral aclexplode(n.nspacl) a left join pg_catalog.pg_roles r on r.oid = a.grantee
      where n.nspname = any(${path}::text[]) and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner
        and (a.grantee = 0 or (not r.rolsuper and r.rolname <> current_user))
      union all select n.nspname, quote_ident(r.rolname), true from pg_catalog.pg_namespace n join pg_catalog.pg_roles r on r.oid = n.nspowner
      where n.nspname = any(${path}::text[]) and not r.rolsuper
        and r.rolname <> all(array[current_user::text, 'pg_database_owner']) order by 1, 2`);
  });
  return judgeSearchPath(open);
}

export function judgeSearchPath(open: readonly OpenSchema[]): readonly Finding[] {
  if (open.length === 0) return [ok("no other role was given the right to create objects in it")];
  return open.map(({ schema, grantee, owns }) =>
    warning(
      `${grantee === "public" ? "Every role" : `The role ${grantee}`} may create objects in the schema "${schema}", which is on the search path of Rowmill's user. Rowmill's own statements look nothing up there, but names without a schema in your triggers or in \`where\` may be found there.`,
      owns
        ? { mends: [`Trust ${grantee}, who owns it, or leave it out of the search path of Rowmill's user.`] }
        : { sql: [`revoke create on schema ${quoteIdentifier(schema)} from ${grantee};`] },
    ),
  );
}

/** PostgreSQL tells each client its process at the login. A pooler speaks for many processes and tells something else. */
async function lookForPooler(look: Look): Promise<readonly Finding[]> {
  const facts = factsOf(look);
  if (facts === null) return [ok("none: the embedded database")];
  const client = await known(look.opened, "a database").database.pool.connect();
  try {
    const { rows } = await client.query<{ pid: number }>("select pg_catalog.pg_backend_pid() as pid");
    const told = "processID" in client ? client.processID : null;
    look.pooled = told !== (rows[0]?.pid ?? null);
  } finally {
    client.release();
  }
  return [judgePooler(facts, look.pooled)];
}

export function judgePooler(facts: Pick<ConnectionFacts, "port">, speaksForIt: boolean): Finding {
  if (facts.port !== TRANSACTION_POOLER_PORT && !speaksForIt) return ok("none: a direct connection");
  const what =
    facts.port === TRANSACTION_POOLER_PORT
      ? `a transaction pooler (port ${TRANSACTION_POOLER_PORT}) is between`
      : "a pooler or a proxy is between";
  return ok(`${what}; Rowmill works through it`, {
    mends: [
      "It keeps nothing in a session, so transaction mode is fine too. Notifications do not pass there: a worker asks several times a second instead.",
      "Each worker takes up to ten connections: the pooler must have as many, and its time limits for a statement hold for Rowmill's too.",
    ],
  });
}

async function lookAtTls(look: Look): Promise<readonly Finding[]> {
  const facts = factsOf(look);
  if (facts === null) return [ok("not needed: the embedded database, on this machine")];
  const row = await readOnly(look, (tx) =>
    tx.first<{ ssl: boolean }>(sql`select ssl from pg_catalog.pg_stat_ssl where pid = pg_backend_pid()`),
  );
  // Behind a pooler the server knows only the pooler's own connection.
  return [judgeTls(facts, look.pooled ? null : (row?.ssl ?? null))];
}

const isOfThisMachine = (host: string) =>
  host.startsWith("/") || /^(localhost$|127\.|::1$|\[::1\]$)/.test(host);

/** `encrypted`: as the server sees it; null: it cannot tell. */
export function judgeTls(facts: ConnectionFacts, encrypted: boolean | null): Finding {
  const { sslMode, host, addressFrom, sslModeFrom } = facts;
  if (isOfThisMachine(host)) return ok("not needed: the connection stays on this machine");
  const opportunistic = sslMode === "prefer" || sslMode === "allow";
  if (sslMode === "disable" || (opportunistic && encrypted === false)) {
    const why = sslMode === "disable" ? `${sslModeFrom ?? "sslmode"} is disable` : "the server offers none";
    return warning(`Off, because ${why}: whoever is between here and ${host} can read and change the rows.`, {
      mends: [
        `Turn it on: sslmode=verify-full in ${addressFrom}, and sslrootcert for an authority of your own.`,
      ],
    });
  }
  if (opportunistic) return ok(`taken where the server has it (sslmode=${sslMode}); nothing is verified`);
  const verified = { require: "not verified", "verify-ca": "its authority verified" }[sslMode];
  return ok(`on, the server ${verified ?? "verified"} (sslmode=${sslMode})`);
}

async function compareClocks(look: Look): Promise<readonly Finding[]> {
  const beforeMs = Date.now();
  const row = await readOnly(look, async (tx) =>
    tx.first<{ ms: number }>(sql`select extract(epoch from clock_timestamp())::float8 * 1000 as ms`),
  );
  const afterMs = Date.now();
  const aheadMs = (row?.ms ?? beforeMs) - (beforeMs + afterMs) / 2;
  return [judgeClock("the database's", { aheadMs, unsureMs: (afterMs - beforeMs) / 2 })];
}
