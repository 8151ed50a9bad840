/** The suite for sources, on a table of another PostgreSQL: by a cursor of times, by one of numbers, and by none. */
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { postgres } from "../../src/connectors/postgres/postgres.js";
import { describeSource, type SourceRow, type SourceUnderTest } from "../../src/testing/testing.js";
import { bookKeepers, createDatabase, describeDatabases, type TestDatabase } from "../support/databases.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const CURSORS = { "by a time": "changed_at", "by a number": "changed_no", "by its key alone": null };

describeDatabases(
  "another PostgreSQL",
  (kind) => {
    let database: TestDatabase;
    beforeAll(async () => void (database = await createDatabase(kind)));
    afterAll(() => database.drop());
    for (const [title, cursor] of Object.entries(CURSORS))
      // Other cursors than the first tell little that the newest server did not.
      if (cursor === "changed_at" || bookKeepers.includes(kind))
        describeSource(
          `PostgreSQL, ${title} (${kind})`,
          { open: () => openTable(database.url, cursor), places: true, marks: cursor !== null },
          { describe, it, expect },
        );
  },
  ["pg14", "pg18"],
);

async function openTable(direct: string, cursor: string | null): Promise<SourceUnderTest> {
  const proxy = await startTcpProxy(Number(new URL(direct).port));
  const url = proxy.through(direct);
  const client = new pg.Client({ connectionString: direct });
  await client.connect();
  await client.query(`
    create sequence changes increment 100 start 1000;
    create table films (id text primary key, text text, changed_at timestamptz not null, changed_no bigint not null);
    create index on films (changed_at, id);
    create index on films (changed_no, id)`);
  const put = async (rows: readonly SourceRow[], late: string) => {
    await client.query(
      `insert into films
       select id, text, now() - $3::interval, (select nextval('changes')) - 100 * extract(minute from $3::interval)
       from unnest($1::text[], $2::text[]) as given (id, text)
       on conflict (id) do update
       set text = excluded.text, changed_at = excluded.changed_at, changed_no = excluded.changed_no`,
      [rows.map(({ id }) => id), rows.map(({ text }) => text), late],
    );
  };
  return {
    connect: () =>
      postgres({ url, table: "films", key: "id", columns: ["text"], ...(cursor === null ? {} : { cursor }) }).elsewhere,
    put: (rows) => put(rows, "0"),
    putLate: (rows) => put(rows, "1 minute"),
    age: async () => {
      await client.query("select setval('changes', nextval('changes') + 100000)");
      await client.query("update films set changed_at = changed_at - interval '1 day'");
    },
    rename: async (id, newId) => {
      await client.query(
        "update films set id = $2, changed_at = now(), changed_no = nextval('changes') where id = $1",
        [id, newId],
      );
    },
    remove: async (ids) => void (await client.query("delete from films where id = any ($1)", [ids])),
    goDown: async () => {
      await proxy.refuse();
      proxy.cut();
    },
    comeBack: proxy.accept,
    close: async () => {
      await proxy.close();
      await client.query("drop table films; drop sequence changes");
      await client.end();
    },
  };
}
