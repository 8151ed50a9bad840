import { mkdtemp, readdir, rm, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { acquireLivingLock, holderOf, type LivingLock } from "../../src/embedded/living-lock.js";

let folder: string;
const held: LivingLock[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rowmill-test-lock-"));
});

afterEach(async () => {
  for (const lock of held.splice(0)) lock.release();
  await rm(folder, { recursive: true, force: true });
});

async function acquire(command: string): Promise<LivingLock | string | undefined> {
  const attempt = await acquireLivingLock({
    folder,
    name: "lock",
    holder: { pid: process.pid, startedAt: "2026-01-01T00:00:00.000Z", command },
    onConnection: (socket) => socket.destroy(),
  });
  if (attempt.kind === "held") return attempt.by?.command;
  held.push(attempt.lock);
  return attempt.lock;
}

test("of many at the same time exactly one gets the lock, and the others learn who", async () => {
  for (let round = 0; round < 10; round += 1) {
    const results = await Promise.all(Array.from({ length: 8 }, (_, n) => acquire(`command ${n}`)));
    const winners = results.filter((one) => typeof one === "object");
    expect(winners).toHaveLength(1);
    const holder = await holderOf(folder, "lock");
    expect(results.filter((one) => typeof one !== "object")).toEqual(Array(7).fill(holder?.command));
    winners[0]?.release();
    expect(await holderOf(folder, "lock")).toBeNull();
  }
});

test("old generations are removed, the newest never", async () => {
  for (let round = 0; round < 25; round += 1) {
    const lock = await acquire("again");
    if (typeof lock === "object") lock.release();
  }
  const names = await readdir(folder);
  expect(names).toHaveLength(16);
  expect(names).toContain("lock.25");
});

test("a lock whose socket was not copied along with its folder is dead", async () => {
  const lock = await acquire("copied");
  if (typeof lock !== "object") throw new Error("not acquired");
  lock.release();
  await unlink(lock.socketPath);
  expect(await acquire("next")).toBeTypeOf("object");
});
