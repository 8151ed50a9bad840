/** What DynamoDB does otherwise than one may think as a source, each with its outcome. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { dynamodb } from "../../src/connectors/dynamodb/dynamodb.js";
import type { DynamodbIndex } from "../../src/index.js";
import type { Page, SourceConnector } from "../../src/model/connector.js";
import type { Json } from "../../src/model/pipeline.js";
import { DYNALITE_ENV, startDynalite, type Dynalite, type Item } from "../support/dynalite.js";
import { failureOf, startFaultyDynamo, type FaultyDynamo } from "../support/dynamodb-faults.js";

let server: Dynalite;
let faulty: FaultyDynamo;
let table = "";
let tables = 0;
beforeAll(async () => {
  server = await startDynalite();
});
afterAll(() => server.close());
beforeEach(async () => {
  table = `traps-${++tables}`;
  faulty = await startFaultyDynamo(server.endpoint);
});
afterEach(() => faulty.close());

const { signal } = new AbortController();
const BIG = "12345678901234567890123456789012345678";

describe("A table of DynamoDB that is read", () => {
  const open = (columns: readonly string[], key: string | readonly string[] = "id", segments = 2): SourceConnector =>
    dynamodb({ table, endpoint: faulty.endpoint, key, columns, segments }).elsewhere;

  it("gives numbers as the texts that they are, also inside of maps, lists and sets", async () => {
    await server.makeTable(table, "id:S");
    const value = { M: { list: { L: [{ N: BIG }, { N: "0.1" }] }, set: { NS: [BIG, "1"] } } };
    await server.put(table, [{ id: { S: "a" }, number: { N: BIG }, value }]);
    const [row] = await rowsOf(open(["number", "value"]));
    expect(row).toEqual({ id: "a", number: BIG, value: `{"list":[${BIG},0.1],"set":[1,${BIG}]}` });
  });

  it("gives sets and maps, which have no order, as one text", async () => {
    await server.makeTable(table, "id:S");
    const item = (id: string, tags: string[], map: Item) => ({ id: { S: id }, tags: { SS: tags }, map: { M: map } });
    await server.put(table, [
      item("a", ["x", "y"], { one: { S: "1" }, two: { BOOL: true } }),
      item("b", ["y", "x"], { two: { BOOL: true }, one: { S: "1" } }),
    ]);
    const rows = await rowsOf(open(["tags", "map"]));
    expect(new Set(rows.map(({ tags, map }) => `${String(tags)} ${String(map)}`))).toEqual(
      new Set(['["x","y"] {"one":"1","two":true}']),
    );
  });

  it("gives null for what an item lacks and for NULL, and not for an empty text", async () => {
    await server.makeTable(table, "id:S");
    await server.put(table, [{ id: { S: "a" } }, { id: { S: "b" }, text: { NULL: true } }]);
    await server.put(table, [{ id: { S: "c" }, text: { S: "" } }]);
    const rows = await rowsOf(open(["text"]));
    expect(Object.fromEntries(rows.map(({ id, text }) => [id, text]))).toEqual({ a: null, b: null, c: "" });
  });

  it("gives truth values, and bytes in base64", async () => {
    await server.makeTable(table, "id:S");
    await server.put(table, [{ id: { S: "a" }, flag: { BOOL: false }, bytes: { B: Uint8Array.from([0, 255]) } }]);
    expect(await rowsOf(open(["flag", "bytes"]))).toEqual([{ id: "a", flag: "false", bytes: "AP8=" }]);
  });

  it("takes names that are reserved words, or have dots and signs", async () => {
    await server.makeTable(table, "id:S");
    const names = ["name", "size", "a.b", "#x", ":y", "with space", "__proto__x"];
    const values = Object.fromEntries(names.map((name) => [name, { S: `of ${name}` }]));
    await server.put(table, [{ id: { S: "a" }, ...values }]);
    expect(await rowsOf(open(names))).toEqual([
      { id: "a", ...Object.fromEntries(names.map((name) => [name, `of ${name}`])) },
    ]);
  });

  it.each([
    ["text and number", ["pk:S", "no:N"], (n: number) => ({ pk: { S: `p\u0000${n % 7}` }, no: { N: String(n) } })],
    ["number", ["pk:N"], (n: number) => ({ pk: { N: String(n - 1_000) } })],
    ["bytes", ["pk:B"], (n: number) => ({ pk: { B: Buffer.from(`é${n}`) } })],
  ])("continues after a crash in all segments, with a key of %s", async (_, key, keyOf) => {
    await server.makeTable(table, ...key);
    const text = { S: "x".repeat(2_000) };
    await server.put(
      table,
      Array.from({ length: 3_000 }, (__, n) => ({ ...keyOf(n), text })),
    );
    const names = key.map((part) => part.split(":")[0] ?? "");
    const idOf = (row: Page["rows"][number]) => JSON.stringify(names.map((name) => row[name]));
    const whole = await pagesOf(open(["text"], names, 3));
    const left = new Set(whole.flatMap(({ rows }) => rows.map(idOf)));
    expect([left.size, whole.length > 3]).toEqual([3_000, true]);
    for (const page of whole.slice(0, 4)) {
      for (const row of page.rows) left.delete(idOf(row));
      const place = JSON.parse(JSON.stringify(page.place)) as Json;
      expect(JSON.stringify(place)).not.toContain("\\u0000\\u");
      // Another number of segments counts from the next pass on.
      const rest = await pagesOf(open(["text"], names, 5), place);
      expect(new Set(rest.flatMap(({ rows }) => rows.map(idOf)))).toEqual(left);
    }
  });

  it("gives items of 400 KB in pages of about 1 MB", async () => {
    await server.makeTable(table, "id:S");
    for (let n = 0; n < 8; n++) await server.put(table, [{ id: { S: `${n}` }, text: { S: "x".repeat(399_000) } }]);
    const pages = await pagesOf(open(["text"]));
    expect(pages.flatMap(({ rows }) => rows)).toHaveLength(8);
    expect(pages.every(({ rows }) => rows.length <= 3)).toBe(true);
  });

  it("stops at another key than the table's, and names it", async () => {
    await server.makeTable(table, "pk:S", "sk:N");
    for (const key of ["pk", ["pk", "id"], ["pk", "sk", "id"]])
      expect(await failureOf(rowsOf(open(["text"], key)))).toMatchObject({
        kind: "stop",
        hints: ['Set key: ["pk", "sk"]'],
      });
    expect(await rowsOf(open(["text"], ["sk", "pk"]))).toEqual([]);
  });

  it("stops where there is no such table, and at a number of segments that it does not take", async () => {
    expect(await failureOf(rowsOf(open(["text"])))).toMatchObject({ kind: "stop" });
    for (const segments of [0, 17, 1.5])
      expect(await failureOf(rowsOf(open(["text"], "id", segments)))).toMatchObject({ kind: "stop" });
  });

  it("waits where it is throttled, and asks no more than the SDK's three times", async () => {
    await server.makeTable(table, "id:S");
    let scans = 0;
    faulty.refuse = (operation) => {
      if (operation !== "Scan") return null;
      scans += 1;
      return { type: "ProvisionedThroughputExceededException" };
    };
    const error = await failureOf(rowsOf(open(["text"], "id", 1)));
    expect(error).toMatchObject({ kind: "again", retryAfterMs: 5_000 });
    expect(scans).toBe(3);
  });

  it("stops at refused credentials, and repeats nothing of what AWS says of them", async () => {
    const message = `The Canonical String should have been\nx-amz-security-token:${DYNALITE_ENV.AWS_SECRET_ACCESS_KEY}`;
    for (const type of ["InvalidSignatureException", "UnrecognizedClientException", "ExpiredTokenException"]) {
      faulty.refuse = () => ({ type, message });
      const error = await failureOf(rowsOf(open(["text"])));
      expect(error.kind).toBe("stop");
      expect(error.message).toBe(`the DynamoDB table "${table}": AWS refuses the credentials (${type}).`);
    }
  });

  it("stops without a right, and says which one", async () => {
    const message = "User: arn:aws:iam::1:user/mill is not authorized to perform: dynamodb:DescribeTable";
    faulty.refuse = () => ({ type: "AccessDeniedException", message });
    expect(await failureOf(rowsOf(open(["text"])))).toMatchObject({
      kind: "stop",
      message: expect.stringContaining("dynamodb:DescribeTable") as string,
    });
  });

  it("stops without credentials and without a region", async () => {
    const kept = { ...process.env };
    try {
      for (const name of Object.keys(DYNALITE_ENV).slice(0, 2)) delete process.env[name];
      Object.assign(process.env, { AWS_SHARED_CREDENTIALS_FILE: "/nowhere", AWS_CONFIG_FILE: "/nowhere" });
      expect((await failureOf(rowsOf(open(["text"])))).message).toContain("there are no AWS credentials");
      Object.assign(process.env, DYNALITE_ENV);
      delete process.env["AWS_REGION"];
      const error = await failureOf(rowsOf(open(["text"])));
      expect(error).toMatchObject({ kind: "stop", message: expect.stringContaining("no region") as string });
    } finally {
      for (const name of Object.keys(process.env)) if (!(name in kept)) delete process.env[name];
      Object.assign(process.env, kept);
    }
  });

  it("ends at its signal while the server is silent", async () => {
    await server.makeTable(table, "id:S");
    const stop = new AbortController();
    faulty.before = async () => {
      stop.abort();
      await new Promise(() => undefined);
    };
    const pages = open(["text"]).rows({ since: null, place: null, signal: stop.signal })[Symbol.asyncIterator]();
    expect(await failureOf(pages.next())).toMatchObject({ kind: "again" });
  });

  it("shows the doctor its key, its size, and what a reading costs a day", async () => {
    await server.makeTable(table, "id:S");
    await server.put(table, [{ id: { S: "a" }, text: { S: "x".repeat(9_000) } }]);
    const findings = await open(["text"]).diagnose?.({ signal });
    // dynalite always counts no items.
    expect(findings?.map(({ level, text }) => `${level}: ${text}`)).toEqual([
      `ok: the DynamoDB table "${table}" can be read; its key is id (S)`,
      `ok: the DynamoDB table "${table}" had 0 items, 0.0 MiB when DynamoDB last counted, up to six hours ago: ` +
        "reading all of it every 15m takes about 1 read unit, so about 96 a day",
      "ok: its capacity is on demand",
      "ok: its clock agrees with this machine's",
    ]);
    faulty.refuse = (operation) =>
      operation === "Scan" ? { type: "AccessDeniedException", message: "no Scan" } : null;
    expect(await open(["text"]).diagnose?.({ signal })).toMatchObject([
      { level: "problem", text: `the DynamoDB table "${table}": no Scan.` },
    ]);
  });
});

describe("An index of a table of DynamoDB by which changes are read", () => {
  const AT = "2026-01-02T03:04:05.000Z";
  type Projected = "ALL" | "KEYS_ONLY";
  const make = async (time: "S" | "N" | "B" | null, projected: Projected = "ALL") => {
    await server.client.createTable({
      TableName: table,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [
        { AttributeName: "id", AttributeType: "S" },
        { AttributeName: "kind", AttributeType: "S" },
        ...(time === null ? [] : [{ AttributeName: "at", AttributeType: time }]),
      ],
      KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
      GlobalSecondaryIndexes: [
        {
          IndexName: "by-at",
          KeySchema: [
            { AttributeName: "kind", KeyType: "HASH" },
            ...(time === null ? [] : [{ AttributeName: "at", KeyType: "RANGE" } as const]),
          ],
          Projection: { ProjectionType: projected },
        },
      ],
    });
    await server.untilActive(table);
  };
  const open = (more: Partial<DynamodbIndex> = {}) =>
    dynamodb({
      table,
      endpoint: faulty.endpoint,
      key: "id",
      columns: ["text"],
      index: { name: "by-at", partitions: "note", ...more },
    }).elsewhere;
  const note = (id: string, at: Item[string]) => ({ id: { S: id }, kind: { S: "note" }, at, text: { S: id } });
  const readSince = async (since: Json, more: Partial<DynamodbIndex> = {}) => {
    const given: string[] = [];
    let mark: Json = null;
    for await (const page of open(more).rows({ since, place: null, signal })) {
      given.push(...page.rows.map(({ id }) => String(id)));
      mark = page.mark ?? mark;
    }
    return { given: given.toSorted(), mark };
  };

  it("must be there, have a time, and contain all columns", async () => {
    await make("S", "KEYS_ONLY");
    expect((await failureOf(rowsOf(open()))).message).toContain("does not contain text");
    expect((await failureOf(rowsOf(open({ name: "other" })))).message).toContain("does not exist");
    expect(await failureOf(rowsOf(open({ partitions: [] })))).toMatchObject({ kind: "stop" });
    table = `traps-${++tables}`;
    await make(null);
    expect((await failureOf(rowsOf(open()))).message).toContain("has no sort key");
  });

  it("is examined by the doctor: its newest time, or that it has none", async () => {
    await make("S");
    const [, empty] = (await open().diagnose?.({ signal })) ?? [];
    expect(empty).toMatchObject({ level: "warning" });
    await server.put(table, [note("a", { S: AT })]);
    const [, found] = (await open().diagnose?.({ signal })) ?? [];
    expect(found).toEqual({ level: "ok", text: `changes are read by the index "by-at", whose newest time is ${AT}` });
  });

  it.each([
    ["a text that is no time", { S: "yesterday" }],
    ["no day", { S: "2026-13-41T03:04:05Z" }],
    ["a local time", { S: "2026-01-02T03:04:05" }],
  ])("is refused with %s", async (_, at) => {
    await make("S");
    await server.put(table, [note("a", at)]);
    expect((await failureOf(rowsOf(open()))).message).toContain("is no time that Rowmill knows");
  });

  it.each([
    ["texts", (ms: number) => ({ S: new Date(ms).toISOString() })],
    ["texts without fractions", (ms: number) => ({ S: new Date(ms).toISOString().replace(/\.\d+/, "") })],
    ["seconds", (ms: number) => ({ N: String(Math.floor(ms / 1_000)) })],
    ["seconds with fractions", (ms: number) => ({ N: String(ms / 1_000 + 0.0005) })],
    ["milliseconds", (ms: number) => ({ N: String(ms) })],
  ])("gives what has changed since a mark, with %s, and no time of the future hides it", async (_, at) => {
    await make("N" in at(0) ? "N" : "S");
    const now = Date.now();
    await server.put(table, [note("old", at(now - 7_200_000)), note("late", at(now - 200_000))]);
    await server.put(table, [note("future", at(now + 86_400_000)), note("a", at(now - 1_000))]);
    const first = await readSince(null);
    expect(first.given).toEqual(["a", "future", "late", "old"]);
    await server.put(table, [note("b", at(now))]);
    expect((await readSince(first.mark)).given).toEqual(["a", "b", "late"]);
  });

  it("does not read a table again that was loaded at once, long ago", async () => {
    await make("S");
    await server.put(
      table,
      ["a", "b", "c"].map((id) => note(id, { S: AT })),
    );
    expect(await readSince(AT)).toEqual({ given: [], mark: AT });
    await server.put(table, [note("d", { S: "2026-01-02T09:00:00Z" })]);
    expect(await readSince("2026-01-02T09:00:00Z")).toEqual({ given: [], mark: "2026-01-02T09:00:00Z" });
    expect((await readSince("2026-01-02T08:00:00Z")).given).toEqual(["d"]);
  });

  it("gives what one partition writes without fractions in the second of another's newest time", async () => {
    await make("S");
    const second = new Date(Date.now() - 10_000).toISOString().slice(0, 19);
    await server.put(table, [note("a", { S: `${second}.500Z` })]);
    await server.put(table, [{ ...note("b", { S: `${second}Z` }), kind: { S: "other" } }]);
    const { given } = await readSince(`${second}.100Z`, { partitions: ["note", "other"] });
    expect(given).toEqual(["a", "b"]);
  });

  it("gives all items where the mark has another form, or is far after the newest time", async () => {
    await make("S");
    await server.put(table, [note("a", { S: AT }), { id: { S: "unlisted" } }]);
    expect((await readSince("1767323045")).given).toEqual(["a", "unlisted"]);
    expect((await readSince("2026-03-02T03:04:05Z")).given).toEqual(["a", "unlisted"]);
  });
});

async function pagesOf(connector: SourceConnector, place: Json = null): Promise<Page[]> {
  const pages: Page[] = [];
  for await (const page of connector.rows({ since: null, place, signal })) pages.push(page);
  return pages;
}

async function rowsOf(connector: SourceConnector): Promise<Page["rows"][number][]> {
  return (await pagesOf(connector)).flatMap(({ rows }) => rows);
}
