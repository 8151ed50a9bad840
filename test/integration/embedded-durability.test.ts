import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { expect, test } from "vitest";
import { durable } from "../../src/embedded/durable-files.js";
import { embeddedDataDir } from "../support/embedded-template.js";

const isLinux = process.platform === "linux";
const unlessLinux = isLinux ? "" : " (skipped: the name behind a descriptor can be asked for on Linux only)";

test.runIf(isLinux)(`a commit is answered after its write-ahead log was synced to the disk${unlessLinux}`, async () => {
  const synced: string[] = [];
  const record = (descriptor: number): void => {
    synced.push(readlinkSync(`/proc/self/fd/${descriptor}`));
  };
  const db = await PGlite.create(durable(join(await embeddedDataDir(), "postgres"), record));
  try {
    await db.exec("CREATE TABLE t (n int)");
    synced.length = 0;
    await db.query("INSERT INTO t VALUES (1)");
    expect(synced).toEqual([expect.stringContaining("/pg_wal/")]);
    await db.exec("CHECKPOINT");
    expect(synced.some((path) => path.includes("/base/"))).toBe(true);
    expect(synced.some((path) => path.endsWith("/global/pg_control"))).toBe(true);
  } finally {
    await db.close();
  }
});
