import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { answerHere, sendHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

describe("While a batch is at the provider", { timeout: 90_000 }, () => {
  let project: CliProject;
  let held = true;
  beforeEach(async () => {
    held = true;
    project = await startCliProject(serverKind, { gateway: { faults: { hold: () => held } } });
    await createFilms(project);
    await project.writeConfig(filmsPipeline().replace("polling,", "polling: { min: '10m', max: '1h' },"));
    await insertFilms(project, 2);
    await sendHere(project);
    const sent = sql`select state, lines from rowmill.batches`;
    expect(await project.database.rows(sent)).toEqual([{ state: "running", lines: 2 }]);
  });
  afterEach(() => project.close());

  function letGo(): void {
    held = false;
    project.gateway.release();
  }

  it("resume makes it due at once, for the queue and for --once", async () => {
    const due = sql`select b.next_at <= clock_timestamp() as batch, j.run_at <= clock_timestamp() as job
      from rowmill.batches b join rowmill_worker.jobs j on j.key = 'batch:' || b.id`;
    expect(await project.database.first(due)).toEqual({ batch: false, job: false });
    expect((await project.run("resume", "films")).stdout).toBe("films was not paused; 1 unfinished batch is due now\n");
    expect(await project.database.first(due)).toEqual({ batch: true, job: true });
    letGo();
    const batch = await project.database.first<{ id: string }>(
      sql`select provider_batch_id as id from rowmill.batches`,
    );
    await project.gateway.until(batch?.id ?? "");
    expect((await project.run("up", "--once")).status).toBe(0);
    expect(await countLabels(project)).toBe(2);
    await project.check();
  });

  it("--until-idle does not wait for it once the pipeline is paused", async () => {
    expect((await project.run("pause", "films")).status).toBe(0);
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(4);
    expect(ended.stderr).toContain("films: by rowmill pause");
  });

  it("uninstall removes only the triggers, and --purge is refused", async () => {
    const refused = await project.run("uninstall", "--purge", "--yes");
    expect(refused).toEqual({
      status: 4,
      stdout: "",
      stderr:
        "rowmill: Nothing was removed, because paid answers would be lost: 1 batch in flight.\n  Hint: Collect them first: rowmill up --until-idle\n",
    });
    expect(await triggers(project)).toBeGreaterThan(0);
    expect(await project.database.rows(sql`select id from rowmill.batches`)).toHaveLength(1);
  });

  it("show reports where the row is", async () => {
    const shown = await project.run("show", "films", "1");
    expect(shown.status, shown.stderr).toBe(0);
    expect(shown.stdout).toMatch(/^films 1\n {2}batched in batch [0-9a-f-]{36}\n/);
    expect(shown.stdout).toMatch(/\nattempt 1\n {2}in progress: the batch is running\n/);
    expect(shown.stdout).toMatch(/\nresult\n {2}none yet\n$/);
  });
});

describe("rowmill uninstall", { timeout: 90_000 }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject(serverKind);
    await createFilms(project);
    await project.writeConfig(filmsPipeline());
    await insertFilms(project, 3);
    await answerHere(project);
    expect(await countLabels(project)).toBe(3);
  });
  afterEach(() => project.close());

  it("removes every trigger and keeps writes, answers and the ledger; up restores the triggers and finds what was missed", async () => {
    expect(await triggers(project)).toBeGreaterThan(0);
    const ended = await project.run("uninstall");
    expect(ended).toMatchObject({
      status: 0,
      stdout: "Removed the triggers of 1 pipeline. Your tables and answers are unchanged.\n",
      stderr: "",
    });
    expect(await triggers(project)).toBe(0);
    await insertFilms(project, 1, 100);
    expect(await countLabels(project)).toBe(3);
    expect((await project.status()).pipelines[0]).toMatchObject({
      succeeded: 3,
      paused: "uninstalled. To install its triggers again: rowmill up",
    });
    expect(await project.run("uninstall")).toEqual({
      status: 0,
      stdout: "There is nothing to remove: no pipeline has triggers on your tables.\n",
      stderr: "",
    });
    expect((await project.run("up", "--until-idle")).status).toBe(0);
    expect(await triggers(project)).toBeGreaterThan(0);
    expect(await countLabels(project)).toBe(4);
    await project.check();
  });

  it("removes a named pipeline that is no longer in the config, of which up warned; the others stay", async () => {
    const before = await triggers(project);
    await project.writeConfig(filmsPipeline("when: { rows: 1000, maxWait: '24h' }").replace("films:", "movies:"));
    const up = await project.run("up", "--once");
    expect(up.status, up.stderr).toBe(0);
    expect(up.stderr).toMatch(/^films is set up in this database, but .*rowmill uninstall films$/m);
    await insertFilms(project, 1, 100);
    const arrivals = sql`
      select p.name
      from rowmill.arrivals a
      join rowmill.pipelines p on p.id = a.pipeline_id
      order by name`;
    expect(await project.database.rows(arrivals)).toEqual([{ name: "films" }, { name: "movies" }]);
    expect(await project.run("uninstall", "films")).toMatchObject({
      status: 0,
      stdout: "Removed the triggers of films. Your tables and answers are unchanged.\n",
    });
    expect(await triggers(project)).toBe(before);
    expect(await project.database.rows(arrivals)).toEqual([{ name: "movies" }]);
    expect((await project.run("uninstall", "films")).stdout).toContain("There is nothing to remove");
    expect(await project.run("uninstall", "flims")).toMatchObject({ status: 2 });
  });

  it("--purge asks, drops our schemas, and touches neither source nor target", async () => {
    expect(await project.run("uninstall", "--purge")).toMatchObject({
      status: 4,
      stderr: expect.stringContaining("rowmill uninstall --purge --yes"),
    });
    expect(await triggers(project)).toBeGreaterThan(0);
    const ended = await project.run("uninstall", "--purge", "--yes");
    expect(ended.status, ended.stderr).toBe(0);
    expect(await countLabels(project)).toBe(3);
    await insertFilms(project, 1, 100);
    const left = sql`select nspname from pg_namespace where nspname like 'rowmill%'`;
    expect(await project.database.rows(left)).toEqual([]);
    const nothing = {
      pipelines: [],
      batches: [],
      workers: [],
      overdue: [],
      providers: [],
      waits: [],
      refusedPushes: [],
      syncs: [],
    };
    expect(await project.status()).toEqual(nothing);
  });

  it("--purge is refused while a worker runs, or where a view of the user's own would go with it", async () => {
    await project.database.run(sql`create view labelled as select count(*) from rowmill.requests`);
    const view = await project.run("uninstall", "--purge", "--yes");
    expect(view).toMatchObject({
      status: 4,
      stderr: expect.stringContaining("other objects would be dropped too: public.labelled."),
    });
    await project.database.run(sql`drop view labelled`);
    const up = project.start("up");
    await up.says("Working.");
    const worker = await project.run("uninstall", "--purge", "--yes");
    expect(worker).toMatchObject({
      status: 4,
      stderr: expect.stringContaining(`A worker is running (process ${up.child.pid} on`),
    });
    expect(await triggers(project)).toBeGreaterThan(0);
  });
});

async function triggers(project: CliProject): Promise<number> {
  const row = await project.database.first<{ count: number }>(
    sql`select count(*)::int as count from pg_trigger where tgname like 'rowmill%'`,
  );
  return row?.count ?? -1;
}
