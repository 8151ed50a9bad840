/** What is special about SQLite files as a source: each case with its outcome. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { copyFile, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createClient } from "@libsql/client";
import { afterEach, describe, expect, it } from "vitest";
import { sqlite } from "../../src/connectors/sqlite/sqlite.js";
import type { SqliteSourceSpec } from "../../src/connectors/sqlite/source.js";
import type { Page } from "../../src/model/connector.js";
import type { Json } from "../../src/model/pipeline.js";
import { failureOf, openSqliteFile, type SqliteFile } from "../support/sqlite-file.js";

const { signal } = new AbortController();

let file: SqliteFile;
afterEach(() => file.close());

function source(more: Partial<SqliteSourceSpec<string, string>> = {}) {
  return sqlite({ url: file.url, table: "films", key: "id", columns: ["v"], ...more }).elsewhere;
}

async function read(
  connector = source(),
  since: Json = null,
  place: Json = null,
): Promise<{ pages: Page[]; mark: Json }> {
  const pages: Page[] = [];
  for await (const page of connector.rows({ since, place, signal })) pages.push(page);
  return { pages, mark: pages.findLast(({ mark }) => mark !== undefined)?.mark ?? null };
}

async function rowsOf(connector = source(), since: Json = null): Promise<Page["rows"][number][]> {
  return (await read(connector, since)).pages.flatMap(({ rows }) => rows);
}

describe("values of a SQLite file", () => {
  it("gives whole numbers beyond 2^53, fractions, texts, blobs and null as exact texts", async () => {
    file = await openSqliteFile(`
      create table films (id integer primary key, v);
      insert into films values
        (1, 9223372036854775807), (2, -9223372036854775808), (3, 9007199254740993), (4, 0.1), (5, 1e21), (6, 1.0),
        (7, '007'), (8, '1.10'), (9, x'00ff'), (10, x''), (11, null), (12, ''), (13, 'é🎬'), (14, 9e999)`);
    expect((await rowsOf()).map(({ v }) => v)).toEqual([
      "9223372036854775807",
      "-9223372036854775808",
      "9007199254740993",
      "0.1",
      "1e+21",
      "1",
      "007",
      "1.10",
      // As PostgreSQL writes a bytea.
      "\\x00ff",
      "\\x",
      null,
      "",
      "é🎬",
      "Infinity",
    ]);
  });

  it("gives a text that is not UTF-8 as one that Rowmill refuses, and continues", async () => {
    file = await openSqliteFile(`
      create table films (id integer primary key, v text);
      insert into films values (1, 'a'), (2, cast(x'61ff62' as text)), (3, 'b')`);
    const texts = (await rowsOf()).map(({ v }) => v);
    expect(texts).toEqual(["a", expect.not.stringMatching(/^[ab]/), "b"]);
    expect(String(texts[1]).isWellFormed()).toBe(false);
  });

  it("gives the whole of a text with U+0000, which Rowmill refuses", async () => {
    file = await openSqliteFile(
      "create table films (id integer primary key, v text); insert into films values (1, 'a' || char(0) || 'b')",
    );
    expect((await rowsOf()).map(({ v }) => v)).toEqual(["a\0b"]);
  });

  it("reads texts of a database in UTF-16", async () => {
    file = await openSqliteFile(
      `pragma encoding = 'UTF-16';
       create table films (id text primary key, v text);
       insert into films values ('é', 'é🎬')`,
    );
    expect(await rowsOf()).toEqual([{ id: "é", v: "é🎬" }]);
  });

  it("reads generated columns, and columns whatever the case of their names", async () => {
    file = await openSqliteFile(`
      create table films (ID integer primary key, title text, v text as (upper(title)) virtual);
      insert into films (ID, title) values (1, 'a')`);
    expect(await rowsOf(source({ columns: ["V", "Title"] }))).toEqual([{ id: "1", V: "A", Title: "a" }]);
  });
});

describe("keys of a SQLite table", () => {
  it("reads a table without rowids, with a key of two columns", async () => {
    file = await openSqliteFile(`
      create table films (a integer, id text, v text, primary key (id, a)) without rowid;
      insert into films values (10, 'x', '1'), (9, 'x', '2'), (9007199254740993, 'y', '3')`);
    const { pages } = await read(source({ key: ["id", "a"] }));
    expect(pages.flatMap(({ rows }) => rows).map(({ id, a }) => [id, a])).toEqual([
      ["x", "9"],
      ["x", "10"],
      ["y", "9007199254740993"],
    ]);
  });

  it("refuses a table whose key is not unique, and the number of a row that no column declares", async () => {
    file = await openSqliteFile(`
      create table films (id integer, v text);
      create unique index some on films (id) where id > 5`);
    expect(await failureOf(read())).toMatchObject({
      kind: "stop",
      message: 'The key ("id") of films has no unique index.',
      hints: [expect.any(String), expect.stringContaining('create unique index "films_key" on "films" ("id");')],
    });
    expect(await failureOf(read(source({ key: "rowid" })))).toMatchObject({
      kind: "stop",
      message: "films has no column rowid, and SQLite may give its rows other numbers.",
    });
  });

  it("refuses views and virtual tables", async () => {
    file = await openSqliteFile(`
      create table f (id integer primary key, v text);
      create view films as select * from f;
      create virtual table search using fts5(v)`);
    expect(await failureOf(read())).toMatchObject({ kind: "stop", message: "films is a view, not a table." });
    expect(await failureOf(read(source({ table: "search" })))).toMatchObject({ kind: "stop" });
  });

  it("stops at a column of the key that holds 1 and '1'", async () => {
    file = await openSqliteFile(
      "create table films (id primary key, v text); insert into films values (1, 'a'), ('1', 'b')",
    );
    expect(await failureOf(read())).toMatchObject({
      kind: "stop",
      message: "The key column id of films holds values of two types.",
    });
  });

  it("reads keys that differ in case only, in the order of the index that tells them apart", async () => {
    file = await openSqliteFile(
      "create table films (id text collate nocase, v text); create unique index k on films (id collate binary)",
    );
    await file
      .run("insert into films select iif(value % 2, 'K', 'k') || (value / 2), value from generate_series(0, 4999)")
      .catch(() =>
        file.run(`
        with recursive n (i) as (select 0 union all select i + 1 from n where i < 4999)
        insert into films select iif(i % 2, 'K', 'k') || (i / 2), i from n`),
      );
    const ids = (await rowsOf()).map(({ id }) => id);
    expect([ids.length, new Set(ids).size]).toEqual([5_000, 5_000]);
  });

  it("continues in blobs as keys", async () => {
    file = await openSqliteFile(`
      create table films (id blob primary key, v text);
      insert into films values (x'01', 'a'), (x'02', 'b'), (x'0a', 'c')`);
    const { pages } = await read();
    expect(pages.flatMap(({ rows }) => rows).map(({ id }) => id)).toEqual(["\\x01", "\\x02", "\\x0a"]);
    const { ino, dev } = await stat(file.path, { bigint: true });
    const place = { file: `${dev}:${ino}`, of: { cursor: null, key: ["\\x02"], until: null } };
    const after = await read(source(), null, place);
    expect(after.pages.flatMap(({ rows }) => rows)).toEqual([{ id: "\\x0a", v: "c" }]);
  });
});

describe("a cursor of a SQLite table", () => {
  const times: readonly (readonly [string, string])[] = [
    ["datetime", "strftime('%Y-%m-%d %H:%M:%S', 'now', ?)"],
    ["ISO 8601", "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)"],
    ["Unix seconds", "unixepoch('now', ?)"],
    ["a date", "date('now', ?)"],
  ];
  for (const [title, value] of times)
    it(`reads only changes by ${title}`, async () => {
      file = await openSqliteFile(
        "create table films (id integer primary key, v text, at); create index films_at on films (at)",
      );
      await file.run(`insert into films values (1, 'old', ${value})`, ["-9 days"]);
      await file.run(`insert into films values (2, 'new', ${value})`, ["-1 seconds"]);
      const connector = source({ cursor: "at" });
      const { mark } = await read(connector);
      await file.run(`insert into films values (3, 'newer', ${value})`, ["+0 seconds"]);
      expect((await rowsOf(connector, mark)).map(({ v }) => v)).toEqual(["new", "newer"]);
    });

  it("reads all rows of another file that took the place of the first", async () => {
    file = await openSqliteFile(`
      create table films (id integer primary key, v text, at text);
      insert into films values (1, 'a', datetime('now', '-5 days')), (2, 'b', datetime('now'))`);
    const connector = source({ cursor: "at" });
    const { mark } = await read(connector);
    const copy = join(file.folder, "copy.db");
    await copyFile(file.path, copy);
    const other = createClient({ url: `file:${copy}` });
    await other.execute("update films set v = 'other' where id = 1");
    other.close();
    await rename(copy, file.path);
    expect((await rowsOf(connector, mark)).map(({ v }) => v)).toEqual(["other", "b"]);
  });

  it("refuses texts that are no times in UTC", async () => {
    file = await openSqliteFile(`
      create table films (id integer primary key, v text, at text);
      insert into films values (1, 'a', '2026-11-27T10:00:00+02:00')`);
    expect(await failureOf(read(source({ cursor: "at" })))).toMatchObject({
      kind: "stop",
      message: expect.stringContaining("at is a text that is no time in UTC"),
    });
  });

  it("keeps an overlap of whole numbers exact beyond 2^53", async () => {
    file = await openSqliteFile(`
      create table films (id integer primary key, v text, no integer);
      insert into films values (1, 'a', 9007199254740990), (2, 'b', 9007199254740992), (3, 'c', 9007199254740993)`);
    const connector = source({ cursor: "no", overlap: 1 });
    const { mark } = await read(connector);
    expect((await rowsOf(connector, mark)).map(({ v }) => v)).toEqual(["b", "c"]);
  });
});

describe("the file of a source", () => {
  it("is not changed by a reading, in each journal mode", async () => {
    file = await openSqliteFile(
      "create table films (id integer primary key, v text); insert into films values (1, 'a')",
    );
    for (const journal of ["delete", "wal"]) {
      await file.run(`pragma journal_mode = ${journal}`);
      const before = [await readFile(file.path), (await stat(file.path)).mtimeMs];
      expect(await rowsOf()).toEqual([{ id: "1", v: "a" }]);
      expect([await readFile(file.path), (await stat(file.path)).mtimeMs]).toEqual(before);
    }
  });

  it("cannot be changed by a condition of the config", async () => {
    file = await openSqliteFile(
      "create table films (id integer primary key, v text); insert into films values (1, 'a')",
    );
    const failure = await failureOf(read(source({ where: "1 = 1) limit 0); delete from films; --" })));
    expect(failure.kind).not.toBe("none");
    expect(await file.rows("select * from films")).toHaveLength(1);
  });

  it("is missing: the message says where it was looked for, and no file is made", async () => {
    file = await openSqliteFile();
    const path = join(file.folder, "none.db");
    expect(await failureOf(read(source({ url: `file:${path}` })))).toMatchObject({
      kind: "stop",
      message: `There is no file ${path}.`,
      hints: [expect.stringContaining(process.cwd())],
    });
    await expect(stat(path)).rejects.toThrow("ENOENT");
  });

  it("is not a database, or has no such table or column", async () => {
    file = await openSqliteFile("create table films (id integer primary key, v text)");
    expect(await failureOf(read(source({ table: "movies" })))).toMatchObject({ kind: "stop" });
    // In double quotes, SQLite takes a name that it does not know for a text.
    expect(await failureOf(read(source({ columns: ["titel"] })))).toMatchObject({
      kind: "stop",
      message: "films has no column titel.",
    });
    const path = join(file.folder, "text.db");
    await writeFile(path, "id,title\n1,Nosferatu\n".repeat(100));
    expect(await failureOf(read(source({ url: `file:${path}` })))).toMatchObject({
      kind: "stop",
      message: expect.stringContaining("it is not a complete SQLite database"),
    });
  });

  it("is replaced during a reading: the reading is tried again", async () => {
    file = await openSqliteFile(`
      create table films (id integer primary key, v text);
      with recursive n (i) as (select 1 union all select i + 1 from n where i < 500)
      insert into films select i, i from n`);
    const copy = join(file.folder, "copy.db");
    await copyFile(file.path, copy);
    const pages = source().rows({ since: null, place: null, signal });
    const first = async () => {
      for await (const page of pages) if (page.rows.length > 0) await rename(copy, file.path);
    };
    expect(await failureOf(first())).toMatchObject({
      kind: "again",
      message: expect.stringContaining("removed or replaced"),
    });
    // A place in the first file is none in the second.
    const { pages: again } = await read(source(), null, {
      file: "0:0",
      of: { cursor: null, key: ["400"], until: null },
    });
    expect(again.flatMap(({ rows }) => rows)).toHaveLength(500);
  });

  it("was left by a program that crashed in the middle of a write: a writer repairs it, and the reading continues", async () => {
    file = await openSqliteFile(`
      create table films (id integer primary key, v text);
      with recursive n (i) as (select 1 union all select i + 1 from n where i < 5000)
      insert into films select i, hex(randomblob(100)) from n`);
    const writer = fork(join(import.meta.dirname, "../support/sqlite-crash.mjs"), [file.path]);
    await once(writer, "exit");
    expect(await failureOf(read())).toMatchObject({
      kind: "again",
      message: `${file.path}: a program that wrote to it has crashed, and Rowmill only reads it.`,
    });
    await file.rows("select * from films limit 1");
    const rows = await rowsOf();
    expect([rows.length, rows.filter(({ v }) => String(v).startsWith("torn"))]).toEqual([5_000, []]);
  });

  it("is held by another program: the message says it, without the URL of a server or a token", async () => {
    file = await openSqliteFile("create table films (id integer primary key, v text)");
    await file.lock();
    expect(await failureOf(read())).toMatchObject({
      kind: "again",
      message: `${file.path}: another program has locked the database.`,
    });
    await file.unlock();
    const failure = await failureOf(read(source({ url: "libsql://user:geheim@127.0.0.1:1?tls=0&authToken=geheim" })));
    expect(failure.kind).toBe("again");
    expect(JSON.stringify([failure.message, failure.hints])).not.toContain("geheim");
  });
});
