/**
 * Ledgers that earlier versions left in the middle of their work (`test/ledgers`, made by `scripts/keep-ledger.mjs`),
 * taken over by this one.
 */
import { readdir, readFile } from "node:fs/promises";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { openDatabase, raw, sql, type Database } from "../../src/postgres/database.js";
import { migrate, MIGRATION_LOCK, SCHEMA_STATEMENTS } from "../../src/store/ledger/migrations.js";
import { LEDGER_VERSION } from "../../src/store/ledger/understood.js";
import { describeDatabases, bookKeepers } from "../support/databases.js";
import { createPreparedDatabase } from "../support/prepared-databases.js";
import { startProject, type TestProject } from "../support/project.js";

const folder = new URL("../ledgers/", import.meta.url);
const kept = (await readdir(folder)).sort();

/** As in the script. */
const notes = pipeline({
  source: { table: "notes", key: "id", columns: ["body"] },
  polling: { min: "200ms", max: "1s" },
  request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
  answer: z.object({ categories: z.array(z.string()) }),
  target: { table: "note_answers" },
});

describe("test/ledgers", () => {
  it("has one of each version, this one included", () => {
    const versions = Array.from({ length: LEDGER_VERSION }, (_, index) => `000${index + 1}.sql`);
    expect(kept).toEqual(expect.arrayContaining(versions));
  });
});

describeDatabases(
  "A ledger that was kept in the middle of its work",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind, { empty: true });
    });
    afterEach(() => project.close());

    it.each(kept)("%s becomes the ledger of this version, and its work continues where it stopped", async (name) => {
      await load(project.url, await readFile(new URL(name, folder), "utf8"));
      const worker = await project.worker({ notes });
      const [bound] = worker.pipelines.values();
      // The provider of then is not there any more; this one stands in for it.
      await project.run(sql`update rowmill.batches set account = ${bound?.provider.account} where settled_at is null`);
      expect(await schemaOf(project.database)).toEqual(await freshSchema());
      await project.drain(worker);
      expect(await project.rows(sql`select key, state, attempt from rowmill.requests order by key`)).toEqual([
        { key: "1", state: "succeeded", attempt: 1 },
        { key: "2", state: "succeeded", attempt: 1 },
        { key: "3", state: "succeeded", attempt: 2 },
        { key: "4", state: "failed", attempt: 1 },
        { key: "5", state: "gone", attempt: 1 },
        { key: "6", state: "succeeded", attempt: 1 },
        { key: "7", state: "succeeded", attempt: 1 },
        { key: "8", state: "succeeded", attempt: 1 },
        { key: "9", state: "succeeded", attempt: 1 },
      ]);
      // Two were planned then, two waited; everything else was asked then.
      expect((await project.gateway.journal.summary()).executed).toBe(4);
      expect(await project.rows(sql`select id::text as id from public.note_answers order by id`)).toEqual(
        ["1", "2", "3", "5", "6", "7", "8", "9"].map((id) => ({ id })),
      );
      await project.check();
    });

    // The embedded one has one session, which nothing else can be in the way of.
    if (kind !== "embedded")
      it("is upgraded although the first try loses a deadlock", async () => {
        for (const statement of SCHEMA_STATEMENTS) await project.run(raw(statement));
        const other = new pg.Client({ connectionString: project.url });
        await other.connect();
        try {
          await other.query("begin; lock table rowmill.migrations in share row exclusive mode");
          const migrated = migrate(project.database);
          await untilMigrationWaits();
          // Its own look for a deadlock comes later than that of the migration, which loses.
          await other.query(
            `set local deadlock_timeout = '10 s'; select pg_advisory_xact_lock(${MIGRATION_LOCK}); commit`,
          );
          expect(await migrated).toEqual(["0001_ledger.sql"]);
        } finally {
          await other.end();
        }
        expect(await schemaOf(project.database)).toEqual(await freshSchema());
      });

    async function untilMigrationWaits(): Promise<void> {
      for (let look = 0; look < 200; look++) {
        const waiting = sql`select 1 from pg_locks where not granted and relation = 'rowmill.migrations'::regclass`;
        if ((await project.rows(waiting)).length > 0) return;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      throw new Error("The migration does not wait.");
    }

    async function freshSchema(): Promise<unknown> {
      const made = await createPreparedDatabase(kind);
      const database = openDatabase({ connectionString: made.url, ssl: false }, { poolMax: 1 });
      try {
        return await schemaOf(database);
      } finally {
        await database.close();
        await made.drop();
      }
    }
  },
  bookKeepers,
);

/** It is then where it always was: what a restored ledger does is another test's. */
async function load(url: string, dump: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(dump);
    await client.query(`update rowmill.deployment set database_name = current_database(),
      system_identifier = (select system_identifier::text from pg_control_system())`);
    const { rows } = await client.query("select to_jsonb(d) ? 'database_oid' as later from rowmill.deployment d");
    if (rows[0]?.later) await client.query("update rowmill.deployment set database_oid = null");
  } finally {
    await client.end();
  }
}

/** Tables, constraints, indexes and functions, but for the trigger functions of pipelines. */
async function schemaOf(database: Database): Promise<unknown> {
  return {
    columns: await database.rows(sql`
      select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns
      where table_schema = 'rowmill' order by table_name, column_name`),
    constraints: await database.rows(sql`
      select conrelid::regclass::text as of, conname, pg_get_constraintdef(oid) as says from pg_constraint
      where connamespace = 'rowmill'::regnamespace and contype <> 'n' order by 1, 2`),
    indexes: await database.rows(sql`select indexdef from pg_indexes where schemaname = 'rowmill' order by 1`),
    functions: await database.rows(sql`
      select proname, pg_get_functiondef(oid) as says from pg_proc
      where pronamespace = 'rowmill'::regnamespace and proname not like 'arrive%' order by 1`),
  };
}
