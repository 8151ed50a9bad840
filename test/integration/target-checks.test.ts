/**
 * What is said of a target before anything is paid, on every database, and through a pooler that gives each
 * transaction another session.
 */
import { mkdtemp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, it } from "vitest";
import { loadConfig } from "../../src/config/load/load.js";
import type { PipelineConfig } from "../../src/model/pipeline.js";
import { compileAnswer } from "../../src/model/answer/answer.js";
import { inspectTable } from "../../src/sources/table/inspection.js";
import { openDatabase, raw, sql, type Database } from "../../src/postgres/database.js";
import { examineTarget } from "../../src/targets/table/ensure.js";
import { brokenTargets, soundTargets, targetPipeline } from "../support/broken-targets.js";
import { createDatabase, describeDatabases, type DatabaseKind, newestKinds } from "../support/databases.js";
import { pgbouncerMissingBecause, startPgBouncer } from "../support/pgbouncer.js";

const all = { ...brokenTargets, ...soundTargets };

async function makeAll(database: Database): Promise<void> {
  await database.pool.query(
    "create table texts (id int primary key, body text); create table t_names (name text primary key);",
  );
  for (const [name, target] of Object.entries(all))
    await database.run(raw(`set local search_path = public; ${target.sql.replaceAll("TABLE", `t_${name}`)}`));
}

/** By `loadConfig`, as the answers are written in a config. */
async function pipelines(): Promise<readonly PipelineConfig[]> {
  const folder = await mkdtemp(join(inject("runFolder"), "targets-"));
  const texts = Object.entries(all).map(([name, target]) => targetPipeline(name, target));
  await writeFile(
    join(folder, "rowmill.config.mjs"),
    `import { defineConfig, pipeline, z } from "rowmill";\nexport default defineConfig({ pipelines: { ${texts.join(", ")} } });`,
  );
  const config = await loadConfig({ cwd: folder, env: { DATABASE_URL: "postgres://127.0.0.1/none" } });
  return config.pipelines;
}

async function faultsOf(database: Database, { answer, target }: PipelineConfig): Promise<string[]> {
  const source = await inspectTable(database, { table: "texts", key: ["id"], columns: ["body"] });
  const { columns } = compileAnswer(answer);
  const { faults } = await examineTarget(database, {
    config: target,
    source,
    answer: columns,
    previous: null,
  });
  return faults.map(({ level, text }) => `${level} ${text}`);
}

async function expectFaults(database: Database): Promise<void> {
  for (const config of await pipelines()) {
    const { name } = config;
    const says = brokenTargets[name]?.says ?? [];
    const expected = says
      .map((line) => line.replaceAll("TABLE", `t_${name}`).replace(/^not checked /, "unknown "))
      .filter((line) => /^(problem|warning|unknown) /.test(line));
    expect(await faultsOf(database, config), name).toEqual(expected);
  }
  const left = sql`select relname from pg_catalog.pg_class where relpersistence = 't'`;
  expect(await database.rows(left)).toEqual([]);
}

async function withTargets(kind: DatabaseKind, work: (url: string) => Promise<void>): Promise<void> {
  const created = await createDatabase(kind);
  try {
    const database = openDatabase({ connectionString: created.url });
    await makeAll(database).finally(() => database.close());
    await work(created.url);
  } finally {
    await created.drop();
  }
}

describeDatabases(
  "A target that cannot hold every answer",
  (kind) => {
    it("is recognized from the catalog and by trying its CHECKs, and the trial leaves nothing behind", async () => {
      await withTargets(kind, async (url) => {
        const database = openDatabase({ connectionString: url });
        await expectFaults(database).finally(() => database.close());
      });
    });

    it("is recognized through PgBouncer in transaction mode", async ({ skip }) => {
      if (kind !== "pg18") skip("needs one server only");
      if (pgbouncerMissingBecause !== null) skip(pgbouncerMissingBecause);
      await withTargets(kind, async (url) => {
        const pooler = await startPgBouncer(url, 2);
        const database = openDatabase({ connectionString: pooler.url });
        await Promise.all([expectFaults(database), expectFaults(database)]).finally(async () => {
          await database.close();
          await pooler.stop();
        });
      });
    });
  },
  newestKinds,
);
