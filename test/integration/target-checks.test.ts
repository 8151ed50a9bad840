/** What is said of a target before anything is paid, on every database, and through a pooler that gives each transaction another session. */
import { expect, it } from "vitest";
import { z } from "../../src/index.js";
import { compileAnswer } from "../../src/model/answer.js";
import { inspectTable } from "../../src/sources/table-inspection.js";
import { openDatabase, raw, sql, type Database } from "../../src/store/database.js";
import { examineTarget } from "../../src/targets/ensure-target.js";
import { brokenTargets, soundTargets } from "../support/broken-targets.js";
import { createDatabase, describeDatabases, type DatabaseKind } from "../support/databases.js";
import { pgbouncerMissingBecause, startPgBouncer } from "../support/pgbouncer.js";

const all = { ...brokenTargets, ...soundTargets };
const DEFAULT_ANSWER = `z.object({ label: z.enum(["a", "b", "long label"]) })`;

async function makeAll(database: Database): Promise<void> {
  await database.pool.query(
    "create table texts (id int primary key, body text); create table t_names (name text primary key);",
  );
  for (const [name, target] of Object.entries(all))
    await database.run(raw(`set local search_path = public; ${target.sql.replaceAll("TABLE", `t_${name}`)}`));
}

async function faultsOf(database: Database, name: string): Promise<string[]> {
  const { answer = DEFAULT_ANSWER, target = "" } = brokenTargets[name] ?? soundTargets[name] ?? {};
  const schema: z.ZodObject = new Function("z", `return ${answer}`)(z);
  const source = await inspectTable(database, { table: "texts", key: ["id"], columns: ["body"] });
  const { faults } = await examineTarget(database, {
    config: {
      table: `t_${name}`,
      columns: null,
      access: "private",
      addColumns: target.includes("addColumns"),
      trustOwner: false,
    },
    source,
    answer: compileAnswer(schema).columns,
    former: null,
  });
  return faults.map(({ level, text }) => `${level} ${text}`);
}

async function expectFaults(database: Database): Promise<void> {
  for (const name of Object.keys(all)) {
    const says = brokenTargets[name]?.says ?? [];
    const expected = says.filter((line) => /^(problem|warning) /.test(line));
    expect(await faultsOf(database, name), name).toEqual(
      expected.map((line) => line.replaceAll("TABLE", `t_${name}`)),
    );
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

describeDatabases("A target that cannot hold every answer", (kind) => {
  it("is told by the catalogue and by trying its CHECKs, and nothing of the trial stays", async () => {
    await withTargets(kind, async (url) => {
      const database = openDatabase({ connectionString: url });
      await expectFaults(database).finally(() => database.close());
    });
  });

  it("is told through PgBouncer in transaction mode", async ({ skip }) => {
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
});
