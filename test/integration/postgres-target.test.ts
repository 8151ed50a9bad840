/** Answers in a table of another PostgreSQL: how it is made or checked, and what becomes of each row. */
import { inspect } from "node:util";
import pg from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { postgresTarget, type PostgresTargetOptions } from "../../src/connectors/postgres/target.js";
import type { AnswerColumn } from "../../src/model/answer/answer-columns.js";
import { ConnectorError, type Change, type TargetConnector, type Written } from "../../src/model/connector.js";
import { createDatabase, describeDatabases, type TestDatabase } from "../support/databases.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const nothing: Written = { written: [], stale: [], changed: [], busy: [], failed: [] };
const signal = new AbortController().signal;
const text = (field: string, check: AnswerColumn["check"] = null): AnswerColumn => ({
  field,
  type: "text",
  nullable: true,
  check,
});
const fields: readonly AnswerColumn[] = [
  text("label", ["good", "bad"]),
  { field: "score", type: "bigint", nullable: true, check: null },
  { field: "share", type: "double precision", nullable: true, check: null },
  { field: "sure", type: "boolean", nullable: true, check: null },
  { field: "tags", type: "text[]", nullable: true, check: null },
  { field: "rest", type: "jsonb", nullable: true, check: null },
];

function answer(key: string, fence: number, label = "good"): Change {
  return { key, fence: String(fence), model: "model-1", cells: { label } };
}

async function failureOf(asked: Promise<unknown>): Promise<ConnectorError> {
  const error: unknown = await asked.catch((failure: unknown) => failure);
  if (!(error instanceof ConnectorError)) throw new Error(`No ConnectorError: ${String(error)}`);
  return error;
}

describeDatabases(
  "a target in another PostgreSQL",
  (kind) => {
    let database: TestDatabase;
    let client: pg.Client;
    beforeEach(async () => {
      database = await createDatabase(kind);
      client = new pg.Client({ connectionString: database.url });
      await client.connect();
    });
    afterEach(async () => {
      await client.end();
      await database.drop();
    });

    const target = (options: Partial<PostgresTargetOptions> = {}) =>
      postgresTarget({ url: database.url, table: "film_labels", ...options });
    const prepared = async (options: Partial<PostgresTargetOptions> = {}, columns = fields.slice(0, 1)) => {
      const connector = target(options);
      await connector.prepare({ pipeline: "films", fields: columns, signal });
      return connector;
    };
    const write = (connector: TargetConnector, ...changes: Change[]) =>
      connector.write(changes, { pipeline: "films", id: "1", signal });
    const rows = async (statement: string) => (await client.query<Record<string, unknown>>(statement)).rows;

    it("is made with typed columns, private, with the fence of its pipeline", async () => {
      const connector = await prepared({}, [...fields]);
      const columns = await rows(
        `select attname || ' ' || format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end
           as column
         from pg_attribute where attrelid = 'film_labels'::regclass and attnum > 0 order by attnum`,
      );
      expect(columns.map(({ column }) => column)).toEqual([
        "key text not null",
        "label text",
        "score bigint",
        "share double precision",
        "sure boolean",
        "tags text[]",
        "rest jsonb",
        "rowmill_fence_films bigint",
        "rowmill_at timestamp with time zone not null",
        "rowmill_model text",
      ]);
      expect(await rows("select relrowsecurity from pg_class where relname = 'film_labels'")).toEqual([
        { relrowsecurity: true },
      ]);
      const cells = { label: "bad", score: 7, share: 0.1, sure: false, tags: ["a", "b"], rest: { x: [1] } };
      const changes: Change[] = [{ key: "1", fence: "9007199254740993", model: "m", cells }];
      expect(await write(connector, ...changes)).toEqual({ ...nothing, written: ["1"] });
      expect(await rows("select *, rowmill_at is not null as at from film_labels")).toMatchObject([
        { key: "1", ...cells, score: "7", rowmill_fence_films: "9007199254740993", rowmill_model: "m", at: true },
      ]);
    });

    it("keeps the row and the fence of a deleted answer, and what others wrote there", async () => {
      const connector = await prepared();
      await client.query("alter table film_labels add column note text");
      await write(connector, answer("1", 1));
      await client.query("update film_labels set note = 'mine'");
      await write(connector, { key: "1", fence: "2", deleted: true });
      expect(await rows("select label, note, rowmill_model, rowmill_fence_films from film_labels")).toEqual([
        { label: null, note: "mine", rowmill_model: null, rowmill_fence_films: "2" },
      ]);
    });

    it("gets the columns and values that a second pipeline needs, if Rowmill made it", async () => {
      await prepared();
      const second = target();
      await second.prepare({
        pipeline: "films-2",
        fields: [text("label", ["good", "so-so"]), text("mood")],
        signal,
      });
      const change: Change = { key: "1", fence: "1", model: "m", cells: { label: "so-so", mood: "calm" } };
      expect(await second.write([change], { pipeline: "films-2", id: "1", signal })).toMatchObject({ written: ["1"] });
      expect(await rows(`select label, mood, "rowmill_fence_films-2" as fence from film_labels`)).toEqual([
        { label: "so-so", mood: "calm", fence: "1" },
      ]);
    });

    it("is not changed if it is yours, unless you allow it", async () => {
      await client.query("create table film_labels (id int primary key, label text, label_2 text)");
      const refused = await failureOf(prepared({ key: "id" }));
      expect(refused.kind).toBe("stop");
      expect(refused.message).toContain('has no column "rowmill_fence_films"');
      expect(refused.hints).toContain(
        'or: alter table "public"."film_labels" add column "rowmill_fence_films" bigint;',
      );
      const connector = await prepared({ key: "id", addColumns: true, columns: { label: "label_2" } });
      expect(await write(connector, answer("7", 1), answer("x", 1))).toMatchObject({
        written: ["7"],
        failed: [{ key: "x", reason: expect.stringContaining("integer") as string }],
      });
      expect(await rows("select id, label, label_2, rowmill_model from film_labels")).toEqual([
        { id: 7, label: null, label_2: "good", rowmill_model: "model-1" },
      ]);
    });

    it("may have a key of several columns", async () => {
      await client.query(
        "create table film_labels (a int, b text, label text, rowmill_fence_films bigint, unique (a, b))",
      );
      const connector = await prepared({ key: ["a", "b"] });
      expect(await write(connector, answer('["1","x"]', 1), answer('["1","y"]', 1, "bad"))).toMatchObject({
        written: ['["1","x"]', '["1","y"]'],
      });
      expect(await rows("select a, b, label from film_labels order by b")).toEqual([
        { a: 1, b: "x", label: "good" },
        { a: 1, b: "y", label: "bad" },
      ]);
    });

    it("stops for a key without a unique index, and for a type that cannot hold the answer", async () => {
      await client.query("create table film_labels (key text, label int, rowmill_fence_films bigint)");
      const { kind: stop, message } = await failureOf(prepared());
      expect(stop).toBe("stop");
      expect(message).toContain("cannot hold the answer's");
      expect(message).toContain("has no unique index");
    });

    it("leaves out rows that others hold, and rows that others are inserting", async () => {
      const connector = await prepared();
      await write(connector, answer("held", 1), answer("free", 1));
      await client.query("begin");
      await client.query("select from film_labels where key = 'held' for update");
      await client.query("insert into film_labels (key, rowmill_at) values ('inserted', now())");
      const said = await write(connector, ...["free", "held", "inserted", "new"].map((key) => answer(key, 2, "bad")));
      expect({ ...said, busy: said.busy.toSorted() }).toEqual({
        ...nothing,
        written: ["free", "new"],
        busy: ["held", "inserted"],
      });
      await client.query("rollback");
      expect(await write(connector, answer("held", 2), answer("inserted", 2))).toMatchObject({
        written: ["held", "inserted"],
      });
    });

    it("says that all rows are busy while the table is locked", async () => {
      const connector = await prepared();
      await client.query("begin; lock table film_labels in exclusive mode");
      expect(await write(connector, answer("a", 1), answer("b", 1))).toEqual({ ...nothing, busy: ["a", "b"] });
      await client.query("rollback");
    });

    it("fails the rows that a CHECK or a trigger refuses, or that a trigger drops", async () => {
      const connector = await prepared();
      await client.query(`
        create function judge() returns trigger language plpgsql as $$
        begin
          if new.key = 'raised' then raise exception 'not this one'; end if;
          if new.key = 'dropped' then return null; end if;
          return new;
        end $$;
        create trigger judge before insert or update on film_labels for each row execute function judge()`);
      const keys = Array.from({ length: 20 }, (_, index) => `row-${index}`);
      const said = await write(
        connector,
        ...keys.map((key) => answer(key, 1)),
        answer("raised", 1),
        answer("dropped", 1),
        answer("unlisted", 1, "so-so"),
      );
      expect(said.written.toSorted()).toEqual(keys.toSorted());
      expect(Object.fromEntries(said.failed.map(({ key, reason }) => [key, reason]))).toEqual({
        raised: expect.stringContaining("not this one") as string,
        dropped: "a trigger or rule of the table did something else",
        unlisted: expect.stringContaining("film_labels_label_check") as string,
      });
    });

    it("is made again if it is dropped", async () => {
      const connector = await prepared();
      await client.query("drop table film_labels");
      expect(await failureOf(write(connector, answer("a", 1)))).toMatchObject({ kind: "again" });
      await connector.prepare({ pipeline: "films", fields: fields.slice(0, 1), signal });
      expect(await write(connector, answer("a", 1))).toEqual({ ...nothing, written: ["a"] });
    });

    it("is made once by workers that begin together", async () => {
      for (let round = 0; round < 5; round++) {
        const [one] = await Promise.all([prepared(), prepared(), prepared()]);
        expect(await write(one, answer("a", 1))).toMatchObject({ written: ["a"] });
        await client.query("drop table film_labels");
      }
    });

    it("does not run the code of another role, unless you trust it", async () => {
      await prepared();
      const role = `other_${database.url.split("/").at(-1)}`;
      await client.query(`
        create role ${role};
        create function act() returns trigger language plpgsql as $$ begin return new; end $$;
        alter function act() owner to ${role};
        create trigger act before insert on film_labels for each row execute function act()`);
      const refused = await failureOf(prepared());
      const trusted = await prepared({ trustOwner: true });
      expect(await write(trusted, answer("a", 1))).toMatchObject({ written: ["a"] });
      await client.query(`drop trigger act on film_labels; drop function act(); drop role ${role}`);
      expect(refused).toMatchObject({ kind: "stop" });
      expect(refused.message).toContain("would run code of other roles");
    });

    it("runs nothing that others put into a schema on its path", async () => {
      const connector = await prepared();
      await client.query(`
        create function public.coalesce_less(bigint, bigint) returns boolean language sql as 'select 1 / 0 = 1';
        create operator public.< (leftarg = bigint, rightarg = bigint, function = public.coalesce_less);
        create function public.now() returns timestamptz language sql as $$ select '1970-01-01'::timestamptz $$`);
      const name = new URL(database.url).pathname.slice(1);
      await client.query(`alter role current_user in database ${name} set search_path = public, pg_catalog`);
      await write(connector, answer("a", 1));
      expect(await write(await prepared(), answer("a", 2, "bad"))).toMatchObject({ written: ["a"] });
      expect(await rows("select label, rowmill_at > '2020-01-01' as late from film_labels")).toEqual([
        { label: "bad", late: true },
      ]);
    });

    it("takes the same write again after the reply to the commit was lost", async () => {
      const proxy = await startTcpProxy(Number(new URL(database.url).port));
      const connector = await prepared({ url: proxy.through(database.url) });
      const lost = proxy.loseReplyTo(/commit/);
      expect(await failureOf(write(connector, answer("a", 1)))).toMatchObject({ kind: "again" });
      await lost;
      const after = await rows("select label, xmin from film_labels");
      expect(after).toMatchObject([{ label: "good" }]);
      await connector.prepare({ pipeline: "films", fields: fields.slice(0, 1), signal });
      expect(await write(connector, answer("a", 1))).toEqual({ ...nothing, written: ["a"] });
      expect(await rows("select label, xmin from film_labels")).toEqual(after);
      await proxy.close();
    });

    it("ends its call when it is stopped, even if no one answers any more", async () => {
      const proxy = await startTcpProxy(Number(new URL(database.url).port));
      const connector = await prepared({ url: proxy.through(database.url) });
      proxy.stall();
      const stop = new AbortController();
      const asked = connector.write([answer("a", 1)], { pipeline: "films", id: "1", signal: stop.signal });
      setImmediate(() => stop.abort());
      const { message, kind: again } = await failureOf(asked);
      expect([again, message]).toEqual(["again", expect.stringContaining("was stopped")]);
      await proxy.close();
    });

    it("obeys the TLS settings of its URL", async () => {
      const of = (mode: string) => failureOf(prepared({ url: `${database.url}?sslmode=${mode}` }));
      const required = await of("require");
      expect(required.message).toContain("The database offers no TLS");
      expect(required.hints.join()).toContain('sslmode in the url of postgres() ("require")');
      expect(await of("bogus")).toMatchObject({ kind: "stop" });
      expect(await prepared({ url: `${database.url}?sslmode=disable` })).toBeDefined();
    });

    it.each([undefined, "", "hunter22", "mysql://a:hunter22@b/c", "postgres://a:hunter22@:x/"])(
      "stops without a URL that it can use, and does not repeat it (case %#)",
      async (url) => {
        const error = await failureOf(prepared({ url }));
        expect(error.kind).toBe("stop");
        expect(error.message).toMatch(/url for the table film_labels/);
        expect(inspect(error, { depth: 9 })).not.toContain("hunter22");
      },
    );

    it("says where it is without the password when it cannot be reached", async () => {
      const urls = [
        database.url.replace(/\/\/[^@]*@/, "//postgres:hunter22@127.0.0.1:1/").replace(/:1\/[^/]*:\d+/, ":1"),
        database.url.replace(/\/\/[^@]*@/, "//nobody:hunter22@"),
      ];
      for (const url of urls) {
        const error = await failureOf(target({ url }).prepare({ pipeline: "films", fields, signal }));
        expect(error.kind).toBe("again");
        expect(error.message).toContain(new URL(url).host);
        expect([error.message, ...error.hints].join()).not.toContain("hunter22");
      }
    });
  },
  ["pg14", "pg18"],
);
