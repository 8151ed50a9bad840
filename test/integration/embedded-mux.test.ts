import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import pg from "pg";
import { message, queryMessage, SYNC_MESSAGE } from "../../src/embedded/wire-messages.js";
import { createDatabase, type TestDatabase } from "../support/databases.js";
import { bind, errorText, execute, firstCells, flush, parse, RawClient, types } from "../support/raw-client.js";

let database: TestDatabase;
const open: { end(): Promise<void> }[] = [];
const raw: RawClient[] = [];

beforeAll(async () => {
  database = await createDatabase("embedded");
});

afterAll(() => database.drop());

afterEach(async () => {
  for (const one of raw.splice(0)) one.close();
  for (const one of open.splice(0)) await one.end();
});

async function client(config: pg.ClientConfig = {}): Promise<pg.Client> {
  const one = new pg.Client({ connectionString: database.url, ...config });
  await one.connect();
  open.push(one);
  return one;
}

async function rawClient(): Promise<RawClient> {
  const one = await RawClient.connect(database.url);
  raw.push(one);
  await one.until("Z");
  return one;
}

async function value(one: pg.Client, sql: string, parameters: unknown[] = []): Promise<unknown> {
  const { rows } = await one.query({ text: sql, values: parameters, rowMode: "array" });
  return rows[0]?.[0];
}

async function table(name: string, columns: string): Promise<pg.Client> {
  const one = await client();
  await one.query(`DROP TABLE IF EXISTS ${name}; CREATE TABLE ${name} (${columns})`);
  return one;
}

describe("clients of the embedded database", () => {
  test("get their own answers through hundreds of interleaved cycles, in and out of transactions", async () => {
    const owner = await table("crossing", "client int, n int");
    const clients = await Promise.all(Array.from({ length: 6 }, () => client()));
    const wrong: string[] = [];
    const ask = async (one: pg.Client, token: string): Promise<void> => {
      const answer = await value(one, "SELECT $1::text", [token]);
      if (answer !== token) wrong.push(`${token} got ${String(answer)}`);
    };
    await Promise.all(
      clients.map(async (one, number) => {
        for (let round = 0; round < 40; round += 1) {
          await ask(one, `${number}/${round}/outside`);
          await one.query("BEGIN");
          await one.query("INSERT INTO crossing VALUES ($1, $2)", [number, round]);
          await ask(one, `${number}/${round}/inside`);
          await one.query(round % 4 === 0 ? "ROLLBACK" : "COMMIT");
        }
      }),
    );
    expect(wrong).toEqual([]);
    const { rows } = await owner.query("SELECT client, count(*)::int FROM crossing GROUP BY 1 ORDER BY 1");
    expect(rows).toEqual(clients.map((_, number) => ({ client: number, count: 30 })));
  });

  test("wait while another is inside a transaction, and see what it committed", async () => {
    const holder = await table("waiting", "n int");
    const other = await client();
    await holder.query("BEGIN");
    const order: string[] = [];
    const seen = value(other, "SELECT count(*)::int FROM waiting").then((count) => {
      order.push("other");
      return count;
    });
    for (let n = 0; n < 20; n += 1) await holder.query("INSERT INTO waiting VALUES ($1)", [n]);
    order.push("holder");
    await holder.query("COMMIT");
    expect(await seen).toBe(20);
    expect(order).toEqual(["holder", "other"]);
  });

  test("write in bulk beside a client that polls, and no row is lost", async () => {
    const owner = await table("bulk", "n int PRIMARY KEY, body text");
    const poller = await client();
    let polling = true;
    const polls = (async () => {
      let count = 0;
      for (; polling; count += 1) {
        await poller.query("BEGIN");
        await poller.query("SELECT count(*) FROM bulk");
        await poller.query("COMMIT");
      }
      return count;
    })();
    for (let batch = 0; batch < 30; batch += 1) {
      const numbers = Array.from({ length: 500 }, (_, n) => batch * 500 + n);
      const result = await owner.query("INSERT INTO bulk SELECT n, repeat('x', 200) FROM unnest($1::int[]) AS t (n)", [
        numbers,
      ]);
      expect(result.rowCount).toBe(500);
    }
    polling = false;
    expect(await polls).toBeGreaterThan(0);
    expect(await value(owner, "SELECT count(*)::int FROM bulk")).toBe(15_000);
  });

  test("are not held up by one that hangs up inside a transaction, which is rolled back", async () => {
    const owner = await table("hangup", "n int");
    const leaver = await rawClient();
    leaver.send(queryMessage("BEGIN; INSERT INTO hangup VALUES (1)"));
    await leaver.until("Z");
    const waiting = value(owner, "SELECT count(*)::int FROM hangup");
    leaver.close();
    expect(await waiting).toBe(0);
  });

  test("are not held up by one that hangs up between Parse and Sync", async () => {
    const owner = await table("hangup_open", "n int");
    const leaver = await rawClient();
    leaver.send(parse("", "INSERT INTO hangup_open VALUES (1)"), bind("", ""), execute("", 0), flush);
    await leaver.until("C");
    const waiting = value(owner, "SELECT count(*)::int FROM hangup_open");
    leaver.close();
    expect(await waiting).toBe(0);
  });

  test("keep the transaction's rules after an error inside it, until its end", async () => {
    const one = await table("failing", "n int PRIMARY KEY");
    const other = await client();
    await one.query("BEGIN");
    await one.query("INSERT INTO failing VALUES (1)");
    await expect(one.query("INSERT INTO failing VALUES (1)")).rejects.toMatchObject({ code: "23505" });
    await expect(one.query("SELECT 1")).rejects.toMatchObject({ code: "25P02" });
    const waiting = value(other, "SELECT count(*)::int FROM failing");
    await one.query("ROLLBACK");
    expect(await waiting).toBe(0);
    expect(await value(one, "SELECT 2")).toBe(2);
  });

  test("share the session fairly in a pool that is smaller than its work", async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 5 });
    open.push(pool);
    const answers = await Promise.all(
      Array.from({ length: 300 }, async (_, n) => (await pool.query("SELECT $1::int AS n", [n])).rows[0].n),
    );
    expect(answers).toEqual(Array.from({ length: 300 }, (_, n) => n));
  });

  test("may send many cycles at once and get the answers in order", async () => {
    const one = await rawClient();
    const other = await client();
    const count = 2_000;
    one.send(...Array.from({ length: count }, (_, n) => queryMessage(`SELECT ${n}`)));
    const asked = value(other, "SELECT 7");
    const answers: string[] = [];
    for (let n = 0; n < count; n += 1) answers.push(...firstCells(await one.until("Z")));
    expect(answers).toEqual(Array.from({ length: count }, (_, n) => String(n)));
    expect(await asked).toBe(7);
  });

  test("are not held up by one that does not read its answers, which are kept for it", async () => {
    const [slow, other] = [await rawClient(), await client()];
    slow.socket.pause();
    slow.send(...Array.from({ length: 40 }, (_, n) => queryMessage(`SELECT ${n}, repeat('x', 1000000)`)));
    for (let n = 0; n < 100; n += 1) expect(await value(other, "SELECT $1::int", [n])).toBe(n);
    slow.socket.resume();
    for (let n = 0; n < 40; n += 1) expect(firstCells(await slow.until("Z"))).toEqual([String(n)]);
  });

  test("exchange messages of several megabytes in both directions", async () => {
    const one = await client();
    const text = "é".repeat(4 * 1024 * 1024);
    expect(await value(one, "SELECT $1::text || 'x'", [text])).toBe(`${text}x`);
  });
});

describe("parameters in binary on the embedded database", () => {
  /** PostgreSQL's binary form of an array of one dimension; null is SQL's null. */
  function binaryArray(elementType: number, elements: readonly (Buffer | null)[]): Buffer {
    const holdsNull = elements.includes(null) ? 1 : 0;
    const head = [1, holdsNull, elementType, elements.length, 1].map(int4);
    const body = elements.flatMap((one) => (one === null ? [int4(-1)] : [int4(one.length), one]));
    return Buffer.concat([...head, ...body]);
  }

  function int4(value: number): Buffer {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(value);
    return bytes;
  }

  function int8(value: bigint): Buffer {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64BE(value);
    return bytes;
  }

  const bigint = (values: readonly bigint[]): Buffer => binaryArray(20, values.map(int8));

  test("arrive as they were sent: bytea, bigint[], int[] and bytea[], with nulls, empty, and beside text", async () => {
    const one = await client();
    const bytes = Buffer.from([0, 1, 0x51, 0x53, 0x58, 0x5c, 0xff, 0]);
    const { rows } = await one.query({
      text: "SELECT $1::bytea, $2::bigint[], $3::int[], $4::bytea[], $5::bigint[], $6::text",
      values: [
        bytes,
        bigint([1n, -(2n ** 63n), 2n ** 63n - 1n]),
        binaryArray(23, [int4(-1), null, int4(7)]),
        binaryArray(17, [bytes, Buffer.alloc(0), null]),
        Buffer.concat([0, 0, 20].map(int4)),
        "text",
      ],
      rowMode: "array",
    });
    expect(rows).toEqual([
      [
        bytes,
        ["1", "-9223372036854775808", "9223372036854775807"],
        [-1, null, 7],
        [bytes, Buffer.alloc(0), null],
        [],
        "text",
      ],
    ]);
    const unnested = "SELECT unnest($1::bigint[])::text AS id";
    const { rows: ids } = await one.query(unnested, [bigint([3n, 1n, 2n])]);
    expect(ids).toEqual([{ id: "3" }, { id: "1" }, { id: "2" }]);
    await expect(one.query(unnested, [binaryArray(23, [int4(1)])])).rejects.toMatchObject({ code: "42804" });
    await expect(one.query(unnested, [bigint([1n]).subarray(0, -3)])).rejects.toMatchObject({
      code: "22P03",
    });
    expect(await value(one, "SELECT 1")).toBe(1);
  });

  test("may hold megabytes, several in one statement, from clients at the same time", async () => {
    const count = 200_000;
    const numbers = Array.from({ length: count }, (_, n) => BigInt(n));
    const contents = Array.from({ length: 10_000 }, (_, n) => Buffer.alloc(500, n % 251));
    const sum = async (one: pg.Client, offset: bigint): Promise<void> => {
      const { rows } = await one.query(
        `SELECT (SELECT sum(n)::text FROM unnest((SELECT $1::bigint[])) AS t (n)) AS numbers,
                (SELECT count(*)::int FROM unnest((SELECT $2::int[])) AS t (n)) AS ints,
                (SELECT md5(string_agg(b, '' ORDER BY o)) FROM unnest((SELECT $3::bytea[])) WITH ORDINALITY AS t (b,
                  o)) AS contents,
                md5($4::bytea) AS whole`,
        [
          bigint(numbers.map((n) => n + offset)),
          binaryArray(23, Array(count).fill(int4(-5))),
          binaryArray(17, contents),
          Buffer.concat(contents),
        ],
      );
      const md5 = createHash("md5").update(Buffer.concat(contents)).digest("hex");
      const total = (BigInt(count) * BigInt(count - 1)) / 2n + offset * BigInt(count);
      expect(rows).toEqual([{ numbers: String(total), ints: count, contents: md5, whole: md5 }]);
    };
    const [a, b] = [await client(), await client()];
    await Promise.all([sum(a, 0n), sum(b, 10n ** 12n), sum(a, -7n)]);
  });
});

describe("prepared statements on the embedded database", () => {
  test("of the same name in two clients are two statements", async () => {
    const [a, b] = [await client(), await client()];
    const ask = async (one: pg.Client, text: string): Promise<unknown> =>
      (await one.query({ name: "same", text, rowMode: "array" })).rows[0]?.[0];
    expect(await ask(a, "SELECT 'a'")).toBe("a");
    expect(await ask(b, "SELECT 'b'")).toBe("b");
    expect(await ask(a, "SELECT 'a'")).toBe("a");
  });

  test("are forgotten when their client leaves", async () => {
    const leaver = new pg.Client({ connectionString: database.url });
    await leaver.connect();
    await leaver.query({ name: "left behind", text: "SELECT 1" });
    const other = await client();
    const named = "SELECT count(*)::int FROM pg_prepared_statements WHERE name LIKE '%left behind'";
    expect(await value(other, named)).toBe(1);
    await leaver.end();
    expect(await value(other, named)).toBe(0);
  });

  test("without a name survive another client's between Parse and Bind", async () => {
    const [a, b] = [await rawClient(), await rawClient()];
    a.send(parse("", "SELECT 'a'"), SYNC_MESSAGE);
    await a.until("Z");
    b.send(parse("", "SELECT 'b'"), SYNC_MESSAGE);
    await b.until("Z");
    a.send(bind("", ""), execute("", 0), SYNC_MESSAGE);
    const answer = await a.until("Z");
    expect(types(answer)).toBe("2DCZ");
    expect(firstCells(answer)).toEqual(["a"]);
  });

  test("without a name survive what the server does for itself between Parse and Bind", async () => {
    const [a, listener] = [await rawClient(), await client()];
    await listener.query("LISTEN anything");
    a.send(parse("", "SELECT 'a'"), SYNC_MESSAGE);
    await a.until("Z");
    open.splice(open.indexOf(listener), 1);
    await listener.end();
    expect(await value(await client(), "SELECT count(*)::int FROM pg_listening_channels()")).toBe(0);
    a.send(bind("", ""), execute("", 0), SYNC_MESSAGE);
    expect(firstCells(await a.until("Z"))).toEqual(["a"]);
  });

  test("without a name are never another client's", async () => {
    const [a, b] = [await rawClient(), await rawClient()];
    a.send(parse("", "SELECT 'secret'"), SYNC_MESSAGE);
    await a.until("Z");
    b.send(bind("", ""), execute("", 0), SYNC_MESSAGE);
    expect(errorText(await b.until("Z"))).toContain("unnamed prepared statement does not exist");
  });

  test("with a portal that is read in parts keep the session until the Sync", async () => {
    const [a, b] = [await rawClient(), await client()];
    a.send(parse("", "SELECT generate_series(1, 5)"), bind("p", ""), execute("p", 2), flush);
    expect(firstCells(await a.until("s"))).toEqual(["1", "2"]);
    const waiting = value(b, "SELECT 'b'");
    a.send(execute("p", 2), flush);
    expect(firstCells(await a.until("s"))).toEqual(["3", "4"]);
    a.send(execute("p", 0), SYNC_MESSAGE);
    expect(firstCells(await a.until("Z"))).toEqual(["5"]);
    expect(await waiting).toBe("b");
  });
});

describe("a cursor on the embedded database", () => {
  test("is read to its end inside a transaction beside other clients", async () => {
    const [a, b] = [await client(), await client()];
    await a.query("BEGIN");
    await a.query("DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 1000) AS t (n)");
    const asked = value(b, "SELECT 'b'");
    let read = 0;
    for (let got = -1; got !== 0; read += got) got = (await a.query("FETCH 300 FROM c")).rowCount ?? 0;
    await a.query("COMMIT");
    expect(read).toBe(1_000);
    expect(await asked).toBe("b");
  });
});

describe("settings on the embedded database", () => {
  test("set by one client stay with it and do not reach another", async () => {
    const [a, b] = [await client(), await client()];
    await a.query("SET search_path = ''");
    await a.query("SELECT set_config('statement_timeout', '12345', false)");
    expect(await value(b, "SHOW search_path")).toBe("public");
    expect(await value(b, "SHOW statement_timeout")).toBe("0");
    expect(await value(a, "SHOW search_path")).toBe('""');
    expect(await value(a, "SHOW statement_timeout")).toBe("12345ms");
    await a.query("RESET ALL");
    expect(await value(b, "SELECT 1")).toBe(1);
    expect(await value(a, "SHOW search_path")).toBe("public");
  });

  test("of a rolled back transaction are gone", async () => {
    const [a, b] = [await client(), await client()];
    await a.query("BEGIN; SET search_path = nowhere; ROLLBACK");
    expect(await value(b, "SELECT 1")).toBe(1);
    expect(await value(a, "SHOW search_path")).toBe("public");
  });

  test("given at the start of a connection hold for it alone", async () => {
    const a = await client({ options: "-c search_path= -c work_mem=7MB" });
    const b = await client();
    expect([await value(a, "SHOW search_path"), await value(a, "SHOW work_mem")]).toEqual(["", "7MB"]);
    expect(await value(b, "SHOW work_mem")).not.toBe("7MB");
  });

  test("include the role: a client that gave up its rights gives up no one else's", async () => {
    const [a, b] = [await table("guarded", "n int"), await client()];
    await a.query("DROP ROLE IF EXISTS intruder; CREATE ROLE intruder LOGIN");
    await a.query("SET ROLE intruder");
    expect(await value(b, "SELECT count(*)::int FROM guarded")).toBe(0);
    await expect(a.query("SELECT * FROM guarded")).rejects.toMatchObject({ code: "42501" });
    const c = await client({ connectionString: database.url.replace("postgres@", "intruder@") });
    expect(await value(c, "SELECT session_user::text")).toBe("intruder");
    await expect(c.query("SELECT * FROM guarded")).rejects.toMatchObject({ code: "42501" });
    expect(await value(b, "SELECT session_user::text")).toBe("postgres");
  });

  test("that the database refuses end the connection with the reason", async () => {
    const a = await RawClient.connect(database.url, { options: "-c no_such_setting=1" });
    raw.push(a);
    await a.until("Z");
    a.send(queryMessage("SELECT 1"));
    expect(errorText(await a.untilEnd())).toContain('unrecognized configuration parameter "no_such_setting"');
    expect(await value(await client(), "SELECT 1")).toBe(1);
  });
});

describe("notifications on the embedded database", () => {
  interface Listener {
    readonly client: pg.Client;
    readonly heard: string[];
  }

  async function listener(...channels: string[]): Promise<Listener> {
    const one = await client();
    const heard: string[] = [];
    one.on("notification", ({ channel, payload }) => heard.push(`${channel}=${payload}`));
    for (const channel of channels) await one.query(`LISTEN ${channel}`);
    return { client: one, heard };
  }

  test("reach the clients that listen to their channel, and no others", async () => {
    const a = await listener("first", '"Quoted Name"');
    const b = await listener("first");
    const c = await listener();
    await c.client.query("NOTIFY first, 'one'");
    await c.client.query("BEGIN; NOTIFY \"Quoted Name\", 'two'; COMMIT");
    await b.client.query("UNLISTEN first");
    await c.client.query("NOTIFY first, 'three'");
    for (const { client: one } of [a, b, c]) await one.query("SELECT 1");
    expect(a.heard).toEqual(["first=one", "Quoted Name=two", "first=three"]);
    expect(b.heard).toEqual(["first=one"]);
    expect(c.heard).toEqual([]);
  });
});

describe("what the embedded database refuses", () => {
  test("is COPY FROM STDIN, in words, and all clients continue", async () => {
    const [a, b] = [await table("copied", "n int"), await client()];
    const refusal = /does not support COPY FROM STDIN/;
    await expect(a.query("COPY copied FROM STDIN")).rejects.toThrow(refusal);
    await expect(a.query({ name: "copy", text: "COPY copied FROM STDIN" })).rejects.toThrow(refusal);
    expect(await value(b, "SELECT count(*)::int FROM copied")).toBe(0);
    expect(await value(a, "SELECT 1")).toBe(1);
    const c = await rawClient();
    c.send(
      queryMessage("COPY copied FROM STDIN"),
      message("d", Buffer.from("1\n")),
      message("c"),
      queryMessage("SELECT 2"),
    );
    expect(types(await c.until("Z"))).toBe("EZ");
    expect(firstCells(await c.until("Z"))).toEqual(["2"]);
  });

  test("is a message that it does not know: only its sender is cut off", async () => {
    const one = await rawClient();
    const other = await client();
    one.send(message("?", "nonsense"));
    expect(errorText(await one.untilEnd())).toContain("unknown type");
    expect(await value(other, "SELECT 1")).toBe(1);
  });

  test("is a message longer than any it takes", async () => {
    const one = await rawClient();
    const header = Buffer.from("Q\x7f\xff\xff\xff", "latin1");
    one.send(header);
    expect(errorText(await one.untilEnd())).toContain("2147483647 bytes");
  });

  test("is a database of another name, with the name that exists", async () => {
    const error = await client({ connectionString: database.url.replace("/postgres?", "/other?") }).catch(
      (e: unknown) => e,
    );
    expect(error).toMatchObject({ code: "3D000", hint: expect.stringContaining('"postgres"') });
  });
});
