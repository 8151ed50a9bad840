/** The suite for sources, on a table of MariaDB: by a cursor of times, by one of numbers, and by none. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mysql } from "../../src/connectors/mysql/mysql.js";
import { describeSource, type SourceRow, type SourceUnderTest } from "../../src/testing/testing.js";
import { describeMariaDb } from "../support/describe-mariadb.js";
import { variants } from "../support/databases.js";
import { sharedMariaDb, type MariaDatabase } from "../support/mariadb.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const CURSORS = { "by a time": "changed_at", "by a number": "changed_no", "by its key alone": null };

describeMariaDb(() => {
  let database: MariaDatabase;
  beforeAll(async () => void (database = await (await sharedMariaDb()).createDatabase()));
  afterAll(() => database.drop());
  for (const [title, cursor] of variants(Object.entries(CURSORS)))
    describeSource(
      `MariaDB, ${title}`,
      { open: () => openTable(database, cursor), places: true, marks: cursor !== null },
      { describe, it, expect },
    );
});

async function openTable(database: MariaDatabase, cursor: string | null): Promise<SourceUnderTest> {
  const proxy = await startTcpProxy(Number(new URL(database.url).port));
  const url = proxy.through(database.url);
  const { run } = database;
  await run(`
    create table films (
      id varchar(100) character set utf8mb4 collate utf8mb4_nopad_bin primary key,
      text longtext,
      changed_at timestamp(6) not null default '2020-01-01',
      changed_no bigint not null,
      index (changed_at, id),
      index (changed_no, id));
    create sequence changes increment 100 start 1000`);
  const put = async (rows: readonly SourceRow[], minutes: number) => {
    if (rows.length === 0) return;
    await run(
      `set @now = now(6) - interval ${minutes} minute, @no = nextval(changes) - ${100 * minutes};
       insert into films (id, text, changed_at, changed_no) values
       ${rows.map(() => "(?, ?, @now, @no)").join(", ")}
       on duplicate key update text = values(text), changed_at = values(changed_at), changed_no = values(changed_no)`,
      rows.flatMap(({ id, text }) => [id, text]),
    );
  };
  return {
    connect: () =>
      mysql({ url, table: "films", key: "id", columns: ["text"], ...(cursor === null ? {} : { cursor }) }).elsewhere,
    put: (rows) => put(rows, 0),
    putLate: (rows) => put(rows, 1),
    age: () =>
      run(`
        set @no = nextval(changes);
        execute immediate concat('select setval(changes, ', @no + 100000, ')');
        update films set changed_at = changed_at - interval 1 day`),
    rename: (id, newId) =>
      run("update films set id = ?, changed_at = now(6), changed_no = nextval(changes) where id = ?", [newId, id]),
    remove: (ids) => (ids.length === 0 ? Promise.resolve() : run("delete from films where id in (?)", [ids])),
    goDown: async () => {
      await proxy.refuse();
      proxy.cut();
    },
    comeBack: proxy.accept,
    close: async () => {
      await proxy.close();
      await run("drop table films; drop sequence changes");
    },
  };
}
