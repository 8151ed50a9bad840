/** The right to act on a batch: a worker that lost it changes nothing, whichever write it tries. */
import { randomUUID } from "node:crypto";
import { afterEach, expect, it } from "vitest";
import type { Queryable } from "../../src/postgres/database.js";
import * as batches from "../../src/store/batches/batches.js";
import type { Batch, Lease } from "../../src/store/batches/batches.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { createNotes, notesPipeline, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

interface Held {
  readonly batch: Batch;
  readonly lease: Lease;
}

/** Each gives true when it took effect. */
const writes: readonly { name: string; write: (tx: Queryable, held: Held) => Promise<boolean> }[] = [
  { name: "holds", write: (tx, { lease }) => batches.holds(tx, lease) },
  { name: "update", write: (tx, { lease }) => batches.update(tx, lease, { polls: 7 }) },
  {
    name: "move",
    write: (tx, { batch, lease }) => batches.move(tx, lease, { batch, event: "nothingToSend", reason: "a test" }),
  },
  { name: "renew", write: async (tx, { lease }) => (await batches.renew(tx, [lease.token])).length > 0 },
];

describeDatabases(
  "A lease",
  (kind) => {
    let project: TestProject;
    afterEach(() => project.close());

    /** A batch that is planned, and taken. */
    async function take(): Promise<Held> {
      project = await startProject(kind);
      await createNotes(project, plain(2));
      const worker = await project.worker({ notes: notesPipeline() });
      const dying: WorkerContext = {
        ...worker,
        step: (name, work) =>
          name === "render.limits" ? Promise.reject(new Error("The worker died.")) : worker.step(name, work),
      };
      await project.round(dying);
      const [row] = await project.rows<{ id: string }>(sql`select id from rowmill.batches`);
      const lease = { batchId: row?.id ?? "", token: randomUUID() };
      const batch = await batches.claim(project.database, lease.batchId, {
        token: lease.token,
        worker: "me",
      });
      if (batch === null) throw new Error("No one else holds the batch.");
      return { batch, lease };
    }

    const inTransaction = (write: (tx: Queryable) => Promise<boolean>): Promise<boolean> =>
      project.database.transaction(write);

    const stored = (): Promise<object[]> =>
      project.rows(sql`select state, polls, lease_token, lease_until, next_at, failures from rowmill.batches`);

    it("lets its holder write, and no other worker take the batch", async () => {
      const held = await take();
      const last = (one: (typeof writes)[number]) => one.name === "move";
      for (const { name, write } of writes.filter((one) => !last(one)))
        expect([name, await inTransaction((tx) => write(tx, held))]).toEqual([name, true]);
      expect(
        await batches.claim(project.database, held.lease.batchId, { token: randomUUID(), worker: "other" }),
      ).toBeNull();
      for (const { name, write } of writes.filter(last))
        expect([name, await inTransaction((tx) => write(tx, held))]).toEqual([name, true]);
    });

    async function expectNothingWritten(held: Held): Promise<void> {
      const before = await stored();
      for (const { name, write } of writes) {
        expect([name, await inTransaction((tx) => write(tx, held))]).toEqual([name, false]);
        expect([name, await stored()]).toEqual([name, before]);
      }
    }

    it("of another one lets nothing be written, nor given back", async () => {
      const { batch, lease } = await take();
      const foreign = { batch, lease: { ...lease, token: randomUUID() } };
      await expectNothingWritten(foreign);
      const before = await stored();
      await batches.release(project.database, foreign.lease, { delayMs: 0, failures: 9 });
      expect(await stored()).toEqual(before);
    });

    it("that ended lets nothing be written", async () => {
      const held = await take();
      await project.run(sql`update rowmill.batches set lease_until = clock_timestamp() - interval '1 ms'`);
      await expectNothingWritten(held);
    });

    it("lets a batch be moved only from the state that its holder saw", async () => {
      const { batch, lease } = await take();
      const before = await stored();
      const move = { batch: { ...batch, state: "uploading" as const }, event: "uploaded" as const };
      expect(await inTransaction((tx) => batches.move(tx, lease, { ...move, reason: "a test" }))).toBe(false);
      expect(await stored()).toEqual(before);
    });

    it("is renewed by each chunk of work, which the keeper's renewals have to skip", async () => {
      const { lease } = await take();
      await project.run(sql`update rowmill.batches set lease_until = clock_timestamp() + interval '5 seconds'`);
      const leftMs = () => batches.leaseLeftMs(project.database, lease.batchId);
      expect(await leftMs()).toBeLessThanOrEqual(5_000);
      expect(await inTransaction((tx) => batches.holds(tx, lease))).toBe(true);
      expect(await leftMs()).toBeGreaterThan(5_000);
    });
  },
  bookKeepers,
);
