/**
 * Delivers answers into items of a DynamoDB table, each by one conditional update. Items hold the fence of each
 * pipeline that writes to them, so a crash between DynamoDB and the ledger is repaired by the same write again.
 */
import type { TargetConnector } from "../../model/connector.js";
import { addressOf, placeOf, type TableOptions } from "./place.js";

export interface DynamodbTargetOptions extends TableOptions {
  /**
   * Its key attributes, in the order of the source's key. Default: those of the table; `key` in a table that we make;
   * the source's own, where answers are written back into its items.
   */
  readonly key?: string | readonly string[];
  /** Answer field → attribute. Default: of the same name. */
  readonly columns?: Readonly<Record<string, string>>;
}

/** Each is a request of its own. */
const CHANGES_MAX = 500;
const BYTES_MAX = 4 * 1024 * 1024;

export function dynamodbTarget({ table, region, endpoint, key, columns }: DynamodbTargetOptions): TargetConnector {
  const place = placeOf({ table, region, endpoint });
  const wanted = { key: key === undefined ? null : [key].flat(), columns: columns ?? {} };
  let opened: Promise<Writer> | null = null;
  // Only now: a config is read far more often than answers are delivered.
  const writer = () => (opened ??= import("./writer.js").then(({ openWriter }) => openWriter(place, wanted)));
  return {
    name: "dynamodb",
    promise: "onceInEffect",
    address: addressOf(place),
    identity: async (signal) => (await import("./identity.js")).identityOf(place, signal),
    writes: JSON.stringify([place.region, table, wanted.key, wanted.columns]),
    most: { changes: CHANGES_MAX, bytes: BYTES_MAX },
    diagnose: async (of) => (await import("./diagnose.js")).diagnoseTarget(place, wanted, of),
    prepare: async (of) => (await writer()).prepare(of),
    write: async (changes, delivery) => (await writer()).write(changes, delivery),
  };
}

type Writer = Pick<TargetConnector, "prepare" | "write">;
