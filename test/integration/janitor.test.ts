import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { idleState } from "../../src/app/open/idle.js";
import { sweepAll } from "../../src/app/open/round.js";
import type { GatewayFaults } from "../../src/gateway/engine/faults.js";
import { schedule } from "../../src/store/ledger/wake.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { runJanitor } from "../../src/worker/rounds/janitor.js";
import { serverKind } from "../support/cli.js";
import { createNotes, insertNotes, notesPipeline, plain } from "../support/notes.js";
import { approvalOf, sql, startProject, type TestProject } from "../support/project.js";

describe("Around a batch", () => {
  let project: TestProject;
  let beforeEffect: GatewayFaults["beforeEffect"] = () => undefined;
  let held = false;
  const signal = new AbortController().signal;
  beforeEach(async () => {
    project = await startProject(serverKind, {
      gateway: { faults: { beforeEffect: (call) => beforeEffect(call), hold: () => held } },
    });
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  it("no wake-up is left when it has ended, but one that a worker holds is left to that worker", async () => {
    await createNotes(project, plain(2));
    const worker = await project.worker({ notes: notesPipeline() });
    await project.drain(worker);
    const keys = sql`select key from rowmill_worker.jobs`;
    expect(await project.rows(keys)).toEqual([]);
    const [batch] = await project.rows<{ id: string }>(sql`select id from rowmill.batches`);
    await schedule(project.database, batch?.id ?? "", 0);
    await project.run(sql`update rowmill_worker._private_jobs set locked_at = now(), locked_by = 'a living worker'`);
    await runJanitor(worker, signal);
    expect(await project.rows(keys)).toEqual([{ key: `batch:${batch?.id}` }]);
    await project.run(sql`update rowmill_worker._private_jobs set locked_at = null, locked_by = null`);
    await runJanitor(worker, signal);
    expect(await project.rows(keys)).toEqual([]);
  });

  it("its queue goes when it ended an hour ago, and not before", async () => {
    await createNotes(project, plain(2));
    const worker = await project.worker({ notes: notesPipeline() });
    await project.drain(worker);
    const queues = sql`select queue_name from rowmill_worker._private_job_queues`;
    expect(await project.rows(queues)).toHaveLength(1);
    await project.run(sql`update rowmill.batches set settled_at = settled_at - interval '2 hours'`);
    await runJanitor(worker, signal);
    expect(await project.rows(queues)).toEqual([]);
  });

  it("an interrupted deletion of its files is not reported as a failure", async () => {
    await createNotes(project, plain(2));
    const worker = await project.worker({ notes: notesPipeline() });
    await project.drain(worker);
    await project.run(sql`update rowmill.batches set forgotten_at = null`);
    const stopping = new AbortController();
    beforeEffect = ({ method }) => {
      if (method !== "DELETE") return undefined;
      stopping.abort(new Error("Ctrl-C"));
      return { kind: "drop" };
    };
    const said: string[] = [];
    const log = pino({ level: "debug" }, { write: (line: string) => void said.push(line) });
    await expect(runJanitor({ ...worker, log }, stopping.signal)).rejects.toThrow("Ctrl-C");
    expect(said).toEqual([]);
  });

  it("its files stay while it is not settled", async () => {
    await createNotes(project, plain(2));
    const worker = await project.worker({ notes: notesPipeline() });
    held = true;
    await project.round(worker);
    await runJanitor(worker, signal);
    expect(await project.rows(sql`select state, forgotten_at from rowmill.batches`)).toEqual([
      { state: "running", forgotten_at: null },
    ]);
    expect((await project.gateway.journal.summary()).calls.get("DELETE /v1/files/:id")).toBeUndefined();
    held = false;
    project.gateway.release();
    await project.drain(worker);
  });

  it("nothing is approved by an estimate before the first sweep has counted all rows", async () => {
    await createNotes(project, plain(20));
    const worker = await project.worker({ notes: notesPipeline() }, { approve: false });
    const [notes] = worker.pipelines.values();
    if (!notes) throw new Error("There is no pipeline.");
    await insertNotes(project, plain(1, "a later note"));
    await runIntake(worker);
    expect(await approvalOf(worker, notes)).toEqual({ kind: "nothing" });
    expect(await idleState(worker)).toMatchObject({ idle: false, blocked: [] });
    await sweepAll(worker, signal);
    expect(await approvalOf(worker, notes)).toMatchObject({ kind: "cheap", estimate: { rows: 21 } });
  });
});
