/** The suites for targets, on a table of DynamoDB: of its own, and the source's. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { dynamodb } from "../../src/connectors/dynamodb/dynamodb.js";
import { describeTarget, describeWriteBack } from "../../src/testing/testing.js";
import { testsAll } from "../support/databases.js";
import { startDynalite, type Dynalite } from "../support/dynalite.js";

// dynalite makes 200 to 1,000 updates a second, of which the suite wants 10,000.
vi.setConfig({ testTimeout: 240_000 });

let server: Dynalite;
let tables = 0;
beforeAll(async () => void (server = await startDynalite()));
afterAll(() => server.close());

describeTarget(
  "DynamoDB",
  () => {
    const { endpoint, proxy } = server;
    const table = `labels-${++tables}`;
    return Promise.resolve({
      connect: () => dynamodb({ table, endpoint }),
      held: async (pipeline) => {
        const items = await server.items(table);
        const answered = items.filter((item) => `rowmill_fence_${pipeline}` in item && "rowmill_model" in item);
        return new Map(
          answered.map(({ key, label, score }) => [key?.S ?? "", { label: label?.S ?? null, score: Number(score?.N) }]),
        );
      },
      // An item has at most 400 KB.
      refused: { label: "x".repeat(410 * 1_024), score: 1 },
      goDown: async () => {
        await proxy.refuse();
        proxy.cut();
      },
      comeBack: proxy.accept,
      close: async () => void (await server.client.deleteTable({ TableName: table })),
    });
  },
  { describe, it: testsAll ? it : quick, expect },
);

/** dynalite takes half a minute for the suite's 10,000 changes. */
function quick(title: string, body: () => Promise<void>): void {
  const isLong = title.includes("10000 changes");
  const test = isLong ? it.skip : it;
  test(title + (isLong ? ' (skipped: it runs where ROWMILL_TEST_DATABASES is "all")' : ""), body);
}

describeWriteBack(
  "DynamoDB",
  async () => {
    const { endpoint, client } = server;
    const table = `written-back-${++tables}`;
    await server.makeTable(table, "id:S");
    return {
      connect: () => dynamodb({ table, endpoint }),
      put: async (rows) => {
        for (const { id, text } of rows)
          await client.updateItem({
            TableName: table,
            Key: { id: { S: id } },
            UpdateExpression: "set #text = :text",
            ExpressionAttributeNames: { "#text": "text" },
            ExpressionAttributeValues: { ":text": text === null ? { NULL: true } : { S: text } },
          });
      },
      remove: (ids) =>
        server.remove(
          table,
          ids.map((id) => ({ id: { S: id } })),
        ),
      rows: async () =>
        new Map(
          (await server.items(table)).map(({ id, text, label }) => [
            id?.S ?? "",
            { text: text?.S ?? null, label: label?.S ?? null },
          ]),
        ),
      close: async () => void (await client.deleteTable({ TableName: table })),
    };
  },
  { describe, it, expect },
);
