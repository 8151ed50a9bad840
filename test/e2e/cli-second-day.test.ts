/** The commands of the second day: what batches did and cost, what failed, and stopping what should not go on. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, serverKind, startCliProject, until, type CliProject } from "../support/cli.js";
import { createFilms, insertFilms } from "../support/cli-films.js";
import { databaseKinds } from "../support/databases.js";
import { answerHere, sendHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

const kinds = databaseKinds.filter((kind) => kind === serverKind || kind === "embedded");
const viewsPage = await readFile(resolve(import.meta.dirname, "../../docs/sql-views.md"), "utf8");

/** The queries that docs/sql-views.md shows. */
function shownQueries(): string[] {
  return [...viewsPage.matchAll(/```sql\n([^`]+)```/g)]
    .flatMap(([, text = ""]) => text.split(";"))
    .map((query) => query.trim())
    .filter((query) => query !== "");
}

const today = () => new Date().toISOString().slice(0, 10);

describe.each(kinds)("The second day on %s", { timeout: 150_000 }, (kind) => {
  let project: CliProject;
  let held = false;
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  async function start(films: number): Promise<void> {
    project = await startCliProject(kind, {
      gateway: {
        faults: { hold: (batch) => held && (batch.status === "validating" || batch.status === "in_progress") },
      },
    });
    await createFilms(project);
    await insertFilms(project, films);
    await project.writeConfig(filmsPipeline("attempts: 1,"));
  }

  async function batchId(): Promise<string> {
    const row = await project.database.first<{ id: string }>(
      sql`select id from rowmill.batches order by planned_at desc, no desc limit 1`,
    );
    return row?.id ?? "";
  }

  async function states(): Promise<Record<string, number>> {
    const rows = await project.database.rows<{ state: string; rows: number }>(
      sql`select state, count(*)::int as rows from rowmill.requests group by 1 order by 1`,
    );
    return Object.fromEntries(rows.map(({ state, rows: count }) => [state, count]));
  }

  it("lists batches, tells the story of one, and adds up what they cost, in text, JSON and SQL", async () => {
    const began = today();
    held = false;
    await start(4);
    const before = await project.run("batches");
    expect(before).toMatchObject({ status: 2, stderr: expect.stringContaining("Set it up and start working") });
    await project.database.run(sql`update films set description = '[[demo:refuse]] no' where id = 3`);
    await answerHere(project);
    const id = await batchId();
    const short = id.slice(0, 8);
    const listed = await project.run("batches", "films", "--state", "ended", "--since", "1h");
    const cells = listed.stdout.split("\n").map((line) => line.replaceAll(/ {2,}/g, "|"));
    expect(cells[0]).toBe("batch|pipeline|state|requests|done|failed|returned|submitted|took|cost|provider's ID");
    expect(cells[1]).toMatch(
      new RegExp(`^${short}\\|films\\|done\\|4\\|3\\|1\\|0\\|.+ UTC\\|\\d+ s\\|\\$0\\.0\\d+\\|batch_`),
    );
    expect(listed).toMatchObject({ status: 0, stderr: "" });
    expect((await project.run("batches", "--state", "open")).stdout).toBe("No batch matches.\n");
    const json = JSON.parse((await project.run("batches", "--json")).stdout);
    expect(json).toMatchObject({
      batches: [{ batch: id, requests: 4, succeeded: 3, failed: 1, returned: 0 }],
      more: 0,
    });

    const log = (await project.run("log", short)).stdout;
    expect(log).toContain(`batch ${id} of films\n  state     done\n`);
    expect(log).toContain("  requests  4 = 3 succeeded + 1 failed + 0 returned\n  endings   3 answered, 1 refused\n");
    expect(log).toContain("UTC  running → collecting: the provider says completed\n");
    expect(JSON.parse((await project.run("log", id, "--json")).stdout)).toMatchObject({
      batch: id,
      outcomes: [
        { ending: "succeeded", outcome: "answered", rows: 3 },
        { ending: "failed", outcome: "refused", rows: 1 },
      ],
      cancel: null,
    });
    expect(await project.run("log", "nope")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('There is no batch "nope" in this database.'),
    });

    const spent = await project.database.first<{ nano: string; live: string }>(sql`
      select sum(cost_nano_usd)::text as nano, round(sum(cost_nano_usd) / 0.5)::text as live
      from rowmill.attempts`);
    const costs = JSON.parse((await project.run("costs", "--by", "day,model", "--json")).stdout);
    expect(costs).toMatchObject({
      costs: [{ day: expect.toBeOneOf([began, today()]), model: "gpt-4o-mini", batches: 1, requests: 4 }],
      total: {
        spentUsd: Number(spent?.nano) / 1e9,
        savedUsd: (Number(spent?.live) - Number(spent?.nano)) / 1e9,
        reservedUsd: 0,
        estimatedUsd: expect.any(Number),
        unpriced: 0,
      },
    });
    const table = (await project.run("costs")).stdout.split("\n");
    expect(table[0]?.split(/ {2,}/)).toEqual(
      "pipeline model batches requests estimated reserved spent saved".split(" "),
    );
    expect(table[2]).toMatch(/^in all {2,}1 {2,}4 /);

    const queries = shownQueries();
    expect(queries.length).toBeGreaterThan(3);
    for (const query of queries) await project.database.run(raw(query));
    expect(
      await project.database.rows(sql`select pipeline, succeeded, failed, open_batches from rowmill.progress`),
    ).toEqual([{ pipeline: "films", succeeded: "3", failed: "1", open_batches: "0" }]);
    expect(await project.database.rows(sql`select pipeline, key, reason from rowmill.failures`)).toEqual([
      { pipeline: "films", key: "3", reason: "refused" },
    ]);
    expect(
      await project.database.first(sql`select spent_usd * 1e9 = ${spent?.nano}::numeric as same from rowmill.costs`),
    ).toEqual({ same: true });
  });

  it("narrows failures and retries by reason, key and a condition over the table, and says what they cost", async () => {
    held = false;
    await start(6);
    await project.database.run(sql`update films set description = '[[demo:refuse]] ' || id where id >= 2`);
    await answerHere(project);
    const json = async (...args: string[]) => JSON.parse((await project.run(...args, "--json")).stdout);
    expect(await json("failures")).toMatchObject({
      failures: [{ reason: "refused", rows: 4, retryUsd: expect.any(Number) }],
    });
    expect((await project.run("failures")).stdout).toMatch(/\n {2}To retry: about \$0\.0\d+\n$/);
    expect(await json("failures", "films", "--where", "id > 3")).toMatchObject({ failures: [{ rows: 2, key: "4" }] });
    expect(await json("failures", "films", "--key", "2", "--key", "0")).toMatchObject({ failures: [{ rows: 1 }] });
    expect((await project.run("failures", "--reason", "invalid")).stdout).toBe("No failed row matches.\n");
    for (const wrong of ["nonsense", "id > 3); delete from films; --", "id = 1 limit 0"]) {
      const refused = await project.run("retry", "films", "--where", wrong, "--yes");
      expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining("--where: The database refused") });
    }
    expect(await project.database.rows(sql`select from films`)).toHaveLength(6);
    expect(await project.run("failures", "--where", "true")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--where: name the pipeline whose table it is about."),
    });
    const retried = await json("retry", "films", "--where", "id in (2, 5)", "--yes");
    expect(retried).toMatchObject({ pipelines: [{ askedAgain: 2, left: [] }] });
    expect(await states()).toEqual({ failed: 2, succeeded: 2, waiting: 2 });
  });

  it("shows the same failures in the command and in SQL, rows without a usable key included", async () => {
    held = false;
    project = await startCliProject(kind, { prepared: true });
    await project.database.run(sql`create table texts (id text unique, description text)`);
    await project.database.run(
      sql`
        insert into texts values ('a', 'A film.'), ('b', '[[demo:refuse]] no'), (null, 'x'), (null, 'y'),
          (repeat('k', 2000), 'z')`,
    );
    await project.writeConfig(`texts: pipeline({ source: { table: "texts", key: "id", columns: ["description"] },
      polling, attempts: 1, request, answer, target: { table: "text_labels" } })`);
    await answerHere(project);
    const shown = JSON.parse((await project.run("failures", "--json")).stdout) as {
      failures: { reason: string; rows: number; message: string }[];
    };
    const command = shown.failures.map(({ reason, rows, message }) => ({ reason, rows, message }));
    const view = await project.database.rows(sql`
      select reason, sum(rows)::int as rows, min(message) as message
      from rowmill.failures
      group by reason, case when reason = 'refusedKey' then message end
      order by rows desc, message desc`);
    expect(view).toHaveLength(3);
    expect(new Set(command.map((group) => JSON.stringify(group)))).toEqual(
      new Set(view.map((group) => JSON.stringify(group))),
    );
    await project.database.run(sql`update rowmill.pipelines set uninstalled_at = now()`);
    expect((await project.run("failures")).stdout).toBe("No row failed.\n");
    expect(await project.database.rows(sql`select from rowmill.failures`)).toEqual([]);
  });

  it("cancels at the provider without a worker, drops what it says, and recalls it", async () => {
    held = true;
    await start(3);
    await sendHere(project);
    const id = await batchId();
    const asked = await project.run("cancel", "films", "--drop");
    expect(asked).toMatchObject({ status: 4, stdout: "" });
    expect(asked.stderr).toContain(`Batch ${id.slice(0, 8)} of films is at the provider: 3 rows, none answered`);
    expect(asked.stderr).toContain("Rows without an answer are dropped: Rowmill does not send them again");
    expect(asked.stderr).toContain("To cancel without a question: rowmill cancel films --drop --yes");
    const canceled = await project.run("cancel", "films", "--drop", "--yes");
    expect(canceled).toMatchObject({ status: 0 });
    expect(canceled.stderr).toContain("No worker is running, so this command cancels it itself.");
    expect(canceled.stdout).toMatch(
      /^Batch \w{8} of films is (?:being canceled at the provider|canceled\. Rowmill collects the finished answers)\.\n$/,
    );
    await answerHere(project);
    expect(await states()).toEqual({ cancelled: 3 });
    expect(await project.run("cancel", id)).toMatchObject({
      status: 4,
      stderr: expect.stringContaining("has already ended: it is done."),
    });
    expect((await project.run("cancel", "films")).stdout).toBe(
      "films has no open batch, so there is nothing to cancel.\n",
    );
    expect(JSON.parse((await project.run("failures", "--json")).stdout)).toMatchObject({
      failures: [{ reason: "dropped", rows: 3 }],
    });
    expect(JSON.parse((await project.run("retry", "--yes", "--json")).stdout)).toEqual({ pipelines: [] });
    const recalled = await project.run("retry", "films", "--reason", "dropped", "--yes", "--json");
    expect(JSON.parse(recalled.stdout)).toMatchObject({ pipelines: [{ askedAgain: 3 }] });
    held = false;
    await answerHere(project);
    expect(await states()).toEqual({ succeeded: 3 });
  });

  it("cancels next to a running worker, twice at once, and the worker does it", async () => {
    held = true;
    await start(3);
    await sendHere(project);
    const up = project.start("up", "--yes");
    await up.says("Working.");
    await project.run("pause", "films");
    const both = await Promise.all([
      project.start("cancel", "films", "--yes", "--json").ended,
      project.start("cancel", "films", "--yes", "--json").ended,
    ]);
    expect(both.map(({ status }) => status)).toEqual([0, 0]);
    expect(both.map(({ stdout }) => JSON.parse(stdout).worker)).toEqual([
      { pid: up.child.pid, host: expect.any(String) },
      { pid: up.child.pid, host: expect.any(String) },
    ]);
    await until("the rows wait again", async () => (await states())["waiting"] === 3);
    await until("the batch ended", async () => {
      const listed = JSON.parse((await project.run("batches", "--state", "open", "--json")).stdout);
      return listed.batches.length === 0;
    });
    const [listed] = JSON.parse((await project.run("batches", "--state", "cancelled", "--json")).stdout).batches;
    expect(listed).toMatchObject({ stateText: "canceled", returned: 3, costUsd: 0, reservedUsd: 0 });
  });
});
