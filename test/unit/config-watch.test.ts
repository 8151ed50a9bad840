import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { watchConfig } from "../../src/app/open/config-watch.js";
import { until } from "../support/cli.js";

describe("The watch of the config", () => {
  let folder = "";
  let ending = new AbortController();
  beforeEach(async () => {
    folder = await mkdtemp(join(inject("runFolder"), "watch-"));
    ending = new AbortController();
  });
  afterEach(async () => {
    ending.abort();
    await rm(folder, { recursive: true, force: true });
  });

  async function start(onChange: (changedAt: Date | null) => void) {
    const file = join(folder, "rowmill.config.json");
    await writeFile(file, "one");
    const errors: unknown[] = [];
    const onError = (error: unknown) => void errors.push(error);
    const watch = await watchConfig({ file, signal: ending.signal, onChange, onError, everyMs: 5 });
    return { watch, errors, write: (text: string) => writeFile(file, text), remove: () => rm(file) };
  }

  it("reports a change once, and that the file is as it was again", async () => {
    const seen: (Date | null)[] = [];
    const { watch, write, errors } = await start((changedAt) => void seen.push(changedAt));
    expect(watch.changedAt()).toBeNull();
    await write("two");
    await until("the change", () => Promise.resolve(watch.changedAt() !== null));
    await write("one");
    await until("its end", () => Promise.resolve(watch.changedAt() === null));
    expect(seen).toEqual([expect.any(Date), null]);
    expect(errors).toEqual([]);
  });

  it("takes a file that is gone for a changed one", async () => {
    const { watch, remove } = await start(() => undefined);
    await remove();
    await until("the change", () => Promise.resolve(watch.changedAt() !== null));
  });

  it("continues after a report that failed, and passes on the error", async () => {
    let reports = 0;
    const { watch, write, errors } = await start(() => {
      reports += 1;
      throw new Error(`report ${reports} failed`);
    });
    await write("two");
    await until("the first change", () => Promise.resolve(reports === 1));
    await write("three");
    await until("the second change", () => Promise.resolve(reports === 2));
    expect(errors.map(String)).toEqual(["Error: report 1 failed", "Error: report 2 failed"]);
    expect(watch.changedAt()).not.toBeNull();
  });
});
