/** Pushed rows of several key columns that are kept for a while: whatever their keys are, exactly the right ones go. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, push, z } from "../../src/index.js";
import { sql } from "../../src/postgres/database.js";
import * as expiry from "../../src/store/replicas/expiry.js";
import * as pushes from "../../src/store/replicas/pushes.js";
import * as replicas from "../../src/store/replicas/replicas.js";
import { answersOf, forgetRows, lookAtRows, prepareForgetting } from "../../src/app/story/forget-rows.js";
import * as pipelines from "../../src/store/pipelines/pipelines.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { runJanitor } from "../../src/worker/rounds/janitor.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { describeDatabases } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";

const KEEP_MS = 60 * 60 * 1_000;
const signal = new AbortController().signal;

const people = () => ({
  people: pipeline({
    source: push({ key: ["mail", "no"], columns: ["text"], keep: "1h" }),
    polling: { min: "10ms", max: "10ms" },
    request: { model: "gpt-4o-mini", user: "Sum up: {{ text }}", maxOutputTokens: 100 },
    answer: z.object({ summary: z.string() }),
    target: { table: "person_texts" },
  }),
});

/** As pairs: what JSON, SQL and the ledger's spelling of a key could confuse. */
const ODD_KEYS = [
  ["a", "b,c"],
  ["a,b", "c"],
  ['say "hi"', "\\"],
  ["", "empty"],
  ["Zoë", "🎬\n"],
  ["{null}", "NULL"],
] as const;

describeDatabases("Pushed rows of several key columns with a time to keep them", (kind) => {
  let project: TestProject;
  beforeEach(async () => {
    project = await startProject(kind);
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  const row = ([mail, no]: readonly [string, string]) => ({ mail, no, text: `This is ${mail} of ${no}.` });
  const pushed = (rows: readonly object[]) =>
    pushes.push(
      project.database,
      "people",
      rows.map((one) => JSON.stringify(one)),
    );
  const stored = async () => {
    const rows = await project.rows<{ mail: string; no: string }>(sql`select mail, no from rowmill_data.people`);
    return rows.map(({ mail, no }) => [mail, no]);
  };
  const age = (mail: string | null = null) =>
    project.run(sql`
      update rowmill_data.people
      set rowmill_pushed_at = now() - interval '2 hours'
      where ${mail}::text is null or mail = ${mail}`);
  const states = () =>
    project.rows(sql`
      select state::text, row_gone, count(*)::int as n
      from rowmill.requests
      group by 1, 2
      order by 1, 2`);
  const answers = async () => (await project.rows(sql`select mail from public.person_texts`)).length;
  const executed = async () => (await project.gateway.journal.summary()).executed;
  async function answered(): Promise<WorkerContext> {
    const worker = await project.worker(people());
    await pushed(ODD_KEYS.map(row));
    await project.drain(worker);
    return worker;
  }
  /** The trigger reports what `age` changed: such rows stay until they were looked at. */
  async function clean(worker: WorkerContext): Promise<void> {
    await runIntake(worker);
    await runJanitor(worker, signal);
  }

  it("go with any key when their time is over, and are not sent again when they come back unchanged", async () => {
    const worker = await answered();
    await age();
    await clean(worker);
    expect(await stored()).toEqual([]);
    await project.run(sql`update rowmill.sweeps set wanted_at = now(), finished_at = now() - interval '1 day'`);
    await project.drain(worker);
    expect(await states()).toEqual([{ state: "succeeded", row_gone: true, n: ODD_KEYS.length }]);
    expect(await answers()).toBe(ODD_KEYS.length);
    expect(await pushed(ODD_KEYS.map(row))).toMatchObject({ accepted: ODD_KEYS.length, refused: 0 });
    await project.drain(worker);
    expect(await states()).toEqual([{ state: "succeeded", row_gone: false, n: ODD_KEYS.length }]);
    expect(await executed()).toBe(ODD_KEYS.length);
  });

  it("stay while their own time lasts, although a part of their key is that of one that goes", async () => {
    const worker = await project.worker(people());
    const pairs = ["1", "2", "3"].flatMap((no) => [["old", no] as const, ["new", no] as const]);
    await pushed(pairs.map(row));
    await project.drain(worker);
    await age("old");
    await clean(worker);
    expect(new Set((await stored()).map((key) => JSON.stringify(key)))).toEqual(
      new Set(['["new","1"]', '["new","2"]', '["new","3"]']),
    );
  });

  it("go page by page, and no page passes one over that waits for its answer", async () => {
    const worker = await answered();
    await pushed([row(["a", "bb"])]);
    await age();
    await runIntake(worker);
    const replica = await replicas.replicaOf(project.database, "people");
    const [pipelineRow] = await pipelines.all(project.database);
    if (replica === null || pipelineRow === undefined) throw new Error("The pipeline is not registered.");
    const of = { pipelineId: pipelineRow.id, replica };
    let place: expiry.ExpiryPlace | null = null;
    const pages: number[] = [];
    do {
      const bounds: Parameters<typeof expiry.expireRows>[2] = { keepMs: KEEP_MS, place, max: 2 };
      const expired = await project.database.transaction((tx) => expiry.expireRows(tx, of, bounds));
      pages.push(expired.rows);
      place = expired.place;
    } while (place !== null && pages.length < 10);
    expect(pages).toHaveLength(4);
    expect(pages.reduce((sum, rows) => sum + rows)).toBe(ODD_KEYS.length);
    expect(await stored()).toEqual([["a", "bb"]]);
    await project.drain(worker);
    expect(await answers()).toBe(ODD_KEYS.length + 1);
  });

  it("can be erased with their answers after they went", async () => {
    const worker = await answered();
    await age();
    await clean(worker);
    const [pipelineRow] = await pipelines.all(project.database);
    const [config] = [...worker.pipelines.values()].map((one) => one.config);
    if (config === undefined || pipelineRow === undefined) throw new Error("The pipeline is not registered.");
    const keys = ODD_KEYS.slice(0, 4).map((key) => JSON.stringify(key));
    const wanted = await prepareForgetting(project.database, {
      name: pipelineRow.name,
      pipelineId: pipelineRow.id,
      config,
      keys,
    });
    expect((await lookAtRows(project.database, wanted)).present).toEqual([]);
    const target = await answersOf(project.database, wanted);
    expect(await forgetRows(project.database, wanted, { target, signal })).toEqual({
      requests: 4,
      pushed: 0,
      tried: 0,
      answers: 4,
    });
    expect(await answers()).toBe(ODD_KEYS.length - 4);
    expect(await pushed([row(ODD_KEYS[2])])).toMatchObject({ accepted: 1 });
    await project.drain(worker);
    expect(await executed()).toBe(ODD_KEYS.length + 1);
  });

  it("are taken over with their times and their index where only their table is left", async () => {
    const first = await answered();
    await age("a");
    await runIntake(first);
    await project.run(sql`delete from rowmill.replicas`);
    await project.run(sql`drop index rowmill_data."people pushed_at"`);
    const second = await project.worker(people());
    expect(await project.rows(sql`select key, generation from rowmill.replicas`)).toEqual([
      { key: ["mail", "no"], generation: 1 },
    ]);
    expect(await project.rows(sql`select to_regclass('rowmill_data."people pushed_at"') is not null as made`)).toEqual([
      { made: true },
    ]);
    await project.drain(second);
    await clean(second);
    expect(await stored()).toHaveLength(ODD_KEYS.length - 1);
    expect(await executed()).toBe(ODD_KEYS.length);
    expect(await answers()).toBe(ODD_KEYS.length);
  });
});
