/** What the suite for sources does not ask of a table of another PostgreSQL: its options, types, and mistakes. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connectionOptions } from "../../src/config/database/connection.js";
import { readPages } from "../../src/connectors/postgres/read-pages.js";
import { postgresSource } from "../../src/connectors/postgres/source.js";
import type { ReadTable } from "../../src/connectors/reading/table-spec.js";
import type { Page } from "../../src/model/connector.js";
import { pipeline, z } from "../../src/index.js";
import { openDatabase, raw, sql, type Database } from "../../src/postgres/database.js";
import { createDatabase, databaseKinds, type TestDatabase } from "../support/databases.js";
import { startProject } from "../support/project.js";

const signal = new AbortController().signal;
const servers = databaseKinds.filter((kind) => kind !== "embedded");

describe.each(servers)("A table of another PostgreSQL on %s", (kind) => {
  let elsewhere: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    elsewhere = await createDatabase(kind);
    const address = { kind: "server", url: elsewhere.url } as const;
    database = openDatabase(connectionOptions(address, { tls: { mode: "disable", rootCertFile: null } }));
  });
  afterAll(async () => {
    await database.close();
    await elsewhere.drop();
  });
  beforeEach(async () => {
    await database.run(sql`
      create table public.films (
        shelf text not null, no bigint not null, title text, price numeric, added timestamptz default now(),
        changed_at timestamptz not null default clock_timestamp(), changed_no bigserial,
        primary key (shelf, no))`);
    await database.run(sql`create index on public.films (changed_at, shelf, no)`);
  });
  afterEach(async () => {
    await database.run(sql`drop table public.films`);
  });

  const table = (more: Partial<ReadTable> = {}): ReadTable => ({
    url: `${elsewhere.url}${elsewhere.url.includes("?") ? "&" : "?"}sslmode=disable`,
    table: "films",
    key: ["shelf", "no"],
    columns: ["title"],
    where: null,
    cursor: null,
    overlap: more.cursor === undefined || more.cursor === "changed_at" ? "0s" : 0,
    ...more,
  });
  const insert = (count: number, shelf = "a") =>
    database.run(sql`
      insert into public.films (shelf, no, title)
      select ${shelf}, n, 'Film ' || n from generate_series(1, ${count}::int) n`);
  const read = async (
    from: ReadTable,
    { since = null, place = null }: { since?: Page["mark"]; place?: Page["place"] } = {},
  ) => {
    const pages: Page[] = [];
    for await (const page of readPages(from, { since: since ?? null, place: place ?? null, signal })) pages.push(page);
    return {
      pages,
      rows: pages.flatMap(({ rows }) => rows),
      mark: pages.findLast(({ mark }) => mark !== undefined)?.mark,
    };
  };

  it("reads rows of a key of two columns in pages, and goes on at the place of each", async () => {
    await insert(700);
    await insert(10, "b");
    const { pages, rows } = await read(table());
    expect(new Set(rows.map(({ shelf, no }) => JSON.stringify([shelf, no]))).size).toBe(710);
    expect(pages.length).toBeGreaterThan(1);
    for (const [index, { place }] of pages.entries())
      expect((await read(table(), { place })).rows).toEqual(pages.slice(index + 1).flatMap((page) => page.rows));
  });

  it("gives the exact text of values that are no texts", async () => {
    await database.run(sql`
      insert into public.films (shelf, no, title, price, added)
      values (E'x''\\n"', 9007199254740993, null, 1.10, '2026-01-02 03:04:05.123456+00')`);
    const { rows } = await read(table({ columns: ["title", "price", "added"] }));
    expect(rows).toEqual([
      {
        shelf: "x'\n\"",
        no: "9007199254740993",
        title: null,
        price: "1.10",
        added: "2026-01-02 03:04:05.123456+00",
      },
    ]);
  });

  it("begins as far before a mark as its overlap says", async () => {
    await insert(5);
    const { mark } = await read(table({ cursor: "changed_at" }));
    await database.run(sql`
      insert into public.films (shelf, no, title, changed_at)
      values ('late', 1, 'Late', clock_timestamp() - interval '1 minute')`);
    const lateBy = async (overlap: "5m" | "0s") => {
      const { rows } = await read(table({ cursor: "changed_at", overlap }), { since: mark });
      return rows.filter(({ shelf }) => shelf === "late").length;
    };
    expect([await lateBy("5m"), await lateBy("0s")]).toEqual([1, 0]);
  });

  it("does not read rows of a time that is long past again, but those that came later", async () => {
    await database.run(sql`
      insert into public.films (shelf, no, changed_at, added)
      select 'old', n, '2026-01-01', '2026-01-01'
      from generate_series(1, 3000) n`);
    for (const column of ["changed_at", "added"]) {
      const cursor = table({ cursor: column, overlap: "5m" });
      const first = await read(cursor);
      expect(first.rows).toHaveLength(3_000);
      const second = await read(cursor, { since: first.mark });
      expect(second.rows).toEqual([]);
      expect(second.mark).toEqual(first.mark);
      await database.run(sql`
        insert into public.films (shelf, no, changed_at, added)
        values ('new', 1, '2026-01-01 00:00:00.000001', '2026-01-01 00:00:00.000001'), ('new', 2, now(), now())`);
      const third = await read(cursor, { since: second.mark });
      expect(third.rows.map(({ shelf }) => shelf)).toEqual(["new", "new"]);
      expect((await read(cursor, { since: third.mark })).rows).toHaveLength(1);
      await database.run(sql`delete from public.films where shelf = 'new'`);
    }
  });

  it("is not misled by a time of the future", async () => {
    await database.run(sql`
      insert into public.films (shelf, no, changed_at) values ('future', 1, now() + interval '1 year')`);
    const { mark } = await read(table({ cursor: "changed_at" }));
    await insert(2);
    const { rows } = await read(table({ cursor: "changed_at" }), { since: mark });
    expect(rows).toHaveLength(3);
  });

  it("is not misled by a time of the future that a pass over changes met", async () => {
    await insert(1);
    const cursor = table({ cursor: "changed_at" });
    const { mark } = await read(cursor);
    await database.run(sql`
      insert into public.films (shelf, no, changed_at) values ('future', 1, now() + interval '1 year')`);
    const changes = await read(cursor, { since: mark });
    await insert(2, "b");
    const { rows } = await read(cursor, { since: changes.mark });
    expect(rows.filter(({ shelf }) => shelf === "b")).toHaveLength(2);
  });

  it("is not misled by a number beyond all others", async () => {
    await database.run(sql`insert into public.films (shelf, no, price) values ('a', 1, 'NaN'), ('a', 2, 7)`);
    const cursor = table({ cursor: "price" });
    const { mark } = await read(cursor);
    expect(mark).toBe("7");
    await database.run(sql`insert into public.films (shelf, no, price) values ('b', 1, 8)`);
    const { rows } = await read(cursor, { since: mark });
    expect(rows.filter(({ shelf }) => shelf === "b")).toHaveLength(1);
  });

  it.each([
    ["a time", { cursor: "changed_at" }],
    ["a number", { cursor: "changed_no" }],
  ])("begins the next reading where a long one over changes of %s began", async (_name, cursor) => {
    await insert(300);
    const { mark } = await read(table(cursor));
    const first = await database.value<string>(raw(`select min(${cursor.cursor})::text from public.films`));
    const pages = readPages(table(cursor), { since: first, place: null, signal });
    const seen = [await pages.next()];
    // Commits late, behind a row that the pass still meets.
    await database.run(sql`
      insert into public.films (shelf, no, changed_at, changed_no)
      values ('new', 1, clock_timestamp() + interval '-1 millisecond', 1000000)`);
    for (let next = await pages.next(); next.done !== true; next = await pages.next()) seen.push(next);
    const marks = seen.map(({ value }) => (value as Page | undefined)?.mark);
    expect(new Set(marks)).toEqual(new Set([mark]));
  });

  it.each(["changed_at", "changed_no"])(
    "ends a reading of changes by %s though its rows change all the time, and gives them to the next one",
    async (cursor) => {
      await insert(300);
      const from = table({ cursor });
      const change = () =>
        database.run(sql`update public.films set changed_at = clock_timestamp(), changed_no = changed_no + 1000`);
      const { mark } = await read(from);
      await change();
      const pages: Page[] = [];
      for await (const page of readPages(from, { since: mark ?? null, place: null, signal })) {
        pages.push(page);
        await change();
        if (pages.length > 20) throw new Error("It does not end.");
      }
      const next = await read(from, { since: pages[0]?.mark });
      expect(new Set(next.rows.map(({ no }) => no)).size).toBe(300);
    },
  );

  it("has no mark while the table is empty, and none of its rows is missed then", async () => {
    const cursor = table({ cursor: "changed_at" });
    expect((await read(cursor)).mark).toBeUndefined();
  });

  it("reads changes of small numbers whose overlap leaves their type", async () => {
    await database.run(sql`alter table public.films add rank smallint`);
    await database.run(sql`insert into public.films (shelf, no, rank) values ('a', 1, -32000), ('a', 2, -32001)`);
    const cursor = table({ cursor: "rank", overlap: 3_000_000_000 });
    expect((await read(cursor, { since: "-32000" })).rows).toHaveLength(2);
  });

  it("gives few rows at a time where they are large, also after small ones", async () => {
    await insert(600);
    await database.run(sql`
      insert into public.films (shelf, no, title) select 'b', n, repeat('x', 1000000) from generate_series(1, 30) n`);
    const { pages, rows } = await read(table());
    expect(rows).toHaveLength(630);
    const bytes = pages.map((page) => JSON.stringify(page.rows).length);
    expect(Math.max(...bytes)).toBeLessThan(10_000_000);
  });

  it("keeps to its condition", async () => {
    await insert(10);
    await insert(10, "b");
    expect((await read(table({ where: "shelf = 'b' and no < 4" }))).rows).toHaveLength(3);
  });

  it.each([
    ["a table that is not there", { table: "filsm" }, "films"],
    ["a column that is not there", { columns: ["titel"] }, "title"],
    ["a cursor that is no time or number", { cursor: "title" }, "title is text"],
    ["an overlap that is no duration", { cursor: "changed_at", overlap: 300 }, "overlap is a duration"],
    ["an overlap that is no number", { cursor: "changed_no", overlap: "5m" as const }, "overlap is a whole number"],
    ["no url", { url: "" }, "no url"],
  ])("says for a person what is wrong: %s", async (_name, wrong, said) => {
    await expect(read(table(wrong))).rejects.toMatchObject({ kind: "stop", message: expect.stringContaining(said) });
  });

  it("is tried again where it cannot be reached, and shows no password", async () => {
    const url = "postgres://user:sec-ret-word@127.0.0.1:9/none";
    const failure = await read(table({ url })).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: "again", message: expect.stringContaining("127.0.0.1:9/none") });
    expect(String(failure)).not.toContain("sec-ret-word");
  });

  it("is left by a reading whose query waits for a lock, when its signal aborts", async () => {
    await insert(3);
    const stop = new AbortController();
    const isWaiting = async () => {
      for (;;) {
        const waits = await database.number(sql`
          select count(*)::float8
          from pg_catalog.pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`);
        if (waits > 0) return;
      }
    };
    await database.transaction(async (tx) => {
      await tx.run(sql`lock table public.films in access exclusive mode`);
      const reading = readPages(table(), { since: null, place: null, signal: stop.signal }).next();
      await Promise.race([isWaiting(), reading]);
      stop.abort();
      await expect(reading).rejects.toMatchObject({ kind: "again" });
    });
    expect((await read(table())).rows).toHaveLength(3);
  });

  it("is answered through Rowmill's copy, and follows changes, new keys and deletes", async () => {
    await insert(40);
    const project = await startProject(kind);
    try {
      const { url } = table();
      const worker = await project.worker({
        films: pipeline({
          source: postgresSource({
            url,
            table: "films",
            key: ["shelf", "no"],
            columns: ["title"],
            cursor: "changed_at",
            every: "1s",
            fullEvery: "1s",
          }),
          polling: { min: "10ms", max: "10ms" },
          request: { model: "gpt-4o-mini", user: "Sum up: {{ title }}", maxOutputTokens: 100 },
          answer: z.object({ summary: z.string() }),
          target: { table: "film_labels" },
        }),
      });
      const passes = async (count: number) => {
        for (let pass = 0; pass < count; pass++) {
          await project.run(sql`update rowmill.syncs set next_at = now(), full_wanted = true`);
          await project.drain(worker);
        }
      };
      const labels = async () =>
        (await project.rows<{ n: number }>(sql`select count(*)::int as n from public.film_labels`))[0]?.n;
      await project.drain(worker);
      expect(await labels()).toBe(40);
      await database.run(sql`update public.films set title = 'Other', changed_at = clock_timestamp() where no = 7`);
      await database.run(sql`update public.films set no = 1000, changed_at = clock_timestamp() where no = 8`);
      await database.run(raw("delete from public.films where no = 9"));
      await passes(3);
      const keys = await project.rows<{ no: string }>(sql`select no from rowmill_data.films`);
      expect(keys.map(({ no }) => no)).toEqual(expect.arrayContaining(["7", "1000"]));
      expect(keys).toHaveLength(39);
      expect((await project.gateway.journal.summary()).executed).toBe(42);
      await project.check();
    } finally {
      await project.close();
    }
  });
});
