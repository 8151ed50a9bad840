/** What the suite for targets does not ask of a table of MariaDB: types, keys, locks, mistakes, rights, the doctor. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { mysql } from "../../src/connectors/mysql/mysql.js";
import type { MysqlSourceSpec } from "../../src/connectors/mysql/source.js";
import type { MysqlTargetOptions } from "../../src/connectors/mysql/target.js";
import { ConnectorError, type Change, type TargetConnector } from "../../src/model/connector.js";
import type { AnswerColumn } from "../../src/model/answer/answer-columns.js";
import type { Json } from "../../src/model/pipeline.js";
import { describeMariaDb } from "../support/describe-mariadb.js";
import { sharedMariaDb, type MariaDatabase } from "../support/mariadb.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const { signal } = new AbortController();

let database: MariaDatabase;

async function failureOf(work: Promise<unknown>): Promise<ConnectorError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof ConnectorError) return error;
  throw new Error("It did not fail as a ConnectorError.", { cause: error });
}

describeMariaDb(() => {
  beforeAll(() => void sharedMariaDb(), 120_000);
  beforeEach(async () => void (database = await (await sharedMariaDb()).createDatabase()));
  afterEach(() => database.drop());
  describe("as a target", describeWriting);
  describe("as a target that is checked", describePreparing);
  describe("for the doctor", describeDoctor);
});

const FIELDS: readonly AnswerColumn[] = [
  { field: "label", type: "text", nullable: true, check: null },
  { field: "score", type: "bigint", nullable: true, check: null },
];

function target(options: Partial<MysqlTargetOptions> = {}): TargetConnector {
  return mysql({ url: database.url, table: "labels", ...options });
}

async function prepared(options: Partial<MysqlTargetOptions> = {}, fields = FIELDS): Promise<TargetConnector> {
  const connector = target(options);
  await connector.prepare({ pipeline: "films", fields, signal: new AbortController().signal });
  return connector;
}

function write(connector: TargetConnector, ...changes: Change[]) {
  return connector.write(changes, { pipeline: "films", id: "1", signal });
}

function answer(key: string, fence: number, label: Json = "good", score: Json = 1): Change {
  return { key, fence: String(fence), model: "model-1", cells: { label, score } };
}

const NOTHING = { written: [], stale: [], changed: [], busy: [], failed: [] };

function describeWriting(): void {
  it("holds each type of answer, and null after it was erased", async () => {
    const fields: AnswerColumn[] = [
      { field: "t", type: "text", nullable: true, check: ["x", "y"] },
      { field: "n", type: "bigint", nullable: true, check: null },
      { field: "d", type: "double precision", nullable: true, check: null },
      { field: "b", type: "boolean", nullable: true, check: null },
      { field: "l", type: "text[]", nullable: true, check: null },
      { field: "j", type: "jsonb", nullable: true, check: null },
    ];
    const connector = await prepared({}, fields);
    const cells = { t: "x", n: 9_007_199_254_740_991, d: 0.1, b: true, l: ["a", "🎬\\'"], j: { a: [1] } };
    await write(connector, { key: "k", fence: "1", model: "m", cells });
    const rows = () => database.rows("select t, n, d, b, l, j, rowmill_model as m from labels");
    expect(await rows()).toEqual([
      { t: "x", n: 9_007_199_254_740_991, d: 0.1, b: 1, l: ["a", "🎬\\'"], j: { a: [1] }, m: "m" },
    ]);
    await write(connector, { key: "k", fence: "2", deleted: true });
    expect(await rows()).toEqual([{ t: null, n: null, d: null, b: null, l: null, j: null, m: null }]);
  });

  it("keeps two keys apart that differ in case or by a space, in a table that it made", async () => {
    const connector = await prepared();
    const keys = ["a", "A", "a ", "ä"];
    expect((await write(connector, ...keys.map((key) => answer(key, 1, key)))).written.length).toBe(4);
    expect(await database.rows("select `key` from labels where `key` = label")).toHaveLength(4);
  });

  it("fails a key that is equal to another one for the table, and does not overwrite that one", async () => {
    await database.run("create table labels (`key` varchar(20) collate utf8mb4_general_ci primary key)");
    const connector = await prepared({ addColumns: true });
    expect(await write(connector, answer("A", 1, "first"))).toEqual({ ...NOTHING, written: ["A"] });
    const said = await write(connector, answer("a", 2, "second"));
    expect(said).toEqual({
      ...NOTHING,
      failed: [{ key: "a", reason: expect.stringContaining("equal key in another spelling") }],
    });
    expect(await database.rows("select `key`, label from labels")).toEqual([{ key: "A", label: "first" }]);
  });

  it("does not overwrite the row that another unique index finds", async () => {
    await database.run("create table labels (`key` varchar(20) primary key, label varchar(20) unique)");
    const connector = await prepared({ addColumns: true });
    await write(connector, answer("a", 1, "one"), answer("b", 1, "two"));
    expect(await write(connector, answer("c", 2, "one"))).toMatchObject({ written: [], failed: [{ key: "c" }] });
    expect(await write(connector, answer("b", 2, "one"))).toMatchObject({ written: [], failed: [{ key: "b" }] });
    expect(await database.rows("select `key`, label from labels")).toEqual([
      { key: "a", label: "one" },
      { key: "b", label: "two" },
    ]);
  });

  it("fails what a strict table refuses, also where the server's own mode would cut it", async () => {
    await database.run(
      `create table labels (
        \`key\` int primary key, label varchar(5) character set utf8mb3, score tinyint, check (score < 9))`,
    );
    await database.run("set global sql_mode = ''");
    try {
      const connector = await prepared({ addColumns: true });
      const said = await write(
        connector,
        answer("1", 1, "too long"),
        answer("2", 1, "🎬"),
        answer("3", 1, "fine", 300),
        answer("4", 1, "fine", 9),
        answer("x", 1, "fine"),
        answer("6", 1, "fine"),
      );
      expect(said.written).toEqual(["6"]);
      expect(said.failed.map(({ key }) => key).toSorted()).toEqual(["1", "2", "3", "4", "x"]);
      expect(await database.rows("select `key` from labels")).toEqual([{ key: 6 }]);
    } finally {
      await database.run("set global sql_mode = default");
    }
  });

  it("leaves out rows that others hold, and rows that others are inserting", async () => {
    const connector = await prepared();
    await write(connector, answer("a", 1), answer("b", 1));
    const other = await database.connect();
    await other.query("start transaction; select * from labels where `key` = 'a' for update");
    await other.query("insert into labels (`key`) values ('c')");
    const said = await write(connector, answer("a", 2), answer("b", 2), answer("c", 2), answer("d", 2));
    expect({ ...said, busy: said.busy.toSorted() }).toEqual({ ...NOTHING, written: ["b", "d"], busy: ["a", "c"] });
    await other.query("rollback");
    await other.end();
    expect((await write(connector, answer("a", 2), answer("c", 2))).written).toEqual(["a", "c"]);
  });

  it("names rows busy or writes them, when a transaction of yours deadlocks with it", async () => {
    await database.run(`
      create table counts (id int primary key, n int);
      insert into counts values (1, 0)`);
    const connector = await prepared();
    await write(connector, answer("a", 1), answer("b", 1));
    await database.run(
      "create trigger counted before update on labels for each row update counts set n = n + 1 where id = 1",
    );
    const other = await database.connect();
    await other.query("start transaction; update counts set n = n + 1");
    const writing = write(connector, answer("a", 2), answer("b", 2));
    const grabbing = other.query("update labels set label = 'mine' where `key` = 'a'").catch(() => undefined);
    const said = await writing;
    await grabbing;
    await other.query("rollback");
    await other.end();
    expect([...said.written, ...said.busy].toSorted()).toEqual(["a", "b"]);
    expect(said.failed).toEqual([]);
  });

  it("fails the row that a trigger refuses, and one that a trigger changes", async () => {
    const connector = await prepared();
    await database.run(
      `
      create trigger judge before insert on labels for each row begin not atomic
        if new.label = 'bad' then signal sqlstate '45000' set message_text = 'no bad labels'; end if;
        if new.label = 'odd' then set new.rowmill_fence_films = null; end if;
      end`.replace("begin not atomic", "begin"),
    );
    const said = await write(connector, answer("a", 1), answer("b", 1, "bad"), answer("c", 1, "odd"));
    expect(said.written).toEqual(["a"]);
    expect(said.failed.toSorted((a, b) => (a.key < b.key ? -1 : 1))).toEqual([
      { key: "b", reason: "no bad labels" },
      { key: "c", reason: expect.stringContaining("a trigger") },
    ]);
  });

  it("takes the same write again after the reply to the commit was lost", async () => {
    const proxy = await startTcpProxy(Number(new URL(database.url).port));
    const connector = await prepared({ url: proxy.through(database.url) });
    const lost = proxy.loseReplyTo(/\bcommit$/);
    expect(await failureOf(write(connector, answer("a", 1)))).toMatchObject({ kind: "again" });
    await lost;
    const rows = () => database.rows("select label, rowmill_at from labels");
    const after = await rows();
    expect(after).toMatchObject([{ label: "good" }]);
    await connector.prepare({ pipeline: "films", fields: FIELDS, signal });
    expect(await write(connector, answer("a", 1))).toEqual({ ...NOTHING, written: ["a"] });
    expect(await rows()).toEqual(after);
    await proxy.close();
  });

  it("may have a key of several columns", async () => {
    const connector = target({ key: ["a", "b"] });
    await connector.prepare({ pipeline: "films", fields: FIELDS, signal });
    const key = JSON.stringify(["x", "1"]);
    expect(await write(connector, answer(key, 1))).toEqual({ ...NOTHING, written: [key] });
    expect(await write(connector, answer(key, 2, "newer"))).toEqual({ ...NOTHING, written: [key] });
    expect(await database.rows("select a, b, label from labels")).toEqual([{ a: "x", b: "1", label: "newer" }]);
  });
}

function describePreparing(): void {
  it("is made once by workers that begin together, and gets what a second pipeline needs", async () => {
    await Promise.all(Array.from({ length: 6 }, () => prepared()));
    const more: AnswerColumn = { field: "more", type: "text", nullable: true, check: null };
    await Promise.all(
      ["films", "books"].flatMap((pipeline) =>
        [1, 2].map(() =>
          target().prepare({ pipeline, fields: [...FIELDS, more], signal: new AbortController().signal }),
        ),
      ),
    );
    const columns = await database.rows<{ name: string; type: string }>(
      "select column_name as name, column_type as type from information_schema.columns where table_schema = database()",
    );
    expect(Object.fromEntries(columns.map(({ name, type }) => [name, type]))).toEqual({
      key: "varchar(700)",
      label: "longtext",
      score: "bigint(20)",
      more: "longtext",
      rowmill_at: "datetime(6)",
      rowmill_model: "varchar(255)",
      rowmill_fence_films: "bigint(20)",
      rowmill_fence_books: "bigint(20)",
    });
  });

  it.each<[string, string, RegExp]>([
    ["lacks columns", "`key` int primary key", /lacks columns/],
    ["has no unique key", "`key` int, label text, score int, rowmill_fence_films bigint", /no unique index/],
    ["has a column of an unfit type", "`key` int primary key, label int, score int, rowmill_fence_films bigint", /int/],
    [
      "needs a value that no answer has",
      "`key` int primary key, label text, score int, rowmill_fence_films bigint, owner int not null",
      /needs a value of "owner"/,
    ],
    [
      "has an answer's column without null",
      "`key` int primary key, label text not null, score int, rowmill_fence_films bigint",
      /must allow null/,
    ],
    [
      "has a key of an unfit type",
      "`key` date primary key, label text, score int, rowmill_fence_films bigint",
      /whole number, text or uuid/,
    ],
    [
      "computes an answer's column",
      "`key` int primary key, label text as ('x'), score int, rowmill_fence_films bigint",
      /generated column/,
    ],
  ])("stops where the table %s", async (_title, columns, message) => {
    await database.run(`create table labels (${columns})`);
    expect(await failureOf(prepared())).toMatchObject({ kind: "stop", message: expect.stringMatching(message) });
  });

  it("stops for a table without transactions", async () => {
    await database.run("create table labels (`key` int primary key) engine = MyISAM");
    const error = await failureOf(prepared({ addColumns: true }));
    expect(error).toMatchObject({ kind: "stop", hints: [expect.stringContaining("engine = InnoDB")] });
  });
}

type SourceOptions = Partial<MysqlSourceSpec<string, string>>;

function source(options: SourceOptions = {}) {
  return mysql({ url: database.url, table: "films", key: "id", columns: ["title"], ...options }).elsewhere;
}

function describeDoctor(): void {
  const findings = async (connector: { diagnose?: TargetConnector["diagnose"] }) =>
    (await connector.diagnose?.({ pipeline: "films", fields: FIELDS, signal })) ?? [];

  it("finds no fault in a source and a target that are well", async () => {
    await database.run(
      "create table films (id int primary key, title text, at timestamp not null default now(), index (at))",
    );
    await database.run("insert into films (id, title) select seq, 'x' from seq_1_to_5000");
    const of = async (options: SourceOptions) => (await source(options).diagnose?.({ signal })) ?? [];
    const found = [...(await of({ cursor: "at" })), ...(await findings(target()))];
    expect(found.filter(({ level }) => level !== "ok")).toEqual([]);
    expect(found.map(({ text }) => text).join("\n")).toMatch(/is MariaDB 10[^]*rows?, so a reading[^]*creates/);
  });

  it("names a cursor without an index, and a user without rights", async () => {
    await database.run("create table films (id int primary key, title text, at datetime)");
    const cursor = await source({ cursor: "at" }).diagnose?.({ signal });
    expect(cursor?.filter(({ level }) => level === "warning").map(({ text }) => text)).toEqual([
      expect.stringContaining("no index"),
      expect.stringContaining("may be null"),
      expect.stringContaining("no time zone"),
    ]);
    const user = `reader_${new URL(database.url).pathname.slice(1)}`;
    const url = database.url.replace("//rowmill:", `//${user}:`);
    const name = new URL(database.url).pathname.slice(1);
    await database.run(`create user ${user}@'%' identified by 'pass-word'; grant select on ${name}.* to ${user}@'%'`);
    try {
      await prepared();
      const found = await findings(target({ url }));
      expect(found.filter(({ level }) => level === "problem")).toEqual([
        expect.objectContaining({ sql: [expect.stringMatching(/^grant select, insert, update on .* to /)] }),
      ]);
      expect((await findings(target({ url, table: "others" }))).at(-1)?.text).toContain("may not create");
      expect(await failureOf(prepared({ url, table: "others" }))).toMatchObject({ kind: "stop" });
    } finally {
      await database.run(`drop user ${user}@'%'`);
    }
  });
}
