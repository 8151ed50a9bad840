/**
 * A DynamoDB to test against: dynalite, in a process of its own. It has no streams, transactions, PartiQL, throttling
 * or rights, so nothing here shows how those go.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { DynamoDB, type AttributeValue, type KeySchemaElement } from "@aws-sdk/client-dynamodb";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.js";

/** What the SDK takes from the environment. dynalite accepts any. */
export const DYNALITE_ENV = {
  AWS_ACCESS_KEY_ID: "AKIADYNALITE00000000",
  AWS_SECRET_ACCESS_KEY: "dynalite-secret-dynalite-secret-dynalite",
  AWS_REGION: "eu-central-1",
  AWS_EC2_METADATA_DISABLED: "true",
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
};

export type Item = Record<string, AttributeValue>;

export interface Dynalite {
  /** By way of the proxy. */
  readonly endpoint: string;
  /** Without the proxy. */
  readonly direct: string;
  readonly proxy: TcpProxy;
  /** Straight to it. */
  readonly client: DynamoDB;
  /** `key`: the names with their types, the partition key first, such as `["id:S", "no:N"]`. */
  makeTable(table: string, ...key: readonly string[]): Promise<void>;
  untilActive(table: string): Promise<void>;
  put(table: string, items: readonly Item[]): Promise<void>;
  remove(table: string, keys: readonly Item[]): Promise<void>;
  items(table: string): Promise<Item[]>;
  close(): Promise<void>;
}

/** Also sets the environment of this process. */
export async function startDynalite(): Promise<Dynalite> {
  Object.assign(process.env, DYNALITE_ENV);
  const script = join(import.meta.dirname, "dynalite-process.mjs");
  const child = spawn(process.execPath, [script], { stdio: ["pipe", "pipe", "inherit"] });
  const [printed]: unknown[] = await once(child.stdout, "data");
  const { port } = JSON.parse(String(printed)) as { port: number };
  const proxy = await startTcpProxy(port);
  const direct = `http://127.0.0.1:${port}`;
  const client = new DynamoDB({ endpoint: direct });
  return {
    endpoint: proxy.through(direct).replace(/\/$/, ""),
    direct,
    proxy,
    client,
    makeTable: (table, ...key) => makeTable(client, table, key),
    untilActive: (table) => untilActive(client, table),
    put: (table, items) =>
      writeAll(
        client,
        table,
        items.map((Item) => ({ PutRequest: { Item } })),
      ),
    remove: (table, keys) =>
      writeAll(
        client,
        table,
        keys.map((Key) => ({ DeleteRequest: { Key } })),
      ),
    items: (table) => allItems(client, table),
    close: async () => {
      client.destroy();
      await proxy.close();
      child.stdin.end();
      if (child.exitCode === null) await once(child, "exit");
    },
  };
}

async function makeTable(client: DynamoDB, table: string, key: readonly string[]): Promise<void> {
  const parts = key.map((part) => part.split(":"));
  const schema = parts.map(([AttributeName], index): KeySchemaElement => ({
    AttributeName,
    KeyType: index === 0 ? "HASH" : "RANGE",
  }));
  await client.createTable({
    TableName: table,
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: parts.map(([AttributeName, type]) => ({ AttributeName, AttributeType: type as "S" })),
    KeySchema: schema,
  });
  await untilActive(client, table);
}

async function untilActive(client: DynamoDB, table: string): Promise<void> {
  for (let looks = 0; looks < 100; looks++) {
    const { Table } = await client.describeTable({ TableName: table });
    if (Table?.TableStatus === "ACTIVE") return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${table} did not become active.`);
}

type WriteRequest = { PutRequest: { Item: Item } } | { DeleteRequest: { Key: Item } };

/** Of one call. */
const REQUESTS_MAX = 25;
const AT_ONCE = 4;

async function writeAll(client: DynamoDB, table: string, requests: readonly WriteRequest[]): Promise<void> {
  const parts = Array.from({ length: Math.ceil(requests.length / REQUESTS_MAX) }, (_, index) =>
    requests.slice(index * REQUESTS_MAX, (index + 1) * REQUESTS_MAX),
  ).values();
  const write = async () => {
    for (const part of parts) await client.batchWriteItem({ RequestItems: { [table]: part } });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, write));
}

async function allItems(client: DynamoDB, table: string): Promise<Item[]> {
  const all: Item[] = [];
  let from: Item | undefined;
  do {
    const page = await client.scan({
      TableName: table,
      ConsistentRead: true,
      ...(from === undefined ? {} : { ExclusiveStartKey: from }),
    });
    all.push(...(page.Items ?? []));
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
  return all;
}
