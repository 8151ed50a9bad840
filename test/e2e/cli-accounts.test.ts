/** Batches of another account than the present one: they hold their own rows and nothing else, and can be given up. */
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startGateway, type Gateway } from "../../src/gateway/gateway.js";
import { sql } from "../../src/postgres/database.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import {
  buildCli,
  filmsPipeline,
  runCommand,
  serverKind,
  startCli,
  startCliProject,
  until,
  type CliProject,
  type Ended,
  type RunningCli,
  type Variables,
} from "../support/cli.js";
import { sendHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

describe("A batch of another account", { timeout: 120_000 }, () => {
  let project: CliProject;
  let other: Gateway;
  let isHeld: boolean;
  let isDown: boolean;
  let there: Variables;
  const running: RunningCli[] = [];
  beforeEach(async () => {
    isHeld = true;
    isDown = false;
    const down = { kind: "reply", status: 503, body: {} } as const;
    const faults = { hold: () => isHeld, beforeEffect: () => (isDown ? down : undefined) };
    project = await startCliProject(serverKind, { prepared: true, gateway: { faults } });
    other = await startGateway({ dataDir: join(project.folder, "other"), demoModel: true, batchDelayMs: 0 });
    there = { ...project.env, OPENAI_BASE_URL: other.url };
    await createFilms(project);
    await project.writeConfig(filmsPipeline());
    await insertFilms(project, 3);
  });
  afterEach(async () => {
    for (const { child, ended } of running.splice(0)) {
      child.kill("SIGKILL");
      await ended;
    }
    await other.close();
    await project.close();
  });

  function run(env: Variables, ...args: string[]): Promise<Ended> {
    return runCommand(args, { cwd: project.folder, env });
  }

  function start(env: Variables, ...args: string[]): RunningCli {
    const started = startCli(args, { cwd: project.folder, env });
    running.push(started);
    return started;
  }

  async function batchId(): Promise<string> {
    const [row] = await project.database.rows<{ id: string }>(
      sql`select id::text as id from rowmill.batches order by planned_at limit 1`,
    );
    return row?.id ?? "";
  }

  function states(): Promise<unknown[]> {
    return project.database.rows(sql`select account, state, requests from rowmill.batches order by planned_at, id`);
  }

  const accounted = () =>
    project.database.first<{ reserved: number; spent: number; lost: number }>(sql`
    select sum(reserved_nano_usd)::float8 as reserved, sum(lost_nano_usd)::float8 as lost,
      (select coalesce(sum(cost_nano_usd), 0)::float8 from rowmill.attempts) as spent from rowmill.batches`);

  it("holds its own rows only: the others continue, and status says what is missing", async () => {
    await sendHere(project);
    await insertFilms(project, 4, 100);
    const id = await batchId();
    const up = await run(there, "up", "--until-idle");
    expect(up.status, up.stderr).toBe(4);
    expect(up.stderr).toContain(
      `films: Batch ${id} of films was sent with ${project.gateway.url}, but the worker uses ${other.url}`,
    );
    expect(await countLabels(project)).toBe(4);
    const status = await project.status();
    expect(status.pipelines).toMatchObject([{ batched: 3, succeeded: 4, waiting: 0, paused: null }]);
    expect(status.batches[0]).toMatchObject({
      id,
      state: "running",
      held: {
        account: `${project.gateway.url}||`,
        presentAccount: `${other.url}||`,
        missing: [`OPENAI_BASE_URL=${project.gateway.url}`, "OPENAI_API_KEY"],
        abandon: `rowmill cancel --abandon ${id}`,
      },
    });
    const text = (await project.run("status")).stdout.replaceAll(/\s+/g, " ");
    expect(text).toContain(
      `start rowmill up with that account's OPENAI_BASE_URL=${project.gateway.url} and OPENAI_API_KEY`,
    );
    expect(text).toContain(`To give it up: rowmill cancel --abandon ${id}`);
    const doctor = (await run(there, "doctor")).stdout.replaceAll(/\s+/g, " ");
    expect(doctor).toContain(`rowmill cancel --abandon ${id}`);
    isHeld = false;
    project.gateway.release();
    const back = await project.run("up", "--until-idle");
    expect(back.status, back.stderr).toBe(0);
    expect(await countLabels(project)).toBe(7);
    expect((await project.status()).batches[0]).not.toHaveProperty("held");
    await project.check();
  });

  it("with another organization or project says what it misses, and holds no other rows", async () => {
    await project.writeConfig(filmsPipeline("when: { rows: 1, maxWait: '1h' }"));
    const organization = { ...project.env, OPENAI_ORG_ID: "org-a" };
    const both = { ...project.env, OPENAI_ORG_ID: "org-b", OPENAI_PROJECT_ID: "p1" };
    await sendHere({ ...project, env: organization });
    await insertFilms(project, 2, 100);
    await sendHere({ ...project, env: both });
    await insertFilms(project, 1, 200);
    const up = start({ ...there, OPENAI_ORG_ID: "org-c" }, "up");
    await until("the third one is answered", async () => (await countLabels(project)) === 1);
    // The second worker saw the first batch as held, too, and noted what it missed itself.
    await until("both are seen as held by this worker, and the third one has settled", async () => {
      const { batches } = await project.status();
      const ofThisWorker = batches.filter(({ held }) => held?.presentAccount === `${other.url}|org-c|`);
      return ofThisWorker.length === 2 && batches[2]?.state === "settled";
    });
    const { batches } = await project.status();
    expect(batches).toMatchObject([
      {
        held: {
          missing: [`OPENAI_BASE_URL=${project.gateway.url}`, "OPENAI_ORG_ID=org-a", "OPENAI_API_KEY"],
        },
      },
      {
        held: {
          missing: [
            `OPENAI_BASE_URL=${project.gateway.url}`,
            "OPENAI_ORG_ID=org-b",
            "OPENAI_PROJECT_ID=p1",
            "OPENAI_API_KEY",
          ],
        },
      },
      { state: "settled" },
    ]);
    // While the worker runs, which sends its rows at once.
    const given = await run({ ...project.env }, "cancel", "--abandon", batches[0]?.id ?? "", "--yes");
    expect(given.status, given.stderr).toBe(0);
    await until("its rows are answered", async () => (await countLabels(project)) === 4);
    up.child.kill("SIGTERM");
    await up.ended;
    isHeld = false;
    project.gateway.release();
    expect((await run(both, "up", "--until-idle")).status).toBe(0);
    expect(await countLabels(project)).toBe(6);
    await project.check();
  });

  it("that was not sent is taken back automatically, and its rows go to the present account", async () => {
    isDown = true;
    await sendHere(project);
    expect(await states()).toEqual([{ account: `${project.gateway.url}||`, state: "uploading", requests: 3 }]);
    const up = await run(there, "up", "--until-idle");
    expect(up.status, up.stderr).toBe(0);
    expect(await states()).toEqual([
      { account: `${project.gateway.url}||`, state: "rejected", requests: 3 },
      { account: `${other.url}||`, state: "settled", requests: 3 },
    ]);
    expect(await countLabels(project)).toBe(3);
    expect((await accounted())?.lost).toBe(0);
    await project.check();
  });

  it("reached by plain HTTP approves nothing for an account by HTTPS", async () => {
    await project.writeConfig(filmsPipeline("approveAboveUsd: 0"));
    isDown = true;
    expect((await project.run("up", "--once", "--yes")).status).toBe(0);
    const remote = { ...project.env, OPENAI_BASE_URL: "https://127.0.0.1:1/v1" };
    const sweep = await run(remote, "sweep");
    expect(sweep.status, sweep.stderr).toBe(0);
    const approved = sql`select approved_hash is not null as approved from rowmill.pipelines`;
    expect(await project.database.first(approved)).toEqual({ approved: true });
    const up = await run(remote, "up", "--until-idle");
    expect(up.status, up.stderr).toBe(4);
    expect(up.stderr).toContain("films: waits for approval. Approve it: rowmill approve films");
    expect(await project.database.first(approved)).toEqual({ approved: false });
    await project.check();
  });

  it("whose create lost its reply is held like one that was created", async () => {
    await sendHere(project);
    await project.database
      .run(sql`update rowmill.batches set state = 'submitting', provider_batch_id = null, submitted_at = null,
      create_intent_at = now(), spool_sha256 = coalesce(spool_sha256, 'x')`);
    expect((await run(there, "up", "--until-idle")).status).toBe(4);
    const given = await run(there, "cancel", "--abandon", await batchId(), "--yes", "--json");
    expect(JSON.parse(given.stdout)).toMatchObject({ state: "cancelled", rows: 3 });
    expect((await run(there, "up", "--until-idle")).status).toBe(0);
    expect(await countLabels(project)).toBe(3);
    await project.check();
  });

  it("leaves the rest of a budget to other batches", async () => {
    await project.writeConfig(filmsPipeline("budget: { usd: 0.0006, per: 'total' }"));
    await sendHere(project);
    await insertFilms(project, 10, 100);
    const up = await run(there, "up", "--until-idle");
    expect(up.status, up.stderr).toBe(4);
    expect(await countLabels(project)).toBe(10);
    expect(up.stderr).not.toContain("budget");
    await project.check();
  });

  describe("cancel --abandon", () => {
    it("gives the batch up once: its rows wait again, its reserve is spent, and a late answer changes nothing", async () => {
      await sendHere(project);
      const before = await accounted();
      const id = await batchId();
      const unasked = await run(there, "cancel", "--abandon", id);
      expect(unasked).toMatchObject({ status: 4, stdout: "" });
      expect(unasked.stderr).toContain(`To abandon it without a question: rowmill cancel --abandon ${id} --yes`);
      expect(unasked.stderr).toMatch(
        /3 rows will be sent again with the current account, and up to \$0\.\d+ counts as spent/,
      );
      const given = await run(there, "cancel", "--abandon", id.slice(0, 8), "--yes", "--json");
      expect(given.status, given.stderr).toBe(0);
      const lostUsd = Number(before?.reserved) / 1e9;
      const object = {
        batch: id,
        pipeline: "films",
        state: "cancelled",
        account: `${project.gateway.url}||`,
      };
      expect(JSON.parse(given.stdout)).toEqual({ ...object, rows: 3, dropped: 0, lostUsd });
      expect(await accounted()).toEqual({ reserved: 0, lost: before?.reserved, spent: 0 });
      expect(await run(there, "cancel", "--abandon", id, "--yes")).toMatchObject({
        status: 0,
        stdout: `Batch ${id} was already abandoned.\n`,
      });
      await project.check();
      isHeld = false;
      project.gateway.release();
      expect((await run(there, "up", "--until-idle")).status).toBe(0);
      const back = await project.run("up", "--until-idle");
      expect(back.status, back.stderr).toBe(0);
      const attempts = sql`
        select ending, outcome, count(*)::int as rows
        from rowmill.attempts
        group by 1, 2
        order by 2`;
      expect(await project.database.rows(attempts)).toEqual([
        { ending: "returned", outcome: "abandoned", rows: 3 },
        { ending: "succeeded", outcome: "answered", rows: 3 },
      ]);
      expect((await project.run("status")).stdout).toContain("running → cancelled (given up with rowmill cancel)");
      await project.check();
    });

    it("drops the rows of a batch that was canceled with --drop before, until they are retried", async () => {
      await sendHere(project);
      const id = await batchId();
      expect((await run(there, "cancel", id, "--drop", "--yes")).status).toBe(0);
      const unasked = await run(there, "cancel", "--abandon", id);
      expect(unasked.stderr.replaceAll(/\s+/g, " ")).toMatch(
        /3 rows are dropped, because you canceled it with --drop, and up to \$0\.\d+ counts as spent\. .*To send them anyway: rowmill retry films --reason dropped .*rowmill cancel --abandon --drop [\w-]+ --yes/,
      );
      const given = await run(there, "cancel", "--abandon", id, "--yes");
      expect(given.stdout.replaceAll(/\s+/g, " ")).toMatch(
        /is abandoned: 3 rows of films are dropped, and \$0\.\d+ counts/,
      );
      expect(await run(there, "cancel", "--abandon", "--drop", id, "--yes")).toMatchObject({
        status: 0,
        stdout: `Batch ${id} was already abandoned, so --drop changes nothing.\n`,
      });
      await project.check();
      expect((await run(there, "up", "--until-idle")).status).toBe(0);
      expect(await countLabels(project)).toBe(0);
      const retried = await run(there, "retry", "films", "--reason", "dropped", "--yes", "--json");
      expect(JSON.parse(retried.stdout)).toMatchObject({ pipelines: [{ askedAgain: 3, left: [] }] });
      expect((await run(there, "up", "--until-idle")).status).toBe(0);
      expect(await countLabels(project)).toBe(3);
      await project.check();
    });

    it("leaves the batch whole when it is killed midway, and gives the batch up at the next call", async () => {
      await sendHere(project);
      const id = await batchId();
      let release = (): void => undefined;
      const released = new Promise<void>((resolve) => (release = resolve));
      const blocking = project.database.transaction(async (tx) => {
        await tx.rows(sql`select id from rowmill.requests where key = '2' for update`);
        await released;
      });
      const killed = start(there, "cancel", "--abandon", id, "--yes");
      await until("it waits for the row", async () => {
        const waiting = sql`
          select 1 as one
          from pg_stat_activity
          where wait_event_type = 'Lock' and query like '%rowmill.lines%'`;
        return (await project.database.first(waiting)) !== null;
      });
      killed.child.kill("SIGKILL");
      await killed.ended;
      release();
      await blocking;
      expect((await project.status()).pipelines[0]).toMatchObject({ batched: 3, waiting: 0 });
      await project.check();
      // As if the 20 seconds of its lease were over.
      await project.database.run(sql`update rowmill.batches set lease_until = clock_timestamp()`);
      const again = await run(there, "cancel", "--abandon", id, "--yes");
      expect(again.status, again.stderr).toBe(0);
      expect((await project.status()).pipelines[0]).toMatchObject({ batched: 0, waiting: 3 });
      await project.check();
    });

    it("is refused for a batch that can be collected here, and says what to do instead", async () => {
      await sendHere(project);
      const id = await batchId();
      const refused = await project.run("cancel", "--abandon", id, "--yes");
      expect(refused.status).toBe(4);
      expect(refused.stderr).toContain("and the provider has it (");
      expect(refused.stderr).toContain("  Hint: To collect them: rowmill up\n");
      const keyless = await run({ ...project.env, OPENAI_API_KEY: "" }, "cancel", "--abandon", id, "--yes");
      expect(keyless.stderr).toContain("OPENAI_API_KEY is not set");
      isDown = true;
      const unreachable = await project.run("cancel", "--abandon", id, "--yes");
      expect(unreachable.status).toBe(4);
      expect(unreachable.stderr).toContain("could not check whether it can be collected");
      const plain = await project.run("cancel", id);
      expect(plain.status).toBe(4);
      expect(plain.stderr).toContain("There is no terminal to ask on, so nothing was canceled.");
      expect(plain.stderr).toContain(`rowmill cancel ${id} --yes`);
      expect((await project.run("cancel", "--abandon", "batch_of_nobody", "--yes")).status).toBe(2);
      expect((await project.status()).batches).toMatchObject([{ id, state: "running" }]);
      await project.check();
    });

    it("is refused in a shell with another account while a worker with the batch's account may be collecting", async () => {
      await project.writeConfig(filmsPipeline("when: { rows: 3, maxWait: '1h' }"));
      const up = start(project.env, "up");
      await up.says("Working.");
      await until("it runs", async () => (await project.status()).batches[0]?.state === "running");
      const id = await batchId();
      const refused = await run(there, "cancel", "--abandon", id, "--yes");
      expect(refused).toMatchObject({ status: 4, stderr: expect.stringContaining("stop the workers first") });
      isHeld = false;
      project.gateway.release();
      await until("all are answered", async () => (await countLabels(project)) === 3);
      expect((await project.gateway.journal.summary()).executed).toBe(3);
    });

    it("gives up a batch that its address no longer has, and refuses one that has ended", async () => {
      await sendHere(project);
      const id = await batchId();
      const { port } = new URL(project.gateway.url);
      await project.gateway.close();
      const empty = await startGateway({
        dataDir: join(project.folder, "empty"),
        demoModel: true,
        batchDelayMs: 0,
        port: Number(port),
      });
      try {
        const given = await project.run("cancel", "--abandon", id, "--yes");
        expect(given.status, given.stderr).toBe(0);
        expect(given.stdout).toMatch(/3 rows of films wait again, and \$0\.\d+ counts as spent/);
        expect((await project.run("up", "--until-idle")).status).toBe(0);
        expect(await countLabels(project)).toBe(3);
        const [, settled] = (await project.status()).batches;
        const ended = await project.run("cancel", "--abandon", settled?.id ?? "", "--yes");
        expect(ended).toMatchObject({
          status: 4,
          stderr: expect.stringContaining("has already ended: it is done"),
        });
        await project.check();
      } finally {
        await empty.close();
      }
    });
  });
});
