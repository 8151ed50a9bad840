import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Backend } from "../../src/embedded/backend.js";
import { Housekeeper } from "../../src/embedded/housekeeping.js";
import { embeddedDataDir } from "../support/embedded-template.js";

let backend: Backend;

beforeAll(async () => {
  backend = await Backend.open(join(await embeddedDataDir(), "postgres"));
});

afterAll(() => backend.close());

async function cell(sql: string): Promise<string | null | undefined> {
  return (await backend.query(sql)).rows[0]?.[0];
}

async function round(): Promise<void> {
  const housekeeper = new Housekeeper();
  housekeeper.wake();
  while (housekeeper.isDue) await housekeeper.step(backend);
}

test("a table that was written is analyzed and its dead rows are removed", async () => {
  await backend.query('CREATE TABLE "Odd name" AS SELECT n FROM generate_series(1, 5000) AS t (n)');
  await backend.query('UPDATE "Odd name" SET n = n + 1');
  await cell("SELECT pg_stat_force_next_flush()");
  const dead = `SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'Odd name'`;
  expect(await cell(dead)).toBe("5000");
  await round();
  expect(await cell(dead)).toBe("0");
  expect(await cell(`SELECT reltuples FROM pg_class WHERE relname = 'Odd name'`)).toBe("5000");
});

test("the write-ahead log is cut by a checkpoint when it has grown", async () => {
  const redo = "SELECT redo_lsn FROM pg_control_checkpoint()";
  const before = await cell(redo);
  await round();
  expect(await cell(redo)).toBe(before);
  await backend.query("CREATE TABLE long AS SELECT repeat('x', 500) FROM generate_series(1, 150000)");
  await round();
  expect(await cell(redo)).not.toBe(before);
});

test("a table that cannot be vacuumed does not end the round", async () => {
  await backend.query("CREATE TABLE plain AS SELECT n FROM generate_series(1, 5000) AS t (n)");
  await backend.query("CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'");
  await backend.query("CREATE INDEX ON plain (f(n))");
  await backend.query("CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1 / 0'");
  await backend.query("CREATE TABLE after_it AS SELECT 1 AS n FROM generate_series(1, 2000)");
  await cell("SELECT pg_stat_force_next_flush()");
  await round();
  expect(await cell(`SELECT reltuples FROM pg_class WHERE relname = 'after_it'`)).toBe("2000");
});
