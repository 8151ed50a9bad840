/** What the suite for sources does not ask of a table of MariaDB: types, keys, order, its options, and mistakes. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { mysql } from "../../src/connectors/mysql/mysql.js";
import type { MysqlSourceSpec } from "../../src/connectors/mysql/source.js";
import { ConnectorError, type Page } from "../../src/model/connector.js";
import type { Json } from "../../src/model/pipeline.js";
import { describeMariaDb } from "../support/describe-mariadb.js";
import { sharedMariaDb, startMariaDb, type MariaDatabase } from "../support/mariadb.js";
import { makeCertificate } from "../support/odd-servers.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const { signal } = new AbortController();

let database: MariaDatabase;

type SourceOptions = Partial<MysqlSourceSpec<string, string>>;

function source(options: SourceOptions = {}) {
  return mysql({ url: database.url, table: "films", key: "id", columns: ["title"], ...options }).elsewhere;
}

async function read(options: SourceOptions = {}, since: Json = null) {
  const pages = await all(source(options).rows({ since, place: null, signal }));
  const rows = pages.flatMap((page) => page.rows);
  return { pages, rows, mark: pages.findLast((page) => page.mark !== undefined)?.mark ?? null };
}

async function all(reading: AsyncIterable<Page>): Promise<Page[]> {
  const pages: Page[] = [];
  for await (const page of reading) pages.push(page);
  return pages;
}

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
  describe("as a source", describeReading);
  describe("as a source that refuses", describeRefusals);
});

/** Column type, SQL value, the text that is read. */
const TEXTS: readonly (readonly [string, string, string | null])[] = [
  ["tinyint(1)", "-2", "-2"],
  ["boolean", "true", "1"],
  ["bigint unsigned", "18446744073709551615", "18446744073709551615"],
  ["bigint", "-9223372036854775808", "-9223372036854775808"],
  ["int(8) unsigned zerofill", "7", "00000007"],
  [
    "decimal(65,30)",
    "12345678901234567890.100000000000000000000000000001",
    "12345678901234567890.100000000000000000000000000001",
  ],
  ["decimal(10,2)", "1.1", "1.10"],
  ["float", "1.1", "1.1"],
  ["float", "16777217.5", "16777218"],
  ["float", "1.1000001", "1.1000001"],
  ["double", "0.1e0 + 0.2e0", "0.30000000000000004"],
  ["datetime(6)", "'2024-02-29 23:59:59.000001'", "2024-02-29 23:59:59.000001"],
  ["datetime", "'0000-00-00 00:00:00'", "0000-00-00 00:00:00"],
  ["date", "'0000-00-00'", "0000-00-00"],
  ["date", "'2024-00-31'", "2024-00-31"],
  ["timestamp(6) null", "'2024-07-01 05:00:00.123456'", "2024-07-01 00:00:00.123456"],
  ["time(6)", "'-838:59:58.999999'", "-838:59:58.999999"],
  ["year", "1999", "1999"],
  ["json", `'{"n": 12345678901234567890, "a":1.10}'`, '{"n": 12345678901234567890, "a":1.10}'],
  ["bit(64)", "0xffffffffffffffff", "18446744073709551615"],
  ["bit(1)", "1", "1"],
  ["binary(4)", "x'00ff'", "00ff0000"],
  ["blob", "x'deadbeef'", "deadbeef"],
  ["varbinary(9)", "''", ""],
  ["char(9)", "'a  '", "a"],
  ["varchar(9)", "'a  '", "a  "],
  ["varchar(9) character set latin1", "'é'", "é"],
  ["varchar(40)", `'🎬 \\\\ \\'q\\' "d" 007'`, `🎬 \\ 'q' "d" 007`],
  ["enum('x','y')", "'y'", "y"],
  ["set('x','y')", "'x,y'", "x,y"],
  ["uuid", "'AACA7175-8eab-6111-810a-02fc00000001'", "aaca7175-8eab-6111-810a-02fc00000001"],
  ["inet6", "'::1'", "::1"],
  ["point", "point(1, 2.5)", "POINT(1 2.5)"],
  ["text", "null", null],
];

function describeReading(): void {
  it("gives each type's exact text", async () => {
    const columns = TEXTS.map(([type], index) => `c${index} ${type}`);
    await database.run(`create table films (id int primary key, ${columns.join(", ")})`);
    await database.run(`
      set sql_mode = '', time_zone = '+05:00';
      insert into films values (1, ${TEXTS.map(([, value]) => value).join(", ")})`);
    const { rows } = await read({ columns: TEXTS.map((_, index) => `c${index}`) });
    expect(TEXTS.map(([type], index) => [type, rows[0]?.[`c${index}`]])).toEqual(
      TEXTS.map(([type, , text]) => [type, text]),
    );
  });

  it("sets its own session, whatever the server's defaults are", async () => {
    await database.run("create table films (id varchar(40) primary key, title text)");
    await database.run("insert into films values (?, ?)", ["a\\'b\"", "c\\"]);
    await database.run("set global sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES', global time_zone = '+09:00'");
    try {
      const [place] = (await read()).pages.map((page) => page.place);
      expect(place).toMatchObject({ key: ["a\\'b\""] });
      const rest = await all(source().rows({ since: null, place: place ?? null, signal }));
      expect(rest.flatMap(({ rows }) => rows)).toEqual([]);
    } finally {
      await database.run("set global sql_mode = default, global time_zone = 'SYSTEM'");
    }
  });

  it.each([
    ["bigint unsigned", (n: number) => String(18_446_744_073_709_551_000n + BigInt(n))],
    ["bigint", (n: number) => String(-9_007_199_254_741_200n + BigInt(n))],
    ["decimal(40,10)", (n: number) => `900719925474099267.00000${String(n).padStart(4, "0")}1`],
    ["varchar(20) collate utf8mb4_general_ci", (n: number) => `${n % 2 === 0 ? "KEY" : "key"} ${n}`],
    ["varchar(20) character set latin1", (n: number) => `é${n}`],
    ["binary(4)", (n: number) => n.toString(16).padStart(8, "0")],
    ["datetime(6)", (n: number) => `2024-01-01 00:00:00.${String(n).padStart(6, "0")}`],
    ["date", (n: number) => new Date(n * 86_400_000).toISOString().slice(0, 10)],
    ["bit(16)", String],
    ["uuid", (n: number) => `aaca7175-8eab-6111-810a-02fc0000${String(n).padStart(4, "0")}`],
  ])("reads each row once by a key of type %s", async (type, keyOf) => {
    const keys = Array.from({ length: 250 }, (_, n) => keyOf(n));
    await database.run(`create table films (id ${type} primary key, title text)`);
    const value = type.startsWith("binary") ? "unhex(?)" : type.startsWith("bit") ? "cast(? as unsigned)" : "?";
    await database.run(`insert into films (id) values ${keys.map(() => `(${value})`).join(", ")}`, keys);
    const { rows, pages } = await read();
    expect(pages.length).toBeGreaterThan(1);
    expect(rows.map(({ id }) => String(id)).toSorted()).toEqual(keys.toSorted());
  });

  it("reads each row once by a key of several columns", async () => {
    await database.run("create table films (y date, n decimal(9,2), s varbinary(9), t text, primary key (y, n, s))");
    const keys = Array.from({ length: 250 }, (_, n) => [`2024-01-0${1 + (n % 3)}`, `${n % 7}.50`, `a${n}`]);
    await database.run("insert into films (y, n, s) values ?", [keys]);
    const { rows } = await read({ key: ["y", "n", "s"], columns: ["t"] });
    expect(new Set(rows.map((row) => JSON.stringify(row))).size).toBe(250);
    expect(rows.length).toBe(250);
  });

  it("finds a key again that differs only in case, as another row", async () => {
    await database.run("create table films (id varchar(20) collate utf8mb4_general_ci primary key, title text)");
    await database.run("insert into films values ('Alien', 'a')");
    expect((await read()).rows).toEqual([{ id: "Alien", title: "a" }]);
    await database.run("update films set id = 'ALIEN'");
    expect((await read()).rows).toEqual([{ id: "ALIEN", title: "a" }]);
  });

  it("finds a row whose number was taken earlier than others', and committed later", async () => {
    await database.run("create table films (id bigint auto_increment primary key, title text)");
    const late = await database.connect();
    await late.query("start transaction; insert into films (title) values ('late')");
    await database.run("insert into films (title) values ('early')");
    const first = await read({ cursor: "id" });
    expect(first.rows).toEqual([{ id: "2", title: "early" }]);
    await late.query("commit");
    await late.end();
    const ids = (await read({ cursor: "id" }, first.mark)).rows.map(({ id }) => id);
    expect(ids).toEqual(["1", "2"]);
    // With no overlap only the reading of all rows finds it.
    expect((await read({ cursor: "id", overlap: 0 }, first.mark)).rows.map(({ id }) => id)).toEqual(["2"]);
  });

  it("gives nothing after a TRUNCATE or a delete by a foreign key, in a reading of all rows", async () => {
    await database.run(`
      create table studios (id int primary key);
      create table films (id int primary key, title text, studio int,
        foreign key (studio) references studios (id) on delete cascade);
      insert into studios values (1), (2);
      insert into films values (1, 'a', 1), (2, 'b', 2)`);
    expect((await read()).rows.length).toBe(2);
    await database.run("delete from studios where id = 1");
    expect((await read()).rows).toEqual([{ id: "2", title: "b" }]);
    await database.run("truncate films");
    expect((await read()).rows).toEqual([]);
  });

  it("reads all rows again after the newest value went back, as after a restore", async () => {
    await database.run("create table films (id int primary key, title text, no bigint unsigned, index (no))");
    await database.run("insert into films values (1, 'a', 5), (2, 'b', 90000)");
    const { mark } = await read({ cursor: "no" });
    await database.run("delete from films where id = 2");
    expect((await read({ cursor: "no" }, mark)).rows.map(({ id }) => id)).toEqual(["1"]);
  });

  it("bounds a page by its bytes, also where small rows come before large ones", async () => {
    await database.run("create table films (id int primary key, title longtext)");
    await database.run("insert into films select seq, 'x' from seq_1_to_300");
    await database.run("insert into films select seq, repeat('y', 1000000) from seq_301_to_340");
    const { pages, rows } = await read();
    expect(rows.length).toBe(340);
    const bytes = pages.map((page) => page.rows.reduce((sum, { title }) => sum + String(title).length, 0));
    expect(Math.max(...bytes)).toBeLessThan(10_000_000);
  });

  it("leaves out rows without a key, and those that `where` does not select", async () => {
    await database.run("create table films (id int unique, title text)");
    await database.run("insert into films values (null, 'a'), (1, 'b'), (2, 'c')");
    expect((await read({ where: "title <> 'c' or title is null" })).rows).toEqual([{ id: "1", title: "b" }]);
  });
}

function describeRefusals(): void {
  beforeEach(() => database.run("create table films (id int primary key, title text, f float unique, p text)"));

  it.each<[string, SourceOptions, RegExp]>([
    ["a table that is not there", { table: "nothing" }, /no table nothing/],
    ["a view", { table: "old_films" }, /old_films is a view/],
    ["a column that is not there", { columns: ["titel"] }, /no column "titel"/],
    ["a key without a unique index", { key: "title" }, /no unique index on its key/],
    ["a key with an index of its beginning", { key: "p" }, /no unique index on its key/],
    ["a key of a type without an order in its texts", { key: "f" }, /type float/],
    ["a cursor of text", { cursor: "title" }, /A cursor grows/],
    ["a duration for a cursor of numbers", { cursor: "id", overlap: "5m" }, /whole number of 0 or more/],
    ["a URL without a database", { url: "mysql://a:hunter22@127.0.0.1" }, /names no database/],
    ["another URL", { url: "postgres://a:hunter22@b/c" }, /not a mysql:/],
    ["no URL", { url: undefined }, /no url/],
    ["an unknown way to use TLS", { url: "mysql://a:hunter22@b/c?ssl-mode=PREFERRED" }, /ssl-mode must be/],
  ])("stops for %s", async (_title, options, message) => {
    await database.run("create view old_films as select * from films; alter table films add unique index (p(10))");
    const error = await failureOf(read(options));
    expect(error).toMatchObject({ kind: "stop", message: expect.stringMatching(message) });
    expect(inspect(error, { depth: 9 })).not.toContain("hunter22");
  });

  it("says where it is without the password when it cannot be reached", async () => {
    const { port } = new URL(database.url);
    const urls = ["mysql://u:hunter22@127.0.0.1:1/shop", `mysql://nobody:hunter22@127.0.0.1:${port}/shop`];
    for (const url of urls) {
      const error = await failureOf(read({ url }));
      expect(error).toMatchObject({ kind: "again", message: expect.stringContaining(new URL(url).host) });
      expect(inspect(error, { depth: 9 })).not.toContain("hunter22");
    }
  });

  it("verifies the certificate, by default or by an authority that the URL names", { timeout: 120_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "rowmill-test-mysql-tls-"));
    const { key, cert } = await makeCertificate(folder, "shop", "localhost");
    const files = ["--ssl-cert=FOLDER/cert", "--ssl-key=FOLDER/key"];
    const server = await startMariaDb(files, { key, cert });
    const other = await makeCertificate(folder, "other");
    await writeFile(join(folder, "other.pem"), other.cert);
    const shop = await server.createDatabase();
    try {
      await shop.run("create table films (id int primary key, title text); insert into films values (1, 'a')");
      const ca = `ssl-ca=${join(folder, "shop.crt")}`;
      const named = shop.url.replace("127.0.0.1", "localhost");
      const urls = {
        "no TLS on this machine": shop.url,
        "any certificate": `${shop.url}?ssl-mode=REQUIRED`,
        "its authority and name": `${named}?ssl-mode=VERIFY_IDENTITY&${ca}`,
        "its authority": `${shop.url}?ssl-mode=VERIFY_CA&${ca}`,
      };
      for (const url of Object.values(urls)) expect((await read({ url })).rows).toHaveLength(1);
      for (const url of [
        `${named}?ssl-mode=VERIFY_IDENTITY`,
        `${shop.url}?ssl-mode=VERIFY_IDENTITY&${ca}`,
        `${shop.url}?ssl-mode=VERIFY_CA&ssl-ca=${join(folder, "other.pem")}`,
        `${named}?ssl-mode=VERIFY_IDENTITY&ssl-ca=${join(folder, "other.pem")}`,
        `${shop.url}?ssl-mode=REQUIRED&ssl-ca=${join(folder, "nothing.pem")}`,
      ])
        expect(await failureOf(read({ url }))).toMatchObject({ kind: "stop" });
      const none = await failureOf(read({ url: `${database.url}?ssl-mode=REQUIRED` }));
      expect(none).toMatchObject({ kind: "stop", hints: [expect.stringContaining("ssl-mode=DISABLED")] });
    } finally {
      await shop.drop();
      await server.stop();
      await rm(folder, { recursive: true });
    }
  });

  it("ends its call when it is stopped, even if no one answers any more", async () => {
    const proxy = await startTcpProxy(Number(new URL(database.url).port));
    const stop = new AbortController();
    const reading = source({ url: proxy.through(database.url) }).rows({
      since: null,
      place: null,
      signal: stop.signal,
    });
    proxy.stall();
    setImmediate(() => stop.abort());
    const error = await failureOf(all(reading));
    expect(error).toMatchObject({ kind: "again", message: expect.stringContaining("was stopped") });
    await proxy.close();
  });
}
