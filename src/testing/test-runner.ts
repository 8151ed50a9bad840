/** What the suites need of a test runner and of this process. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { ConnectorError } from "../model/connector.js";

/** Vitest and Jest have these three; for `node:test`, wrap `assert.deepEqual`. */
export interface TestRunner {
  describe(title: string, body: () => void): unknown;
  it(title: string, body: () => Promise<void>): unknown;
  expect(actual: unknown): { toEqual(expected: unknown): unknown };
}

/** As the engine counts it: every error is for another time, unless it is a ConnectorError that says "stop". */
export async function kindOfFailure(asked: Promise<unknown>): Promise<"none" | "again" | "stop"> {
  try {
    await asked;
    return "none";
  } catch (error) {
    return error instanceof ConnectorError ? error.kind : "again";
  }
}

/** After a collection, so that only what is held counts. */
export function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}
