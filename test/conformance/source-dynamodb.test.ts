/** The suite for sources, on a table of DynamoDB: read in one segment, and in some at once. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dynamodb } from "../../src/connectors/dynamodb/dynamodb.js";
import { describeSource, type SourceRow, type SourceUnderTest } from "../../src/testing/testing.js";
import { startDynalite, type Dynalite, type Item } from "../support/dynalite.js";

let server: Dynalite;
let tables = 0;
beforeAll(async () => void (server = await startDynalite()));
afterAll(() => server.close());

for (const segments of [1, 4])
  describeSource(
    `DynamoDB, segments: ${segments}`,
    // An item has at most 400 KB.
    { open: () => openTable(segments), places: true, marks: false, textBytesMax: 400_000 },
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
