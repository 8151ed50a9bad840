/** The suite for sources, on a table of DynamoDB: read in one segment, in some at once, and by an index of times. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dynamodb } from "../../src/connectors/dynamodb/dynamodb.js";
import { describeSource, type SourceRow, type SourceUnderTest } from "../../src/testing/testing.js";
import { variants } from "../support/databases.js";
import { startDynalite, type Dynalite, type Item } from "../support/dynalite.js";

let server: Dynalite;
let tables = 0;
beforeAll(async () => void (server = await startDynalite()));
afterAll(() => server.close());

for (const segments of variants([4, 1]))
  describeSource(
    `DynamoDB, segments: ${segments}`,
    // An item has at most 400 KB.
    { open: () => openTable(segments), places: true, marks: false, textBytesMax: 400_000 },
    { describe, it, expect },
  );

for (const [title, kind] of variants(Object.entries({ texts: "S", seconds: "N" } as const)))
  describeSource(
    `DynamoDB, by an index of ${title}`,
    { open: () => openIndexed(kind), places: true, marks: true, textBytesMax: 380_000 },
    { describe, it, expect },
  );

async function openTable(segments: number): Promise<SourceUnderTest> {
  const { endpoint, proxy } = server;
  const table = `films-${++tables}`;
  await server.makeTable(table, "id:S");
  const put = (rows: readonly SourceRow[]) => server.put(table, rows.map(itemOf));
  return {
    connect: () => dynamodb({ table, endpoint, key: "id", columns: ["text"], segments }).elsewhere,
    put,
    putLate: put,
    age: () => Promise.resolve(),
    rename: async (id, newId) => {
      const found = (await server.items(table)).find((item) => item["id"]?.S === id);
      await server.put(table, [{ ...found, id: { S: newId } }]);
      await server.remove(table, [{ id: { S: id } }]);
    },
    remove: (ids) =>
      server.remove(
        table,
        ids.map((id) => ({ id: { S: id } })),
      ),
    goDown: async () => {
      await proxy.refuse();
      proxy.cut();
    },
    comeBack: proxy.accept,
    close: async () => void (await server.client.deleteTable({ TableName: table })),
  };
}

function itemOf({ id, text }: SourceRow): Item {
  return text === null ? { id: { S: id } } : { id: { S: id }, text: { S: text } };
}

/** Some partitions: dynalite's index loses one of two items with one time if 24 bits of their keys' hashes agree. */
const INDEX = { name: "by-change", partitions: ["0", "1", "2"] };

async function openIndexed(kind: "S" | "N"): Promise<SourceUnderTest> {
  const { endpoint, proxy, client } = server;
  const table = `indexed-${++tables}`;
  await client.createTable({
    TableName: table,
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: [
      { AttributeName: "id", AttributeType: "S" },
      { AttributeName: "part", AttributeType: "S" },
      { AttributeName: "changed", AttributeType: kind },
    ],
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    GlobalSecondaryIndexes: [
      {
        IndexName: INDEX.name,
        KeySchema: [
          { AttributeName: "part", KeyType: "HASH" },
          { AttributeName: "changed", KeyType: "RANGE" },
        ],
        Projection: { ProjectionType: "INCLUDE", NonKeyAttributes: ["text"] },
      },
    ],
  });
  await server.untilActive(table);
  const times = new Map<string, { row: SourceRow; ms: number }>();
  const put = async (rows: readonly SourceRow[], ms: number) => {
    for (const row of rows) times.set(row.id, { row, ms });
    const changed = kind === "S" ? { S: new Date(ms).toISOString() } : { N: String(Math.floor(ms / 1_000)) };
    const partOf = (id: string) => String((id.codePointAt(id.length - 2) ?? 0) % INDEX.partitions.length);
    await server.put(
      table,
      rows.map((row) => ({ ...itemOf(row), part: { S: partOf(row.id) }, changed })),
    );
  };
  const remove = async (ids: readonly string[]) => {
    for (const id of ids) times.delete(id);
    await server.remove(
      table,
      ids.map((id) => ({ id: { S: id } })),
    );
  };
  return {
    connect: () => dynamodb({ table, endpoint, key: "id", columns: ["text"], index: INDEX }).elsewhere,
    put: (rows) => put(rows, Date.now()),
    putLate: (rows) => put(rows, Date.now() - 60_000),
    age: () =>
      put(
        [...times.values()].map(({ row }) => row),
        Date.now() - 86_400_000,
      ),
    rename: async (id, newId) => {
      const { row } = times.get(id) ?? { row: { text: null } };
      await remove([id]);
      await put([{ ...row, id: newId }], Date.now());
    },
    remove,
    goDown: async () => {
      await proxy.refuse();
      proxy.cut();
    },
    comeBack: proxy.accept,
    close: async () => void (await client.deleteTable({ TableName: table })),
  };
}
