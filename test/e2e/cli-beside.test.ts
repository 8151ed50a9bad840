import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { pipelineOverviews } from "../../src/store/ledger/overview.js";
import {
  buildCli,
  filmsPipeline,
  runCommand,
  serverKind,
  startCliProject,
  until,
  type CliProject,
  type RunningCli,
} from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { sendHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

/** Nothing goes out by itself. */
const patient = filmsPipeline("when: { rows: 1000, maxWait: '24h' }");

async function startUp(project: CliProject): Promise<RunningCli> {
  const up = project.start("up");
  await up.says("Working.");
  return up;
}

async function untilPipeline(
  project: CliProject,
  counts: Partial<Record<"waiting" | "batched" | "succeeded", number>>,
): Promise<void> {
  await until(JSON.stringify(counts), async () => {
    const [films] = await pipelineOverviews(project.database);
    return films !== undefined && Object.entries(counts).every(([state, count]) => Reflect.get(films, state) === count);
  });
}

describe("Commands while up runs", { timeout: 90_000 }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject(serverKind);
    await createFilms(project);
    await project.writeConfig(patient);
  });
  afterEach(() => project.close());

  it("report the state of everything, and flush rows below the threshold", async () => {
    const up = await startUp(project);
    await insertFilms(project, 5);
    await untilPipeline(project, { waiting: 5 });
    const table = await project.run("status");
    expect(table.status, table.stderr).toBe(0);
    expect(table.stdout).toMatch(/^pipeline +waiting +batched +succeeded +failed +spent +reserved\nfilms +5 +0 +0 +0 /);
    expect(table.stdout).toContain("films: the next batch starts within 24 h. Start it now: rowmill flush films");
    expect(table.stdout).toContain(`1 worker: process ${up.child.pid} on `);

    const flushed = await project.run("flush", "films");
    expect(flushed).toMatchObject({
      status: 0,
      stdout: "films: 5 waiting rows will be sent now\n",
      stderr: "",
    });
    await untilPipeline(project, { succeeded: 5 });
    // The last answer is written before the batch ends.
    await until("the batch to be settled", async () => {
      const [batch] = (await project.status()).batches;
      return batch?.state === "settled";
    });
    const status = await project.status();
    expect(status).toEqual({
      workers: [{ host: expect.any(String), pid: up.child.pid, startedAt: expect.any(String), configChangedAt: null }],
      overdue: [],
      waits: [],
      refusedPushes: [],
      syncs: [],
      providers: [expect.objectContaining({ name: "openai", paidTwice: "Nothing." })],
      pipelines: [
        {
          name: "films",
          waiting: 0,
          batched: 0,
          succeeded: 5,
          failed: 0,
          cancelled: 0,
          gone: 0,
          paused: null,
          undecided: 0,
          topFailure: null,
          unnamed: [],
        },
      ],
      batches: [
        {
          id: expect.stringMatching(/^[0-9a-f-]{36}$/),
          pipeline: "films",
          state: "settled",
          provider: "openai",
          providerBatchId: expect.stringMatching(/^batch_/),
          presumed: false,
          cancelWanted: false,
          requests: 5,
          succeeded: 5,
          failed: 0,
          returned: 0,
        },
      ],
    });
    up.child.kill("SIGINT");
    expect((await up.ended).status).toBe(130);
    await project.check();
  });

  it("pause and resume the pipeline: nothing is sent in between, and --until-idle does not wait for it", async () => {
    const up = await startUp(project);
    const paused = await project.run("pause", "films", "--reason", "the prompt is being rewritten");
    expect(paused).toMatchObject({
      status: 0,
      stdout: "films is paused. Resume it: rowmill resume films\n",
    });
    await up.says("films: paused: the prompt is being rewritten");
    await insertFilms(project, 3);
    await untilPipeline(project, { waiting: 3 });
    expect((await project.status()).pipelines[0]?.paused).toBe(
      "the prompt is being rewritten. Resume it: rowmill resume films",
    );
    up.child.kill("SIGINT");
    await up.ended;

    const idle = await project.run("up", "--until-idle");
    expect(idle.status, idle.stderr).toBe(4);
    expect(idle.stderr).toContain("films: the prompt is being rewritten");
    expect((await project.gateway.journal.summary()).executed).toBe(0);

    const resumed = await project.run("resume", "films");
    expect(resumed).toMatchObject({
      status: 0,
      stdout: "films is resumed\n",
      stderr: "No worker is running. Start one: rowmill up\n",
    });
    expect((await project.run("up", "--until-idle")).status).toBe(0);
    expect(await countLabels(project)).toBe(3);
  });

  it("leave a sweep to the worker, and report that", async () => {
    const up = await startUp(project);
    await project.database.transaction(async (tx) => {
      await tx.run(sql`select set_config('session_replication_role', 'replica', true)`);
      await tx.run(sql`insert into films values (1, 'Unseen', 'A film that no trigger saw.')`);
    });
    const swept = await project.run("sweep", "films");
    expect(swept.status, swept.stderr).toBe(0);
    expect(swept.stdout).toMatch(
      new RegExp(`^films: the worker \\(process ${up.child.pid} on .*\\) will compare all rows`),
    );
    await untilPipeline(project, { waiting: 1 });
  });

  it("sweep themselves without a worker, and need no key", async () => {
    await sendHere(project);
    await project.database.transaction(async (tx) => {
      await tx.run(sql`select set_config('session_replication_role', 'replica', true)`);
      await tx.run(sql`insert into films values (1, 'Unseen', 'A film that no trigger saw.')`);
    });
    const env = { ...project.env, OPENAI_API_KEY: undefined };
    const swept = await runCommand(["sweep"], { cwd: project.folder, env });
    expect(swept).toMatchObject({
      status: 0,
      stderr: "No worker is running, so this command compares the rows itself.\nfilms: 1 row compared\n",
    });
    await untilPipeline(project, { waiting: 1 });
  });
});

describe("A second worker on the embedded database", { timeout: 60_000 }, () => {
  it("is refused with the id of the first, while status and flush work next to the first", async () => {
    const project = await startCliProject("embedded");
    try {
      await createFilms(project);
      await project.writeConfig(patient);
      const first = await startUp(project);
      const second = await project.run("up", "--until-idle");
      expect(second.status).toBe(1);
      expect(second.stderr).toMatch(
        new RegExp(
          `^rowmill: process ${first.child.pid} \\(rowmill up, since [^)]+\\) already works on this embedded database, which takes one worker\\.\n`,
        ),
      );
      await insertFilms(project, 5);
      await untilPipeline(project, { waiting: 5 });
      expect((await project.run("flush")).status).toBe(0);
      await untilPipeline(project, { succeeded: 5 });
      first.child.kill("SIGTERM");
      expect((await first.ended).status).toBe(143);
      expect((await project.run("up", "--until-idle")).status).toBe(0);
    } finally {
      await project.close();
    }
  });
});
