/**
 * A PostgreSQL 18 with a user's durability, and what can be read of it: its CPU, its write-ahead log, the size of
 * what is not the user's.
 */
import pg from "pg";
import { startPostgresServer } from "../test/support/postgres-servers.js";
import { parentOf, treeMs } from "./usage.js";

/**
 * A commit is on the disk before it is acknowledged; tests do without. Commit times say when the last answer was
 * written.
 */
const settings = {
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
  shared_buffers: "512MB",
  track_commit_timestamp: "on",
};

export interface BenchServer {
  readonly url: string;
  readonly client: pg.Client;
  /** Of the postmaster and all its children, dead or alive. */
  cpuMs(): number | null;
  /** Bytes of log so far. */
  walBytes(): Promise<number>;
  stop(): Promise<void>;
}

/** `statements`: it counts them too, which costs something. */
export async function startBenchServer({ statements = false } = {}): Promise<BenchServer> {
  const counting = statements
    ? { shared_preload_libraries: "pg_stat_statements", "pg_stat_statements.track_planning": "on" }
    : {};
  const server = await startPostgresServer("18", { settings: { ...settings, ...counting } });
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const postmaster = parentOf(rows[0]?.pid ?? 0);
  return {
    url: server.url,
    client,
    cpuMs: () => (postmaster === null ? null : treeMs(postmaster)),
    walBytes: () => oneNumber(client, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as n"),
    stop: async () => {
      await client.end();
      await server.stop();
    },
  };
}

/** A database of its own, gone afterwards. */
export async function withDatabase<T>(
  server: BenchServer,
  work: (database: { readonly url: string; readonly client: pg.Client }) => Promise<T>,
): Promise<T> {
  const name = "bench";
  await server.client.query(`create database ${name}`);
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  const client = new pg.Client({ connectionString: url.href });
  try {
    await client.connect();
    return await work({ url: url.href, client });
  } finally {
    await client.end();
    await server.client.query(`drop database ${name} with (force)`);
  }
}

/** Of all tables, with indexes and what is stored out of line, that are not in the schema `public`. */
export function ledgerBytes(client: pg.Client): Promise<number> {
  return oneNumber(
    client,
    `select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 as n from pg_class c
      where c.relkind = 'r'
        and c.relnamespace::regnamespace::text not in ('public', 'pg_catalog', 'information_schema')`,
  );
}

export async function oneNumber(client: pg.Client, query: string): Promise<number> {
  const { rows } = await client.query<{ n: number }>(query);
  if (rows[0] === undefined) throw new Error(`no row: ${query}`);
  return rows[0].n;
}
