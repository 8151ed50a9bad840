/**
 * A worker that reads items of DynamoDB and delivers answers into another table there is killed before and after each
 * step of that, and amid its calls; another one brings everything to its end.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StepName } from "../../src/worker/step-names.js";
import { buildCli } from "../support/cli.js";
import { startCrashProject, type CrashProject, type CrashWorker, type Fault } from "../support/crash-project.js";
import { DYNALITE_ENV, startDynalite, type Dynalite, type Item } from "../support/dynalite.js";
import { startFaultyDynamo, type FaultyDynamo } from "../support/dynamodb-faults.js";
import { sql } from "../support/project.js";

const STEPS: readonly StepName[] = [
  "sync.begin",
  "sync.read",
  "sync.write",
  "sync.end",
  "deliver.take",
  "deliver.write",
  "deliver.confirm",
];
const NOTES = 40;

let server: Dynalite;
let tables = 0;
beforeAll(async () => {
  await buildCli();
  server = await startDynalite();
}, 150_000);
afterAll(() => server.close());

describe("kill -9 of a worker between two tables of DynamoDB", () => {
  for (const when of ["before", "after"] as const)
    it.each(STEPS)(`${when} %s loses nothing, and asks and writes nothing twice`, (step) =>
      inNotes(async ({ crash, killed }) => killed(crash.start({ step, when, action: "kill" } satisfies Fault))),
    );

  it.each([
    ["Scan", 1],
    ["UpdateItem", 0],
    ["UpdateItem", 20],
    ["UpdateItem", NOTES - 1],
  ])("amid the calls, at a %s after %i others, loses nothing, and asks and writes nothing twice", (operation, after) =>
    inNotes(async ({ crash, faulty, killed }) => {
      let worker: CrashWorker | null = null;
      let calls = 0;
      faulty.before = (called) => {
        if (called === operation && calls++ === after) worker?.child.kill("SIGKILL");
        return Promise.resolve();
      };
      worker = crash.start();
      await killed(worker);
    }),
  );
});

interface Scene {
  readonly crash: CrashProject;
  readonly faulty: FaultyDynamo;
  /** Waits for its end. */
  killed(worker: CrashWorker): Promise<void>;
}

async function inNotes(strike: (scene: Scene) => Promise<void>): Promise<void> {
  const [notes, labels] = [`notes-${++tables}`, `labels-${tables}`];
  await server.makeTable(notes, "id:S");
  await server.put(notes, Array.from({ length: NOTES }, noteOf));
  const faulty = await startFaultyDynamo(server.endpoint);
  const crash = await startCrashProject("pg18", { pipeline: pipelineText(faulty.endpoint, notes, labels) });
  try {
    await crash.worker();
    await strike({
      crash,
      faulty,
      killed: async (worker) => expect(await worker.ended).toBe("SIGKILL"),
    });
    const before = await itemsOf(labels);
    await crash.recover();
    await expectEachOnce(crash, before, await itemsOf(labels));
  } finally {
    await crash.close();
    await faulty.close();
  }
}

function noteOf(_: unknown, index: number): Item {
  return { id: { S: `${index}` }, body: { S: `This is note number ${index}, plain and short.` } };
}

function pipelineText(endpoint: string, notes: string, labels: string): string {
  const at = (table: string) => `endpoint: ${JSON.stringify(endpoint)}, table: ${JSON.stringify(table)}`;
  return `...(await (async () => {
    Object.assign(process.env, ${JSON.stringify(DYNALITE_ENV)});
    const { dynamodb } = await import("rowmill");
    return {
      source: dynamodb({ ${at(notes)}, key: "id", columns: ["body"], every: "1s" }),
      target: dynamodb({ ${at(labels)} }),
    };
  })()),`;
}

async function itemsOf(table: string): Promise<readonly Item[]> {
  const { TableNames = [] } = await server.client.listTables({});
  return TableNames.includes(table) ? server.items(table) : [];
}

async function expectEachOnce({ project }: CrashProject, before: readonly Item[], after: readonly Item[]) {
  await project.check();
  const journal = await project.gateway.journal.summary();
  expect(journal.executed).toBe(NOTES);
  expect([...journal.executedByContent.values()].filter((times) => times > 1)).toEqual([]);
  const [row] = await project.rows<{ delivered: number; all: number }>(sql`
    select count(*) filter (where state = 'delivered')::int as delivered, count(*)::int as all
    from rowmill.deliveries`);
  expect(row).toEqual({ delivered: NOTES, all: NOTES });
  expect(after.filter(({ summary }) => (summary?.S ?? "") !== "")).toHaveLength(NOTES);
  // What was written before the crash is as it was, its time included.
  for (const item of before) expect(after).toContainEqual(item);
}
