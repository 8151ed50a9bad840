/** The suite for sources, on a table of a SQLite file: by a cursor of times, by one of numbers, and by none. */
import { describe, expect, it } from "vitest";
import { sqlite } from "../../src/connectors/sqlite/sqlite.js";
import { describeSource, type SourceRow, type SourceUnderTest } from "../../src/testing/testing.js";
import { variants } from "../support/databases.js";
import { openSqliteFile } from "../support/sqlite-file.js";

const CURSORS = { "by a time": "changed_at", "by a number": "changed_no", "by its key alone": null };

for (const [title, cursor] of variants(Object.entries(CURSORS)))
  for (const journal of cursor === "changed_at" ? variants(["delete", "wal"] as const) : (["wal"] as const))
    describeSource(
      `SQLite, ${title} (journal mode ${journal})`,
      { open: () => openTable(cursor, journal), places: true, marks: cursor !== null },
      { describe, it, expect },
    );

async function openTable(cursor: string | null, journal: "delete" | "wal"): Promise<SourceUnderTest> {
  const file = await openSqliteFile(`
    pragma journal_mode = ${journal};
    create table films (id text primary key, text text, changed_at text not null, changed_no integer not null);
    create index films_at on films (changed_at, id);
    create index films_no on films (changed_no, id)`);
  let number = 1_000;
  const put = async (rows: readonly SourceRow[], late: boolean) => {
    number += 100;
    await file.run(
      `insert into films
       select value ->> 'id', value ->> 'text', strftime('%Y-%m-%d %H:%M:%f', 'now', ?2), ?3
       from json_each(?1)
       where true
       on conflict (id) do update
       set text = excluded.text, changed_at = excluded.changed_at, changed_no = excluded.changed_no`,
      [JSON.stringify(rows), late ? "-1 minute" : "+0 seconds", BigInt(number - (late ? 100 : 0))],
    );
  };
  return {
    connect: () =>
      sqlite({ url: file.url, table: "films", key: "id", columns: ["text"], ...(cursor === null ? {} : { cursor }) })
        .elsewhere,
    put: (rows) => put(rows, false),
    putLate: (rows) => put(rows, true),
    age: async () => {
      number += 100_000;
      await file.run("update films set changed_at = strftime('%Y-%m-%d %H:%M:%f', changed_at, '-1 day')");
    },
    rename: async (id, newId) => {
      number += 100;
      await file.run(
        "update films set id = ?2, changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now'), changed_no = ?3 where id = ?1",
        [id, newId, BigInt(number)],
      );
    },
    remove: (ids) => file.run("delete from films where id in (select value from json_each(?))", [JSON.stringify(ids)]),
    goDown: file.lock,
    comeBack: file.unlock,
    close: file.close,
  };
}
