/**
 * Old and new versions of Rowmill beside each other: this one is the old one, and the test plays a newer one's
 * migration.
 */
import { readFile } from "node:fs/promises";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import { LEDGER_VERSION } from "../../src/store/ledger/understood.js";
import { buildCli, filmsPipeline, serverKind, startCliProject, until, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { answerHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

describe("A newer version's migration, while two workers work", { timeout: 90_000 }, () => {
  let project: CliProject;
  let held = true;
  beforeEach(async () => {
    held = true;
    project = await startCliProject(serverKind, { gateway: { faults: { hold: () => held } } });
    await createFilms(project);
    await project.writeConfig(filmsPipeline("when: { rows: 4, maxWait: '1s' }"));
  });
  afterEach(() => project.close());

  async function twoWorkers() {
    const workers = [project.start("up"), project.start("up")];
    for (const worker of workers) await worker.says("Working.");
    await insertFilms(project, 4);
    await until("a batch at the provider", async () => {
      const rows = await project.database.rows(sql`select id from rowmill.batches where state = 'running'`);
      return rows.length === 1;
    });
    return workers;
  }

  function letGo(): void {
    held = false;
    project.gateway.release();
  }

  it("stops workers that cannot work with it, with a clear message, and pauses and loses nothing", async () => {
    const workers = await twoWorkers();
    await project.database.transaction(async (tx) => {
      await tx.run(raw("lock table rowmill.batches in access exclusive mode"));
      await tx.run(sql`insert into rowmill.migrations (version, name, sha256) values (99, '0099_later.sql', '')`);
      await tx.run(sql`update rowmill.deployment set oldest_version = 99`);
      await tx.run(sql`update rowmill.batches set lease_token = null, lease_until = null, lease_worker = null`);
      await tx.run(raw("alter table rowmill.batches rename column next_at to next_look_at"));
      await tx.run(raw("alter table rowmill.requests rename column state to stands"));
    });
    await insertFilms(project, 2, 100);
    for (const worker of workers) {
      const ended = await worker.ended;
      expect(ended.status, ended.stderr).toBe(1);
      expect(ended.stderr).toContain(
        `rowmill: A newer Rowmill upgraded this ledger to schema version 99; this Rowmill knows ${LEDGER_VERSION}.\n` +
          "  Hint: Install the newer version of Rowmill: npm install rowmill@latest\n" +
          "  Hint: Nothing is lost: workers of the newer version continue what this one had begun.\n",
      );
    }
    for (const args of [["status"], ["pause", "films"], ["up", "--once"]]) {
      const refused = await project.run(...args);
      expect(refused, args.join(" ")).toMatchObject({
        status: 1,
        stderr: expect.stringContaining("rowmill: A newer Rowmill upgraded this ledger"),
      });
    }
    expect(await project.database.rows(sql`select pause_kind as paused from rowmill.pipelines`)).toEqual([
      { paused: null },
    ]);
    expect((await project.gateway.journal.summary()).batches).toHaveLength(1);

    // The newer version comes, as which this one has to serve again.
    await project.database.transaction(async (tx) => {
      await tx.run(sql`update rowmill.deployment set oldest_version = 1`);
      await tx.run(raw("alter table rowmill.batches rename column next_look_at to next_at"));
      await tx.run(raw("alter table rowmill.requests rename column stands to state"));
    });
    letGo();
    await answerHere(project);
    expect(await countLabels(project)).toBe(6);
    expect((await project.gateway.journal.summary()).executed).toBe(6);
    await project.check();
  });

  it("lets workers continue when it only adds", async () => {
    const workers = await twoWorkers();
    await project.database.transaction(async (tx) => {
      await tx.run(sql`insert into rowmill.migrations (version, name, sha256) values (99, '0099_later.sql', '')`);
      await tx.run(raw("alter table rowmill.batches add column later text"));
    });
    letGo();
    await insertFilms(project, 2, 100);
    await until("6 labels", async () => (await countLabels(project)) === 6);
    expect((await project.run("up", "--once")).status).toBe(0);
    for (const worker of workers) {
      worker.child.kill("SIGTERM");
      expect((await worker.ended).status).toBe(143);
    }
    expect((await project.gateway.journal.summary()).executed).toBe(6);
    await project.check();
  });
});

describe("A ledger of an earlier version", { timeout: 60_000 }, () => {
  it("is upgraded only by up: every other command points to it, and uninstall does its work", async () => {
    const project = await startCliProject(serverKind);
    try {
      await project.database.run(raw(await readFile(new URL("../ledgers/0001.sql", import.meta.url), "utf8")));
      // As of one that lacks a migration.
      await project.database.run(sql`delete from rowmill.migrations`);
      await project.writeConfig(`notes: pipeline({ source: { table: "notes", key: "id", columns: ["body"] }, polling,
        request: { ...request, user: "{{ body }}" }, answer: z.object({ categories: z.array(z.string()) }), target: { table: "note_answers" } })`);
      const commands = [["status"], ["status", "--json"], ["show", "notes", "1"], ["doctor", "--audit"]];
      for (const args of [...commands, ["pause", "notes"], ["resume", "notes"], ["flush"]]) {
        const { status, stderr } = await project.run(...args);
        expect({ args, status, stderr }).toMatchObject({
          status: 4,
          stderr: expect.stringMatching(/earlier version.*rowmill up/s),
        });
      }
      expect(await project.run("uninstall")).toMatchObject({ status: 0 });
    } finally {
      await project.close();
    }
  });
});
