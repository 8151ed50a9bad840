/** A table of DynamoDB: calls that end by their time-outs, and what the table says of itself. */
import type { DynamoDB, KeySchemaElement, TableDescription } from "@aws-sdk/client-dynamodb";
import { ConnectorError } from "../../model/connector.js";
import { loadPeer } from "../load-peer.js";
import type { KeyType } from "./attribute-values.js";
import { explain, nameOf } from "./failure.js";
import type { TablePlace } from "./place.js";

const PACKAGE = "@aws-sdk/client-dynamodb";
/** The SDK's own, with its waits between them. */
const ATTEMPTS_MAX = 3;
const CONNECT_MS_MAX = 3_000;
/** Of one attempt. */
const REPLY_MS_MAX = 7_000;
/** With all attempts. */
const CALL_MS_MAX = 24_000;
/** More than anything here has under way. */
const SOCKETS_MAX = 32;

export interface DynamoTable {
  readonly name: string;
  /** For messages: `the DynamoDB table "films"`. */
  readonly shown: string;
  /** How far the server's clock is from this machine's, as far as the SDK had to know it. */
  clockOffsetMs(): number;
  /** One call. Errors that only single items have are the SDK's. */
  raw<T>(call: Call<T>, signal: AbortSignal): Promise<T>;
  /** @throws ConnectorError */
  ask<T>(call: Call<T>, signal: AbortSignal): Promise<T>;
  close(): void;
}

type Call<T> = (client: DynamoDB, options: { readonly abortSignal: AbortSignal }) => Promise<T>;

/** Connects to nothing yet. @throws ConnectorError */
export async function openTable({ table, region, endpoint }: TablePlace): Promise<DynamoTable> {
  const shown = `the DynamoDB table "${table}"`;
  // Otherwise it warns on standard error of a future version of Node.
  process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
  const sdk = await loadPeer(PACKAGE, () => import("@aws-sdk/client-dynamodb"));
  if (endpoint !== null && !/^https?:\/\//.test(endpoint))
    throw new ConnectorError("stop", `${shown}: its endpoint is not an http: or https: URL.`);
  const client = new sdk.DynamoDB({
    ...(region === null ? {} : { region }),
    ...(endpoint === null ? {} : { endpoint }),
    maxAttempts: ATTEMPTS_MAX,
    requestHandler: {
      connectionTimeout: CONNECT_MS_MAX,
      requestTimeout: REPLY_MS_MAX,
      throwOnRequestTimeout: true,
      httpAgent: { maxSockets: SOCKETS_MAX },
      httpsAgent: { maxSockets: SOCKETS_MAX },
    },
  });
  const raw: DynamoTable["raw"] = async (call, signal) => {
    signal.throwIfAborted();
    return call(client, { abortSignal: AbortSignal.any([signal, AbortSignal.timeout(CALL_MS_MAX)]) });
  };
  return {
    name: table,
    shown,
    clockOffsetMs: () => client.config.systemClockOffset,
    raw,
    ask: async (call, signal) => {
      try {
        return await raw(call, signal);
      } catch (error) {
        throw explainCall(error, shown, signal);
      }
    },
    close: () => client.destroy(),
  };
}

export function explainCall(error: unknown, shown: string, signal: AbortSignal): ConnectorError {
  return signal.aborted ? new ConnectorError("again", `${shown}: the call was stopped.`) : explain(error, shown);
}

export interface KeyAttribute {
  readonly name: string;
  readonly type: KeyType;
}

export interface Described {
  readonly id: string | null;
  readonly status: string;
  /** The partition key, then the sort key. */
  readonly key: readonly KeyAttribute[];
  /** Both are up to six hours old. */
  readonly itemCount: number;
  readonly bytes: number;
  /** Null: on demand. */
  readonly readsPerSecond: number | null;
  readonly indexes: readonly TableIndex[];
}

export interface TableIndex {
  readonly name: string;
  readonly key: readonly KeyAttribute[];
  /** What it contains besides the keys. */
  readonly attributes: "all" | readonly string[];
}

/** Null: there is no such table. @throws ConnectorError */
export async function describeTable(table: DynamoTable, signal: AbortSignal): Promise<Described | null> {
  try {
    const reply = await table.raw(
      (client, options) => client.describeTable({ TableName: table.name }, options),
      signal,
    );
    return described(reply.Table ?? {});
  } catch (error) {
    if (nameOf(error) === "ResourceNotFoundException") return null;
    throw explainCall(error, table.shown, signal);
  }
}

function described(table: TableDescription): Described {
  const types = new Map(table.AttributeDefinitions?.map((one) => [one.AttributeName, one.AttributeType]));
  const keyOf = (schema: readonly KeySchemaElement[] = []): readonly KeyAttribute[] =>
    schema
      .toSorted((a) => (a.KeyType === "HASH" ? -1 : 1))
      .map(({ AttributeName = "" }) => ({ name: AttributeName, type: types.get(AttributeName) ?? "S" }));
  const reads = table.ProvisionedThroughput?.ReadCapacityUnits ?? 0;
  return {
    id: table.TableId ?? null,
    status: table.TableStatus ?? "",
    key: keyOf(table.KeySchema),
    itemCount: table.ItemCount ?? 0,
    bytes: table.TableSizeBytes ?? 0,
    readsPerSecond: reads === 0 ? null : reads,
    indexes: (table.GlobalSecondaryIndexes ?? []).map(({ IndexName = "", KeySchema, Projection }) => ({
      name: IndexName,
      key: keyOf(KeySchema),
      attributes: Projection?.ProjectionType === "ALL" ? "all" : (Projection?.NonKeyAttributes ?? []),
    })),
  };
}

/** The key attributes, in the order of `names`. @throws ConnectorError */
export function requireKey({ shown }: DynamoTable, { key }: Described, names: readonly string[]): KeyAttribute[] {
  const found = names.map((name) => key.find((one) => one.name === name));
  const complete = found.filter((one) => one !== undefined);
  if (complete.length === key.length && complete.length === names.length) return complete;
  const listed = key.map(({ name }) => `"${name}"`).join(", ");
  throw new ConnectorError("stop", `The key of ${shown} is ${listed}, not ${names.map((n) => `"${n}"`).join(", ")}.`, {
    hints: [`Set key: ${key.length === 1 ? listed : `[${listed}]`}`],
  });
}
