import { run, quickAddJob } from "graphile-worker";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/databases.js";

const jobs = 100;
let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase("embedded");
});

afterAll(() => database.drop());

test("graphile-worker runs each of 100 jobs once on the embedded database, beside a client in transactions", async () => {
  const pool = new pg.Pool({ connectionString: database.url, max: 5 });
  pool.on("error", (error) => {
    throw error;
  });
  const ran: number[] = [];
  let allRan = (): void => {};
  const all = new Promise<void>((resolve) => (allRan = resolve));
  const shared = { pgPool: pool, schema: "rowmill_worker", noPreparedStatements: true };
  const runner = await run({
    ...shared,
    concurrency: 4,
    pollInterval: 100,
    noHandleSignals: true,
    taskList: {
      note: async (payload, { query }) => {
        const { n } = payload as { n: number };
        await query("SELECT pg_sleep(0)");
        ran.push(n);
        if (ran.length === jobs) allRan();
      },
    },
  });
  const beside = new pg.Client({ connectionString: database.url });
  await beside.connect();
  let busy = true;
  const transactions = (async () => {
    while (busy) {
      await beside.query("BEGIN");
      await beside.query("SELECT 1");
      await beside.query("COMMIT");
    }
  })();
  try {
    await Promise.all(Array.from({ length: jobs }, (_, n) => quickAddJob(shared, "note", { n })));
    await all;
    await runner.stop();
    const left = await pool.query("SELECT count(*)::int AS n FROM rowmill_worker._private_jobs");
    expect(left.rows).toEqual([{ n: 0 }]);
    expect(ran.toSorted((a, b) => a - b)).toEqual(Array.from({ length: jobs }, (_, n) => n));
  } finally {
    busy = false;
    await transactions;
    await beside.end();
    await pool.end();
  }
});
