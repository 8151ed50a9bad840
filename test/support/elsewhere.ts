/** A target in another database, as a user would write one: it compares fences, and tells what it refused. */
import pg from "pg";
import { defineTarget, type Change, type DefinedTarget } from "../../src/index.js";
import { createDatabase, type TestDatabase } from "./databases.js";

interface Row {
  readonly key: string;
  readonly summary: string | null;
  readonly writes: number;
  readonly fence: string | null;
}

interface Cells {
  readonly summary: string;
}

export interface Elsewhere {
  readonly url: string;
  /** Calls of `write` so far, each with its changes. */
  readonly calls: readonly (readonly Change<Cells>[])[];
  /** What `write` does next, before it writes: throws, waits. Kept until it is changed. */
  before: (changes: readonly Change<Cells>[]) => Promise<void>;
  /** The same after it has written. */
  after: () => Promise<void>;
  /** Of a pipeline `name`: a fence column for each, so that two pipelines may write to one table. */
  target(name?: string): ReturnType<typeof defineTarget<Cells>>;
  rows(): Promise<readonly Row[]>;
  run(text: string): Promise<void>;
  close(): Promise<void>;
}

export async function openElsewhere(): Promise<Elsewhere> {
  const database: TestDatabase = await createDatabase("pg18");
  const pool = new pg.Pool({ connectionString: database.url, ssl: false, max: 4 });
  pool.on("error", () => undefined);
  const calls: (readonly Change<Cells>[])[] = [];
  const elsewhere: Elsewhere = {
    url: database.url,
    calls,
    before: () => Promise.resolve(),
    after: () => Promise.resolve(),
    target: (name = "notes") => targetOf(pool, name, elsewhere, calls),
    rows: async () => {
      const { rows } = await pool.query<Row>(
        "select key, summary, writes, fence_notes::text as fence from summaries order by key",
      );
      return rows;
    },
    run: async (text) => void (await pool.query(text)),
    close: async () => {
      await pool.end();
      await database.drop();
    },
  };
  return elsewhere;
}

function targetOf(
  pool: pg.Pool,
  name: string,
  hooks: Pick<Elsewhere, "before" | "after">,
  calls: (readonly Change<Cells>[])[],
): ReturnType<typeof defineTarget<Cells>> {
  const fence = `fence_${name}`;
  const write: DefinedTarget<Cells>["write"] = async (changes) => {
    calls.push(changes);
    await hooks.before(changes);
    const stale: { key: string; fence: string }[] = [];
    const failed: { key: string; reason: string }[] = [];
    for (const change of changes) {
      try {
        const { rowCount } = await pool.query(
          `insert into summaries as s (key, summary, writes, ${fence}) values ($1, $2, 1, $3)
          on conflict (key) do update set summary = excluded.summary, ${fence} = excluded.${fence}, writes = s.writes + 1
          where coalesce(s.${fence}, 0) < excluded.${fence}`,
          [change.key, "deleted" in change ? null : change.cells.summary, change.fence],
        );
        if (rowCount === 1) continue;
        const { rows } = await pool.query(`select ${fence}::text as fence from summaries where key = $1`, [change.key]);
        stale.push({ key: change.key, fence: String(rows[0]?.fence) });
      } catch (error) {
        if (!(error instanceof pg.DatabaseError)) throw error;
        failed.push({ key: change.key, reason: error.message });
      }
    }
    await hooks.after();
    return { stale, failed };
  };
  return defineTarget<Cells>({
    name: "postgres of the test",
    promise: "onceInEffect",
    prepare: async () => {
      await pool.query("create table if not exists summaries (key text primary key, summary text, writes int)");
      await pool.query("alter table summaries add column if not exists fence_notes bigint");
      await pool.query(`alter table summaries add column if not exists ${fence} bigint`);
    },
    write,
  });
}
