/** What DynamoDB does otherwise than one may think as a target, each with its outcome. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { dynamodb } from "../../src/connectors/dynamodb/dynamodb.js";
import type { AnswerColumn } from "../../src/model/answer/answer-columns.js";
import type { Change, PrepareOptions, TargetConnector } from "../../src/model/connector.js";
import type { Json } from "../../src/model/pipeline.js";
import { startDynalite, type Dynalite, type Item } from "../support/dynalite.js";
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

const FIELDS: readonly AnswerColumn[] = [
  { field: "label", type: "text", nullable: true, check: null },
  { field: "score", type: "double precision", nullable: true, check: null },
  { field: "tags", type: "text[]", nullable: true, check: null },
  { field: "more", type: "jsonb", nullable: true, check: null, isJsonText: true },
];
const FENCE = "rowmill_fence_films";

describe("A table of DynamoDB that answers go to", () => {
  const open = (options: { key?: string | readonly string[]; columns?: Record<string, string> } = {}) =>
    dynamodb({ table, endpoint: faulty.endpoint, ...options });
  const prepare = (target: TargetConnector, more: Partial<PrepareOptions> = {}) =>
    target.prepare({ pipeline: "films", fields: FIELDS, signal, ...more });
  const write = (target: TargetConnector, ...changes: Change[]) =>
    target.write(changes, { pipeline: "films", id: "1", signal });
  const key = (...names: readonly string[]) => names.map((name) => ({ name, type: "text" }));

  it("is made by two workers at once, billed on demand", async () => {
    await Promise.all([prepare(open()), prepare(open())]);
    const { Table } = await server.client.describeTable({ TableName: table });
    expect(Table?.BillingModeSummary?.BillingMode).toBe("PAY_PER_REQUEST");
    expect(Table?.KeySchema).toEqual([{ AttributeName: "key", KeyType: "HASH" }]);
  });

  it("gets typed attributes, and none for null; a list stays in its order", async () => {
    const target = open({ columns: { label: "name" } });
    await prepare(target);
    const cells = { label: "", score: 1e21, tags: ["b", "a", "b", ""], more: '{"n":[1.5,null,true]}' };
    expect(await write(target, answer("a", 1, cells))).toMatchObject({ written: ["a"] });
    expect((await server.items(table))[0]).toMatchObject({
      key: { S: "a" },
      name: { S: "" },
      score: { N: expect.stringMatching(/^1(?:e\+21|0{21})$/) as string },
      tags: { L: [{ S: "b" }, { S: "a" }, { S: "b" }, { S: "" }] },
      more: { M: { n: { L: [{ N: "1.5" }, { NULL: true }, { BOOL: true }] } } },
      [FENCE]: { N: "1" },
      rowmill_model: { S: "model-1" },
      rowmill_at: { S: expect.stringMatching(/^20.*Z$/) as string },
    });
    await write(target, answer("a", 2, { label: null, score: null, tags: null, more: "null" }));
    expect(Object.keys((await server.items(table))[0] ?? {}).toSorted()).toEqual(
      ["key", FENCE, "rowmill_at", "rowmill_model"].toSorted(),
    );
  });

  it("keeps other attributes of its items, also when an answer is deleted", async () => {
    await server.makeTable(table, "id:N");
    await server.put(table, [{ id: { N: "7" }, title: { S: "M" } }]);
    const target = open();
    await prepare(target, { key: key("id") });
    await write(target, answer("7", 1, { label: "good" }));
    expect((await server.items(table))[0]).toMatchObject({ title: { S: "M" }, label: { S: "good" } });
    await write(target, { key: "7", fence: "2", deleted: true });
    expect(await server.items(table)).toEqual([{ id: { N: "7" }, title: { S: "M" }, [FENCE]: { N: "2" } }]);
  });

  it("refuses alone: a key of another type, an empty key, a number beyond all, a fence that is none", async () => {
    await server.makeTable(table, "id:N");
    const target = open();
    await prepare(target, { key: key("id") });
    await server.put(table, [{ id: { N: "3" }, [FENCE]: { S: "mine" } }]);
    const said = await write(
      target,
      answer("1", 1, { label: "fine" }),
      answer("two", 1, { label: "text" }),
      answer("", 1, { label: "empty" }),
      answer("3", 1, { label: "fence" }),
      answer("4", 1, { score: 1e200 }),
    );
    expect(said.written).toEqual(["1"]);
    expect(said.failed.map(({ key }) => key)).toEqual(["two", "", "3", "4"]);
    expect(said.failed.every(({ reason }) => reason.length > 10)).toBe(true);
  });

  it("takes a key of two parts as two attributes, or as one text", async () => {
    await server.makeTable(table, "pk:S", "sk:N");
    const both = open({ key: ["pk", "sk"] });
    await prepare(both, { key: key("a", "b") });
    expect(await write(both, answer('["x", "7"]', 1, { label: "both" }))).toMatchObject({ written: ['["x", "7"]'] });
    expect((await server.items(table))[0]).toMatchObject({ pk: { S: "x" }, sk: { N: "7" } });
    expect(await failureOf(prepare(open(), { key: key("a") }))).toMatchObject({ kind: "stop" });
    expect(await failureOf(prepare(open({ key: "pk" })))).toMatchObject({ kind: "stop" });
    table = `traps-${++tables}`;
    const one = open();
    await prepare(one, { key: key("a", "b") });
    await write(one, answer('["x", "7"]', 1, { label: "one" }));
    expect((await server.items(table))[0]).toMatchObject({ key: { S: '["x", "7"]' } });
  });

  it("stops at a field that would overwrite its key or another field, and at a column that is no field", async () => {
    await server.makeTable(table, "label:S");
    expect(await failureOf(prepare(open()))).toMatchObject({ kind: "stop" });
    expect(await failureOf(prepare(open({ columns: { lable: "x", label: "y" } })))).toMatchObject({ kind: "stop" });
    expect(await failureOf(prepare(open({ columns: { label: "score" } })))).toMatchObject({ kind: "stop" });
    await prepare(open({ columns: { label: "label_2" } }));
  });

  it("leaves what is throttled for later, and fails none of it", async () => {
    const target = open();
    await prepare(target);
    const changes = Array.from({ length: 60 }, (_, n) => answer(`${n}`, 1, { label: "x" }));
    faulty.refuse = (operation, before) =>
      operation === "UpdateItem" && before >= 20 ? { type: "ThrottlingException" } : null;
    const said = await write(target, ...changes);
    expect([said.written.length, said.busy.length, said.failed]).toEqual([20, 40, []]);
    const error = await failureOf(write(target, ...changes.filter(({ key }) => said.busy.includes(key))));
    expect(error).toMatchObject({ kind: "again", retryAfterMs: 5_000 });
    faulty.refuse = () => null;
    expect((await write(target, ...changes)).written).toHaveLength(60);
  });

  it("has the same answer once where the reply of a write was lost", async () => {
    const target = open();
    await prepare(target);
    await write(target, answer("a", 5, { label: "x" }));
    const [before] = await server.items(table);
    expect(await write(target, answer("a", 5, { label: "x" }))).toMatchObject({ written: ["a"] });
    expect(await server.items(table)).toEqual([before]);
  });

  it("is made again where it was deleted meanwhile", async () => {
    const target = open();
    await prepare(target);
    await server.client.deleteTable({ TableName: table });
    expect(await failureOf(write(target, answer("a", 1, { label: "x" })))).toMatchObject({ kind: "again" });
    await prepare(target);
    expect(await write(target, answer("a", 1, { label: "x" }))).toMatchObject({ written: ["a"] });
  });

  it("shows the doctor what it would make, and whether it may write", async () => {
    const of: PrepareOptions = { pipeline: "films", fields: FIELDS, signal };
    expect(await open().diagnose?.(of)).toEqual([
      {
        level: "ok",
        text: `rowmill up creates the DynamoDB table "${table}" with the key "key", billed on demand`,
      },
    ]);
    await server.makeTable(table, "key:S");
    expect(await open().diagnose?.(of)).toEqual([
      { level: "ok", text: `answers can be written into the DynamoDB table "${table}"` },
      { level: "ok", text: "its clock agrees with this machine's" },
    ]);
    expect(await server.items(table)).toEqual([]);
    faulty.refuse = (operation) =>
      operation === "UpdateItem" ? { type: "AccessDeniedException", message: "no UpdateItem" } : null;
    expect(await open().diagnose?.(of)).toMatchObject([
      { level: "problem", text: expect.stringContaining("no UpdateItem") as string },
    ]);
  });
});

describe("A table of DynamoDB whose own items get answers", () => {
  // Without a map: dynalite calls no two maps equal, where DynamoDB compares what they hold.
  const SOURCE = { key: ["id"], columns: ["tags", "size", "gone"] };
  const expected = { tags: '["x","y"]', size: "1.5", gone: null };
  const item: Item = { id: { S: "a" }, tags: { SS: ["y", "x"] }, size: { N: "1.5" } };
  const write = (target: TargetConnector) =>
    target.write([{ ...answer("a", 1, { label: "good" }), expect: expected }], { pipeline: "films", id: "1", signal });
  const prepared = async () => {
    await server.makeTable(table, "id:S");
    await server.put(table, [item]);
    const target = dynamodb({ table, endpoint: faulty.endpoint });
    await target.prepare({ pipeline: "films", fields: FIELDS, source: SOURCE, signal });
    return target;
  };

  it("compares sets, numbers and missing attributes with what was asked", async () => {
    expect(await write(await prepared())).toMatchObject({ written: ["a"] });
    expect((await server.items(table))[0]).toMatchObject({ label: { S: "good" } });
  });

  it("tells what it leaves where an answer goes into what was asked", async () => {
    await prepared();
    const target = dynamodb({ table, endpoint: faulty.endpoint, columns: { label: "size", tags: "labels" } });
    await target.prepare({ pipeline: "films", fields: FIELDS, source: SOURCE, signal });
    const told: unknown[] = [];
    const change = { ...answer("a", 1, { label: "large" }), expect: expected };
    const readBack = async (rows: unknown) => void told.push(rows);
    expect(await target.write([change], { pipeline: "films", id: "1", signal, readBack })).toMatchObject({
      written: ["a"],
    });
    expect(told).toEqual([[{ key: "a", row: { ...expected, size: "large" } }]]);
  });

  it("takes no answer where a user's write comes between its look and its write", async () => {
    const target = await prepared();
    faulty.before = async (operation) => {
      if (operation === "UpdateItem") await server.put(table, [{ ...item, gone: { S: "is here" } }]);
    };
    expect(await write(target)).toMatchObject({ busy: ["a"], written: [] });
    expect(await write(target)).toMatchObject({ changed: ["a"], written: [] });
    expect((await server.items(table))[0]).not.toHaveProperty("label");
  });

  it("makes no item of one that is deleted between its look and its write", async () => {
    const target = await prepared();
    faulty.before = async (operation) => {
      if (operation === "UpdateItem") await server.remove(table, [{ id: { S: "a" } }]);
    };
    expect(await write(target)).toMatchObject({ busy: ["a"] });
    expect(await write(target)).toMatchObject({ changed: ["a"] });
    expect(await server.items(table)).toEqual([]);
  });
});

function answer(key: string, fence: number, cells: Readonly<Record<string, Json>>): Change & { cells: typeof cells } {
  return { key, fence: String(fence), model: "model-1", cells };
}
