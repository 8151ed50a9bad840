/** The suite for answers that are written back: into another PostgreSQL, MariaDB, SQLite, and your own system. */
import { describe, expect, it } from "vitest";
import { mysql } from "../../src/connectors/mysql/mysql.js";
import { postgresTarget } from "../../src/connectors/postgres/target.js";
import { sqliteTarget } from "../../src/connectors/sqlite/target.js";
import { defineTarget, type RowAfter } from "../../src/index.js";
import { describeWriteBack } from "../../src/testing/testing.js";
import { describeDatabases } from "../support/databases.js";
import { openFilms } from "../support/films-elsewhere.js";
import { describeMariaDb } from "../support/describe-mariadb.js";
import { sharedMariaDb } from "../support/mariadb.js";
import { openSqliteFile } from "../support/sqlite-file.js";

describeDatabases(
  "another PostgreSQL",
  (kind) => {
    describeWriteBack(
      `PostgreSQL (${kind})`,
      async () => {
        const films = await openFilms(kind, "unused text");
        await films.run("drop table films; create table films (id text primary key, text text, label text)");
        return {
          connect: () => postgresTarget({ url: films.url, table: "films", addColumns: true }),
          put: (rows) =>
            films.run(`insert into films (id, text)
              select id, text from json_to_recordset('${JSON.stringify(rows)}') as x (id text, text text)
              on conflict (id) do update set text = excluded.text`),
          remove: (ids) => films.run(`delete from films where id in ('${ids.join("', '")}')`),
          rows: async () => {
            const rows = await films.rows<{ id: string; text: string | null; label: string | null }>(
              "select id, text, label from films order by id",
            );
            return new Map(rows.map(({ id, ...rest }) => [id, rest]));
          },
          spoil: () =>
            films.run(`
              create function spoil() returns trigger language plpgsql as
                'begin new.text := new.text || ''!''; return new; end';
              create trigger spoil before update on films for each row execute function spoil()`),
          close: films.close,
        };
      },
      { describe, it, expect },
    );
  },
  ["pg14", "pg18"],
);

describeMariaDb(() => {
  describeWriteBack(
    "MariaDB",
    async () => {
      const database = await (await sharedMariaDb()).createDatabase();
      await database.run("create table films (id varchar(100) primary key, text varchar(100), label text)");
      return {
        connect: () => mysql({ url: database.url, table: "films", addColumns: true }),
        put: async (rows) => {
          for (const { id, text } of rows)
            await database.run(
              "insert into films (id, text) values (?, ?) on duplicate key update text = values(text)",
              [id, text],
            );
        },
        remove: (ids) => database.run("delete from films where id in (?)", [ids]),
        rows: async () => {
          const rows = await database.rows<{ id: string; text: string | null; label: string | null }>(
            "select id, text, label from films order by id",
          );
          return new Map(rows.map(({ id, text, label }) => [id, { text, label }]));
        },
        spoil: () =>
          database.run("create trigger spoil before update on films for each row set new.text = concat(new.text, '!')"),
        close: database.drop,
      };
    },
    { describe, it, expect },
  );
});

describeWriteBack(
  "SQLite",
  async () => {
    const file = await openSqliteFile("create table films (id text primary key, text text, label text)");
    return {
      connect: () => sqliteTarget({ url: file.url, table: "films", addColumns: true }),
      put: (rows) =>
        file.run(
          `insert into films (id, text)
           select value ->> 'id', value ->> 'text'
           from json_each(?)
           where true
           on conflict (id) do update set text = excluded.text`,
          [JSON.stringify(rows)],
        ),
      remove: (ids) =>
        file.run("delete from films where id in (select value from json_each(?))", [JSON.stringify(ids)]),
      rows: async () => {
        const rows = await file.rows<{ id: string; text: string | null; label: string | null }>(
          "select id, text, label from films order by id",
        );
        return new Map(rows.map(({ id, ...rest }) => [id, rest]));
      },
      spoil: () =>
        file.run(`
          create trigger spoil after update of label on films
          begin update films set text = new.text || '!' where id = new.id; end`),
      close: file.close,
    };
  },
  { describe, it, expect },
);

interface Ticket {
  text: string | null;
  label: string | null;
  readonly fences: Map<string, bigint>;
}

/** It can tell what a write leaves in a row only afterwards. */
function ticketLabels(tickets: ReadonlyMap<string, Ticket>, onWrite: (ticket: Ticket) => void) {
  return defineTarget<{ label: string }>({
    name: "tickets",
    promise: "onceInEffect",
    address: "tickets",
    write: async (changes, { pipeline, readBack }) => {
      const stale: { key: string; fence: string }[] = [];
      const changed: string[] = [];
      const rows: RowAfter[] = [];
      for (const change of changes) {
        const { key, fence } = change;
        const ticket = tickets.get(key);
        const theirs = ticket?.fences.get(pipeline) ?? 0n;
        if (theirs === BigInt(fence)) continue;
        if (theirs > BigInt(fence)) stale.push({ key, fence: String(theirs) });
        else if ("deleted" in change) {
          if (ticket === undefined) continue;
          ticket.label = null;
          ticket.fences.set(pipeline, BigInt(fence));
        } else if (ticket === undefined || ticket.text !== change.expect?.["text"]) changed.push(key);
        else {
          ticket.label = change.cells.label;
          ticket.fences.set(pipeline, BigInt(fence));
          onWrite(ticket);
          rows.push({ key, row: { text: ticket.text } });
        }
      }
      if (rows.length > 0) await readBack?.(rows);
      return { stale, changed };
    },
  });
}

describeWriteBack(
  "of one's own",
  () => {
    const tickets = new Map<string, Ticket>();
    let onWrite: (ticket: Ticket) => void = () => undefined;
    return Promise.resolve({
      connect: () => ticketLabels(tickets, (ticket) => onWrite(ticket)),
      put: async (rows) => {
        for (const { id, text } of rows) {
          const ticket = tickets.get(id) ?? { text, label: null, fences: new Map() };
          ticket.text = text;
          tickets.set(id, ticket);
        }
      },
      remove: async (ids) => {
        for (const id of ids) tickets.delete(id);
      },
      rows: () => Promise.resolve(tickets),
      spoil: async () => {
        onWrite = (ticket) => {
          ticket.text = `${ticket.text ?? ""}!`;
        };
      },
      close: () => Promise.resolve(),
    });
  },
  { describe, it, expect },
);
