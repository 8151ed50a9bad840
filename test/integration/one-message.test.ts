/**
 * Statements that go out with their begin and their commit: each does what it would do with parameters, in a
 * transaction of three messages.
 */
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import {
  asItStands,
  inOneMessage,
  openDatabase,
  raw,
  sql,
  type Database,
  type Sql,
} from "../../src/postgres/database.js";
import { createDatabase, describeDatabases, type TestDatabase } from "../support/databases.js";

const texts = ["it's", "back\\slash \\' E'", "$1 and ${2}; commit; --", "two\nlines", "ä€😀", "", 'a "name"'];
const values: readonly [string, string | number | null | number[]][] = [
  ...texts.map((text): [string, string] => ["text", text]),
  ["text", null],
  ["int", 7],
  ["float8", -0.125],
  ["int[]", [1, -2]],
  ["int[]", []],
];

describeDatabases("A statement in one message", (kind) => {
  let testDatabase: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    testDatabase = await createDatabase(kind);
    database = openDatabase({ connectionString: testDatabase.url, ssl: false }, { poolMax: 1 });
    await database.run(raw("create table public.words (word text primary key)"));
  });
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });
  beforeEach(() => database.run(raw("delete from public.words")));

  const words = () => database.rows(sql`select word from public.words order by word`);
  const add = (word: string): Sql => sql`insert into public.words values (${word}), (${`${word}!`})`;

  it("takes its values as parameters are taken", async () => {
    for (const [type, value] of values) {
      const statement = () => sql`select ${value}::${raw(type)} as value, ${value}::${raw(type)} is null as none`;
      const expected = await database.rows(statement());
      expect(await database.rows(inOneMessage(statement()))).toEqual(expected);
      expect(await database.first(asItStands(statement()))).toEqual(expected[0]);
    }
  });

  it("is refused with a value that would have to be guessed, before it is sent", async () => {
    for (const value of [new Date(), Buffer.from("a"), ["a"], { a: 1 }, undefined, NaN, "nul\0"])
      await expect(database.first(inOneMessage(sql`select ${value} as value`))).rejects.toMatchObject({
        code: "internal",
      });
  });

  it("has the settings of every transaction, whatever the role's are, and leaves none behind", async () => {
    const settings = sql`select current_setting('search_path') as path, current_setting('TimeZone') as zone,
      current_setting('transaction_isolation') as isolation`;
    await database.pool.query(
      `set search_path = public; set "TimeZone" = 'Asia/Tokyo'; set default_transaction_isolation = serializable`,
    );
    const pinned = { path: "pg_catalog, pg_temp", zone: "UTC", isolation: "read committed" };
    expect(await database.first(inOneMessage(settings))).toEqual(pinned);
    const { rows } = await database.pool.query(settings.text);
    expect(rows).toEqual([{ path: "public", zone: "Asia/Tokyo", isolation: "serializable" }]);
    await database.pool.query("reset all");
  });

  it("commits what it writes, and says how many rows it wrote", async () => {
    expect(await database.run(inOneMessage(add("one")))).toBe(2);
    expect(await words()).toEqual([{ word: "one" }, { word: "one!" }]);
  });

  it("rolls back when it fails, explains why, and leaves a connection that works", async () => {
    await database.run(sql`insert into public.words values ('one!')`);
    await expect(database.run(inOneMessage(add("one")))).rejects.toMatchObject({
      code: "database_refused",
      sqlState: "23505",
    });
    await expect(database.run(inOneMessage(sql`no statement`))).rejects.toMatchObject({ sqlState: "42601" });
    await expect(database.run(asItStands(sql`select pg_catalog.now() / 0`))).rejects.toMatchObject({
      sqlState: "42883",
    });
    expect(await words()).toEqual([{ word: "one!" }]);
  });

  it("is part of a transaction that is open", async () => {
    const work = database.transaction(async (tx) => {
      await tx.run(inOneMessage(add("one")));
      throw new Error("a test");
    });
    await expect(work).rejects.toThrow("a test");
    expect(await words()).toEqual([]);
  });
});
