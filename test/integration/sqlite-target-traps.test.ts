/** What is special about SQLite files as a target: each case with its outcome. */
import { join } from "node:path";
import { createClient } from "@libsql/client";
import { afterEach, describe, expect, it } from "vitest";
import { sqlite } from "../../src/connectors/sqlite/sqlite.js";
import type { SqliteTargetOptions } from "../../src/connectors/sqlite/target.js";
import type { AnswerColumn } from "../../src/model/answer/answer-columns.js";
import type { Change } from "../../src/model/connector.js";
import type { Json } from "../../src/model/pipeline.js";
import { failureOf, openSqliteFile, type SqliteFile } from "../support/sqlite-file.js";

const { signal } = new AbortController();

let file: SqliteFile;
afterEach(() => file.close());

const FIELDS: readonly AnswerColumn[] = [{ field: "label", type: "text", nullable: true, check: null }];

function target(more: Partial<SqliteTargetOptions> = {}) {
  return sqlite({ url: file.url, table: "labels", ...more });
}

function answer(key: string, fence: bigint, label: Json = "good"): Change {
  return { key, fence: String(fence), model: "m", cells: { label } };
}

function prepare(connector: ReturnType<typeof target>, fields = FIELDS, more: object = {}) {
  return connector.prepare({ pipeline: "films", fields, signal, ...more });
}

function write(connector: ReturnType<typeof target>, changes: readonly Change[]) {
  return connector.write(changes, { pipeline: "films", id: "delivery", signal });
}

describe("a table of answers in SQLite", () => {
  it("is made with a type for each field, and takes each type of answer", async () => {
    file = await openSqliteFile();
    const types = {
      label: "text",
      n: "bigint",
      x: "double precision",
      is: "boolean",
      list: "text[]",
      any: "jsonb",
    } as const;
    const fields = Object.entries(types).map(([field, type]) => ({ field, type, nullable: true, check: null }));
    const url = `file:${join(file.folder, "new.db")}`;
    const connector = target({ url });
    await prepare(connector, fields);
    const cells = { label: "007", n: 9007199254740991, x: 0.1, is: true, list: ["a"], any: { b: [1] } };
    expect(await write(connector, [{ key: "1", fence: "9007199254740993", model: "m", cells }])).toMatchObject({
      written: ["1"],
    });
    const client = createClient({ url, intMode: "bigint" });
    const { rows } = await client.execute("select *, typeof(x) as type from labels");
    client.close();
    expect({ ...rows[0] }).toMatchObject({
      key: "1",
      label: "007",
      n: 9007199254740991n,
      x: 0.1,
      is: 1n,
      list: '["a"]',
      any: '{"b":[1]}',
      rowmill_fence_films: 9007199254740993n,
      rowmill_model: "m",
      type: "real",
    });
  });

  it("gets a new column if Rowmill made it, and otherwise only if you allow it", async () => {
    file = await openSqliteFile("create table mine (key text primary key, label text)");
    await prepare(target());
    await prepare(target(), [...FIELDS, { field: "more", type: "bigint", nullable: true, check: null }]);
    expect(await failureOf(prepare(target({ table: "mine" })))).toMatchObject({
      kind: "stop",
      message: "The table mine has no column rowmill_fence_films.",
      hints: ["Set addColumns: true, or run:", 'alter table "mine" add column "rowmill_fence_films" integer;'],
    });
    await prepare(target({ table: "mine", addColumns: true }));
  });

  it("is refused if a column would change answers, or a new row cannot be added", async () => {
    file = await openSqliteFile("create table mine (key text primary key, label integer, maker text not null)");
    const { kind, message } = await failureOf(prepare(target({ table: "mine", addColumns: true })));
    expect([kind, ...message.split("\n").map((line) => line.trim())]).toEqual([
      "stop",
      'The column label of mine has the type "INTEGER", which would change answers that are text.',
      "The column maker of mine is NOT NULL and has no default, so no row can be added.",
    ]);
  });

  it("does not write over a row whose key compares as equal, nor change a key", async () => {
    file = await openSqliteFile(`
      create table nocase (key text primary key collate nocase, label text);
      insert into nocase values ('a', 'yours');
      create table numbers (key integer primary key, label text)`);
    const connector = target({ table: "nocase", addColumns: true });
    await prepare(connector);
    expect(await write(connector, [answer("A", 1n), answer("b", 1n)])).toMatchObject({
      written: ["b"],
      failed: [{ key: "A", reason: expect.stringContaining("compares as equal") }],
    });
    const numbers = target({ table: "numbers", addColumns: true });
    await prepare(numbers);
    const { written, failed } = await write(numbers, [answer("7", 1n), answer("007", 1n), answer("x", 1n)]);
    expect([written, failed.map(({ key }) => key).toSorted()]).toEqual([["7"], ["007", "x"]]);
    expect(await file.rows("select key, label from nocase")).toEqual([
      { key: "a", label: "yours" },
      { key: "b", label: "good" },
    ]);
  });

  it("refuses single rows that a trigger refuses, even if the trigger ends the transaction", async () => {
    file = await openSqliteFile(`
      create table labels (key text primary key, label text);
      create trigger abort before insert on labels when new.label = 'a' begin select raise(abort, 'no a'); end;
      create trigger back before insert on labels when new.label = 'r' begin select raise(rollback, 'no r'); end;
      create trigger ignore before insert on labels when new.label = 'i' begin select raise(ignore); end`);
    const connector = target({ addColumns: true });
    await prepare(connector);
    const labels = ["x", "a", "r", "y", "i", "r", "z"];
    const { written, failed } = await write(
      connector,
      labels.map((label, at) => answer(String(at), 1n, label)),
    );
    expect([written, failed.toSorted((a, b) => (a.key < b.key ? -1 : 1)).map(({ reason }) => reason)]).toEqual([
      ["0", "3", "6"],
      ["no a", "no r", "a trigger or a constraint of the table did something else", "no r"],
    ]);
    expect(await file.rows("select key from labels order by key")).toEqual([{ key: "0" }, { key: "3" }, { key: "6" }]);
  });

  it("is locked by another program: all rows are busy, and the message comes when that lasts", async () => {
    file = await openSqliteFile();
    const connector = target();
    await prepare(connector);
    const holder = await file.client.transaction("write");
    expect(await write(connector, [answer("a", 1n)])).toMatchObject({ busy: ["a"], written: [] });
    await holder.rollback();
    expect(await write(connector, [answer("a", 1n)])).toMatchObject({ written: ["a"] });
  });

  it("is dropped while Rowmill runs: it is made again, and the write is repeated", async () => {
    file = await openSqliteFile();
    const connector = target();
    await prepare(connector);
    await file.run("drop table labels");
    expect(await failureOf(write(connector, [answer("a", 1n)]))).toMatchObject({ kind: "again" });
    await prepare(connector);
    expect(await write(connector, [answer("a", 1n)])).toMatchObject({ written: ["a"] });
  });

  it("is in a file that was lost: nothing is written until you deliver all answers again", async () => {
    file = await openSqliteFile();
    const connector = target();
    await prepare(connector);
    await write(connector, [answer("a", 1n)]);
    await file.moveAway();
    expect(await failureOf(write(connector, [answer("b", 1n)]))).toMatchObject({ kind: "again" });
    expect(await failureOf(prepare(connector, FIELDS, { delivered: 1 }))).toMatchObject({
      kind: "stop",
      message: "labels has none of the 1 answer that were delivered.",
      hints: ["Deliver all of them to it, at no cost: rowmill deliver films --replay --all."],
    });
    await prepare(connector);
    expect(await write(connector, [answer("a", 1n), answer("b", 1n)])).toMatchObject({ written: ["a", "b"] });
  });
});
