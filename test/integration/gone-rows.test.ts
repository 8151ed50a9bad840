/** Pushed rows with versions, after they went: an older push does not bring them back, whichever way they went. */
import { EventEmitter, once } from "node:events";
import { afterEach, beforeEach, expect, it } from "vitest";
import { forgetRows, prepareForgetting } from "../../src/app/story/forget-rows.js";
import { pipeline, push } from "../../src/index.js";
import { openDatabase, sql } from "../../src/postgres/database.js";
import * as pipelines from "../../src/store/pipelines/pipelines.js";
import * as replicaRows from "../../src/store/replicas/replica-rows.js";
import * as replicas from "../../src/store/replicas/replicas.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { runJanitor } from "../../src/worker/rounds/janitor.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { describeDatabases } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";
import { startTestService, type TestService } from "../support/service.js";

const asked = {
  polling: { min: "10ms", max: "10ms" },
  request: { model: "gpt-4o-mini", user: "Sum up: {{ text }}", maxOutputTokens: 100 },
} as const;
const films = pipeline({
  ...asked,
  source: push({ key: "id", columns: ["text"], version: "v", keep: "30d" }),
  target: { table: "film_labels" },
});
const pages = pipeline({
  ...asked,
  source: push({ key: ["book", "page"], columns: ["text"], version: "v", keep: "30d" }),
  target: { table: "page_labels" },
});

const cases = [
  { name: "films", row: { id: "ä/1" }, key: "ä/1" },
  { name: "pages", row: { book: "a", page: 7 }, key: '["a", "7"]' },
] as const;
type Case = (typeof cases)[number];

describeDatabases("A row that is gone", (kind) => {
  let project: TestProject;
  let service: TestService;
  let worker: WorkerContext;
  beforeEach(async () => {
    project = await startProject(kind);
    worker = await project.worker({ films, pages });
    service = await startTestService(project);
  });
  afterEach(async () => {
    await service.close();
    await project.check();
    await project.close();
  });

  const pushed = async (
    { name, row }: Pick<Case, "name"> & { readonly row: object },
    ...versions: readonly (number | string)[]
  ) => {
    const body = JSON.stringify(versions.map((v) => ({ ...row, text: `In version ${v}.`, v })));
    const response = await service.call("push", `/v1/pipelines/${name}/rows`, { method: "POST", body });
    const { accepted, unchanged, older } = (await response.json()) as Record<string, number>;
    return { accepted, unchanged, older };
  };
  const removed = async ({ name, key }: Case) => {
    const path = `/v1/pipelines/${name}/rows/${encodeURIComponent(key)}`;
    return (await service.call("push", path, { method: "DELETE" })).status;
  };
  const stored = (table: "films" | "pages") =>
    table === "films"
      ? project.database.column<string | null>(sql`select text from rowmill_data.films`)
      : project.database.column<string | null>(sql`select text from rowmill_data.pages`);
  const [ACCEPTED, UNCHANGED, OLDER] = [
    { accepted: 1, unchanged: 0, older: 0 },
    { accepted: 0, unchanged: 1, older: 0 },
    { accepted: 0, unchanged: 0, older: 1 },
  ];

  it.each(cases)("because it was deleted stays so when an older push comes: $name", async (one) => {
    expect(await pushed(one, 9)).toEqual(ACCEPTED);
    expect(await removed(one)).toBe(204);
    expect(await pushed(one, 3)).toEqual(OLDER);
    expect(await removed(one)).toBe(404);
    expect(await pushed(one, 3, 2)).toEqual(OLDER);
    expect(await stored(one.name)).toEqual([]);
    // The same version again is no older one.
    expect(await pushed(one, 3, 9)).toEqual(ACCEPTED);
    expect(await pushed(one, 9)).toEqual(UNCHANGED);
    expect(await project.rows(sql`select 1 as one from rowmill.gone_versions`)).toEqual([]);
    expect(await removed(one)).toBe(204);
    expect(await pushed(one, "2026-01-01")).toEqual(ACCEPTED);
    expect(await pushed(one, 10)).toEqual(OLDER);
  });

  it.each(cases)("because its time was over, or you erased it, stays so too: $name", async (one) => {
    expect(await pushed(one, 9)).toEqual(ACCEPTED);
    await project.drain(worker);
    await project.run(sql`update rowmill_data.films set rowmill_pushed_at = now() - interval '31 days'`);
    await project.run(sql`update rowmill_data.pages set rowmill_pushed_at = now() - interval '31 days'`);
    await runIntake(worker);
    await runJanitor(worker, new AbortController().signal);
    expect(await stored(one.name)).toEqual([]);
    expect(await pushed(one, 8)).toEqual(OLDER);
    expect(await pushed(one, 11)).toEqual(ACCEPTED);
    const row = (await pipelines.all(project.database)).find(({ name }) => name === one.name);
    const config = [...worker.pipelines.values()].map((each) => each.config).find(({ name }) => name === one.name);
    if (row === undefined) throw new Error("The pipeline is not registered.");
    const wanted = await prepareForgetting(project.database, {
      name: row.name,
      pipelineId: row.id,
      config,
      keys: [one.key],
    });
    const signal = new AbortController().signal;
    expect(await forgetRows(project.database, wanted, { target: null, signal })).toMatchObject({ pushed: 1 });
    expect(await pushed(one, 10)).toEqual(OLDER);
    expect(await pushed(one, 12)).toEqual(ACCEPTED);
    await project.drain(worker);
  });

  it.each(cases)("while an older push waits for that stays so: $name", async (one) => {
    expect(await pushed(one, 9)).toEqual(ACCEPTED);
    const replica = await replicas.replicaOf(project.database, one.name);
    if (replica === null) throw new Error("There is no such pipeline.");
    const signals = new EventEmitter();
    const begun = once(signals, "begun");
    const released = once(signals, "released");
    const removing = project.database.transaction(async (tx) => {
      expect(await replicaRows.removeRow(tx, replica, one.key)).toBe(true);
      signals.emit("begun");
      await released;
    });
    await Promise.race([begun, removing]);
    const waiting = pushed(one, 5);
    // It may reach the database before or after the deletion is committed: the outcome is the same.
    if (kind !== "embedded") await expect.poll(locksWaitedFor, { timeout: 10_000 }).not.toEqual([]);
    signals.emit("released");
    await removing;
    expect(await waiting).toEqual(OLDER);
    expect(await stored(one.name)).toEqual([]);
  });

  it("because its time is over waits for no long transaction of yours, and goes later", async ({ skip }) => {
    skip(kind === "embedded", "the embedded database has one transaction at a time");
    const [one] = cases;
    expect(await pushed(one, 9)).toEqual(ACCEPTED);
    await project.drain(worker);
    await project.run(sql`update rowmill_data.films set rowmill_pushed_at = now() - interval '31 days'`);
    await runIntake(worker);
    const clean = () => runJanitor(worker, new AbortController().signal);
    const mine = openDatabase({ connectionString: project.url, ssl: false });
    await mine.transaction(async (tx) => {
      await tx.run(sql`select rowmill.push('films', '[{"id": "mine", "v": 1}]')`);
      await clean();
      expect(await stored("films")).toEqual(["In version 9."]);
      expect(await pushed({ ...one, row: { id: "another" } }, 1)).toEqual(ACCEPTED);
    });
    await clean();
    expect(new Set(await stored("films"))).toEqual(new Set(["In version 1.", null]));
    await mine.close();
  });

  const locksWaitedFor = () =>
    project.rows(sql`
      select 1 as one
      from pg_catalog.pg_locks l
      join pg_catalog.pg_database d on d.oid = l.database and d.datname = current_database()
      where not l.granted`);
});
