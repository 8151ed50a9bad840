/**
 * Rows that are deleted, or leave the pipeline's predicate, while they are being answered: what becomes of their paid
 * answers.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";
import { sendHere } from "../support/work-here.js";

const LONG_MS = 120_000;

function tasks(more: { source?: string; rest?: string; target?: string } = {}): string {
  const { source = `, onGone: "keepAnswer"`, rest = "", target = "task_labels" } = more;
  return `tasks: pipeline({ source: { table: "tasks", key: "id", columns: ["body"], where: "not hidden" ${source} },
    polling, answer,
    request: { ...request, user: "{{ body }}" }, target: { table: "${target}" }, ${rest} })`;
}

describe(`A row that is gone when its answer comes${unlessServer}`, { timeout: LONG_MS }, () => {
  let project: CliProject;
  let held = true;

  beforeAll(buildCli, LONG_MS);
  beforeEach(async () => {
    held = true;
    project = await startCliProject(serverKind, { gateway: { faults: { hold: () => held } } });
    await run("create table tasks (id int primary key, body text, hidden boolean not null default false)");
    await run("insert into tasks select n, 'task ' || n from generate_series(1, 6) n");
  });
  afterEach(() => project.close());

  async function run(text: string): Promise<void> {
    await project.database.run(raw(text));
  }

  async function upUntilIdle(status = 0): Promise<void> {
    held = false;
    project.gateway.release();
    const ended = await project.run("up", "--until-idle", "--yes");
    expect(ended.status, ended.stderr).toBe(status);
    await project.check();
  }

  /** Key → state, last outcome and how often it was asked; and whether the target has an answer. */
  async function stories(): Promise<Record<string, string>> {
    const rows = await project.database.rows<{ key: string; story: string }>(sql`
      select r.key, concat_ws(' ', r.state, (select a.outcome
      from rowmill.attempts a
      where a.request_id = r.id
      order by a.attempt desc
      limit 1),
        r.attempt, case when exists (select 1 from task_labels l where l.id::text = r.key) then 'written' end) as story
      from rowmill.requests r order by r.key`);
    return Object.fromEntries(rows.map(({ key, story }) => [key, story]));
  }

  it("leaves its answer with keepAnswer, and is sent again only when it comes back with other content", async () => {
    await project.writeConfig(tasks());
    await sendHere(project);
    await run("delete from tasks where id in (1, 2, 3)");
    await run("update tasks set hidden = true where id = 4");
    await run("update tasks set id = 50 where id = 5");
    await upUntilIdle();
    const kept = "succeeded answeredGone 1 written";
    const asEver = "succeeded answered 1 written";
    expect(await stories()).toEqual({ 1: kept, 2: kept, 3: kept, 4: kept, 50: asEver, 6: asEver });
    expect((await project.status()).pipelines).toMatchObject([{ succeeded: 6, gone: 0 }]);

    // A whole sweep, and rows that come back: as they were, and with another content.
    await run("insert into tasks values (2, 'task 2'), (3, 'another task')");
    await run("delete from tasks where id = 6");
    await upUntilIdle();
    const after = { 1: kept, 2: kept, 4: kept, 50: asEver, 6: "gone answered 1 written" };
    expect(await stories()).toEqual({ ...after, 3: "succeeded answered 2 written" });
    const shown = await project.run("show", "tasks", "1");
    expect(shown.stdout).toContain("answeredGone");

    // What was answered in its presence is gone as any other row.
    await run("delete from tasks where id = 3");
    await upUntilIdle();
    expect(await stories()).toEqual({ ...after, 3: "gone answered 2 written" });
  });

  it("leaves no answer with drop, with an answer that does not pass, or in a target that needs the row", async () => {
    await run("create table task_labels (id int primary key references tasks, categories text[], summary text)");
    const validate = `validate: (answer, row) => row.body === null && answer.summary !== "" ? "there is no row" : null`;
    await project.writeConfig(tasks({ rest: validate }));
    await sendHere(project);
    await run("delete from tasks where id = 1");
    await upUntilIdle();
    expect(await stories()).toMatchObject({ 1: "gone gone 1", 2: "succeeded answered 1 written" });
    const detail = await project.database.first(sql`select detail from rowmill.attempts where outcome = 'gone'`);
    expect(detail).toEqual({ detail: "there is no row" });

    held = true;
    await project.writeConfig(tasks());
    await run("insert into tasks values (11, 'refers')");
    await sendHere(project);
    await run("delete from tasks where id = 11");
    await upUntilIdle(3);
    expect(await stories()).toMatchObject({ 11: "failed unwritable 1" });
    await run("update rowmill.sweeps set wanted_at = now(), wanted_reason = 'the test'");
    await upUntilIdle(3);
    expect(await stories()).toMatchObject({ 11: "failed unwritable 1" });
    await run("alter table task_labels drop constraint task_labels_id_fkey");
    const retried = await project.run("retry", "tasks");
    expect(retried.status, retried.stderr).toBe(0);
    const written = "succeeded unwritable 1 written";
    expect(await stories()).toMatchObject({ 11: written });

    held = true;
    await project.writeConfig(tasks({ source: "" }));
    await run("insert into tasks values (12, 'dropped')");
    await sendHere(project);
    await run("delete from tasks where id = 12");
    await upUntilIdle();
    expect(await stories()).toMatchObject({ 11: written, 12: "gone gone 1" });
  });

  it("cannot use keepAnswer when the target is the source: the config is wrong", async () => {
    await run(
      `create schema other; alter table tasks set schema other;
      alter table other.tasks add summary text, add categories text[]`,
    );
    await run(
      `do $$ begin execute format(
        'alter role %I in database %I set search_path = other', current_user, current_database()); end $$`,
    );
    for (const target of ["public.tasks", "other.tasks"]) {
      await project.writeConfig(tasks({ target }));
      const ended = await project.run("up", "--until-idle", "--yes");
      expect(ended.status, ended.stderr).toBe(2);
      expect(ended.stderr).toContain("pipelines.tasks.source.onGone");
    }
  });
});
