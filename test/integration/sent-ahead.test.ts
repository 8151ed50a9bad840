/** Statements that go out with the next one: in order, each under its own path, and none fails unseen. */
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { bisect } from "../../src/postgres/bisect.js";
import { boundedRead } from "../../src/postgres/bounded-read.js";
import {
  openDatabase,
  raw,
  sentAhead,
  sql,
  underRolePath,
  type Database,
  type Queryable,
} from "../../src/postgres/database.js";
import { createDatabase, describeDatabases, type TestDatabase } from "../support/databases.js";

describeDatabases("A statement that is sent ahead", (kind) => {
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

  const words = async () => {
    const rows = await database.rows<{ word: string }>(sql`select word from public.words order by word`);
    return rows.map(({ word }) => word);
  };
  const count = (tx: Queryable) => tx.first(sql`select count(*)::int as n from public.words`);
  const add = (word: string) => sentAhead(sql`insert into public.words values (${word})`);
  /** Without a parameter it shares its message with its neighbours. */
  const addPlain = (word: string) => sentAhead(raw(`insert into public.words values ('${word}')`));
  const wrong = sentAhead(raw("insert into public.words values (1 / 0)"));
  const wrongWithParameter = sentAhead(sql`insert into public.words values (1 / ${0}::int)`);

  it("has taken effect when the next one is answered, in the order of asking", async () => {
    const seen = await database.transaction(async (tx) => {
      await tx.run(addPlain("a"));
      await tx.run(add("b"));
      await tx.run(addPlain("c"));
      await tx.run(sentAhead(sql`update public.words set word = word || word where word > ${"a"}`));
      return count(tx);
    });
    expect(seen).toEqual({ n: 3 });
    expect(await words()).toEqual(["a", "bb", "cc"]);
  });

  it("goes with the begin and the first statement in one unit, of which nothing is done once the begin failed", async () => {
    const client = await database.pool.connect();
    const answered: string[] = [];
    const note = () => void answered.push("ready");
    client.connection.on("readyForQuery", note);
    client.release();
    await database.transaction(async (tx) => {
      await tx.run(sentAhead(raw("savepoint before")));
      await tx.run(sql`insert into public.words values (${"one"})`);
      expect(answered).toEqual(["ready"]);
    });
    client.connection.off("readyForQuery", note);
    expect(await words()).toEqual(["one"]);
  });

  it("is committed where nothing comes after it", async () => {
    await database.transaction((tx) => tx.run(add("only")));
    expect(await words()).toEqual(["only"]);
  });

  it.each([
    ["in one message with others", wrong],
    ["in a message of its own", wrongWithParameter],
  ])("that fails %s is what the next one throws, and nothing is left of the transaction", async (_, one) => {
    const failed = database.transaction(async (tx) => {
      await tx.run(addPlain("before"));
      await tx.run(one);
      await tx.run(add("after"));
      await count(tx);
    });
    await expect(failed).rejects.toMatchObject({ sqlState: "22012" });
    expect(await words()).toEqual([]);
  });

  it.each([
    ["in one message with the commit", wrong],
    ["in a message of its own", wrongWithParameter],
  ])("that fails %s is what the commit throws", async (_, one) => {
    const failed = database.transaction(async (tx) => {
      await count(tx);
      await tx.run(addPlain("before"));
      await tx.run(one);
    });
    await expect(failed).rejects.toMatchObject({ sqlState: "22012" });
    expect(await words()).toEqual([]);
  });

  it("is not sent where the work fails before the next one", async () => {
    const failed = database.transaction(async (tx) => {
      await tx.run(add("before"));
      throw new Error("The work failed.");
    });
    await expect(failed).rejects.toThrow("The work failed.");
    expect(await words()).toEqual([]);
  });

  it.skipIf(kind === "embedded")(
    "fails the whole transaction where the begin before it failed, also after a read that may take too much" +
      (kind === "embedded" ? " (skipped: needs a server, which parses a whole message before it runs the begin)" : ""),
    async () => {
      const hurried = openDatabase({ connectionString: testDatabase.url, ssl: false, statement_timeout: 2 });
      // The server parses the whole message before its first statement, the begin: by then the time is over.
      const long = raw(`select pg_catalog.length('${"x".repeat(16_000_000)}')`);
      const failed = hurried.transaction(async (tx) => {
        await boundedRead(tx, 5_000, () => tx.first(long));
        await tx.run(sql`insert into public.words values (${"outside"})`);
      });
      await expect(failed).rejects.toMatchObject({ sqlState: "57014" });
      await hurried.close();
      expect(await words()).toEqual([]);
    },
  );

  it("is not followed by a rollback where nothing was sent", async () => {
    const client = await database.pool.connect();
    const answered: string[] = [];
    const note = () => void answered.push("ready");
    client.connection.on("readyForQuery", note);
    client.release();
    const failed = database.transaction(async (tx) => {
      await tx.run(add("before"));
      throw new Error("The work failed.");
    });
    await expect(failed).rejects.toThrow("The work failed.");
    client.connection.off("readyForQuery", note);
    expect(answered).toEqual([]);
  });

  it("leaves savepoints as they were: what fails inside is undone, what comes after it counts", async () => {
    const bad: string[] = [];
    await database.transaction(async (tx) => {
      await bisect(
        tx,
        ["1", "0", "2"],
        async (parts) => {
          for (const part of parts) {
            await tx.run(sql`insert into public.words values (10 / ${part}::int)`);
          }
        },
        async (item) => void bad.push(item),
      );
      const tooMuch = await boundedRead(tx, 5_000, () => tx.first(sql`select repeat('x', 1200000000)`));
      expect(tooMuch).toBeNull();
      expect(await boundedRead(tx, 5_000, () => count(tx))).toEqual({ n: 2 });
      await tx.run(add("last"));
    });
    expect(bad).toEqual(["0"]);
    expect(await words()).toEqual(["10", "5", "last"]);
  });

  it("runs under its own path, whatever runs before and after it", async () => {
    const path = () => sql`select pg_catalog.current_setting('search_path') as path`;
    const roles = await database.first<{ path: string }>(underRolePath(path()));
    const pinned = { path: "pg_catalog, pg_temp" };
    expect(roles).not.toEqual(pinned);
    const seen = await database.transaction(async (tx) => {
      await tx.run(
        sentAhead(underRolePath(sql`insert into public.words values (pg_catalog.current_setting('search_path'))`)),
      );
      const first = await tx.first(path());
      await tx.run(
        sentAhead(sql`update public.words set word = word || ${" then "} || current_setting('search_path')`),
      );
      return [first, await tx.first(underRolePath(path()))];
    });
    expect(seen).toEqual([pinned, roles]);
    expect(await words()).toEqual([`${roles?.path} then ${pinned.path}`]);
  });
});
