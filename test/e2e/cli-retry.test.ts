/**
 * Answers that were paid for and that the target refused: grouped, written when the target is fixed, and sent again
 * only by a person's word.
 */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { parseCustomId } from "../../src/model/request/custom-id.js";
import { sql } from "../../src/postgres/database.js";
import {
  buildCli,
  serverKind,
  startCliProject,
  until,
  unlessServer,
  type CliProject,
  type Ended,
} from "../support/cli.js";
import { answerHere } from "../support/work-here.js";
import { recount } from "../support/recount.js";

beforeAll(buildCli, 150_000);

type Cells = Readonly<Record<string, unknown>>;

/** What the model answers to a request, which here has the number of its row; a text is no JSON. */
function answering(cellsOf: (id: number) => Cells | string): (line: string) => readonly string[] {
  return (line) => {
    const answer = JSON.parse(line) as {
      custom_id: string;
      response: { body: { choices: { message: { content: string } }[] } };
    };
    const cells = cellsOf(Number(parseCustomId(answer.custom_id)?.requestId));
    for (const { message } of answer.response.body.choices)
      message.content = typeof cells === "string" ? cells : JSON.stringify(cells);
    return [JSON.stringify(answer)];
  };
}

describe.skipIf(serverKind === "embedded")(`rowmill retry${unlessServer}`, { timeout: 150_000 }, () => {
  let project: CliProject;
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  const executed = async () => (await project.gateway.journal.summary()).executed;
  const states = async () => {
    const rows = await project.database.rows<{ key: string; state: string }>(
      sql`select key, state from rowmill.requests order by id`,
    );
    return Object.fromEntries(rows.map(({ key, state }) => [key, state]));
  };
  const retry = async (...args: string[]) => written(await project.run("retry", ...args, "--json"));
  const written = (ended: Ended) => {
    const parsed = JSON.parse(ended.stdout) as {
      pipelines: { written: number; askedAgain: number; left: object[] }[];
    };
    return { ...ended, pipelines: parsed.pipelines };
  };

  it("writes what the fixed target takes, at no cost, and sends the rest again after a yes", async () => {
    const good = { mood: "happy", score: 1, tag: "ok" };
    const bad: Readonly<Record<number, Cells | string>> = {
      2: { ...good, mood: "sad" },
      3: { ...good, score: 12 },
      4: { ...good, tag: "too long" },
      5: "Sure! It is happy.",
      7: { ...good, mood: "sad" },
      8: { ...good, mood: "angry" },
      9: { ...good, tag: "longer than five" },
    };
    let isGood = false;
    const transformOutput = answering((id) => (isGood ? good : (bad[id] ?? good)));
    project = await startCliProject(serverKind, { gateway: { faults: { transformOutput } } });
    await project.database.run(sql`create table notes (id int primary key, body text)`);
    await project.database.run(sql`insert into notes select i, 'note ' || i from generate_series(1, 9) i`);
    await project.database.run(sql`create type mood as enum ('happy')`);
    await project.database.run(
      sql`
        create table ans (id int primary key, mood mood, score int constraint small check (score < 10),
          tag varchar(5))`,
    );
    await project.writeConfig(`notes: pipeline({ source: { table: "notes", key: "id", columns: ["body"] },
      polling, attempts: 1,
      request: { ...request, user: "{{ body }}" }, target: { table: "ans" },
      answer: z.object({ mood: z.string(), score: z.number().int(), tag: z.string() }) })`);
    await answerHere(project);
    expect(await executed()).toBe(9);

    const failures = await project.run("failures", "--json");
    expect(failures.status, failures.stderr).toBe(0);
    const group = { pipeline: "notes", reason: "unwritable" };
    expect(JSON.parse(failures.stdout)).toMatchObject({
      failures: [
        { ...group, rows: 3, kept: 3, key: "2", message: expect.stringContaining("enum") },
        { ...group, rows: 2, kept: 2, key: "4", message: expect.stringContaining("character varying(5)") },
        { ...group, rows: 1, kept: 1, key: "3", message: expect.stringContaining('"small"') },
        { pipeline: "notes", reason: "invalid", rows: 1, kept: 0, key: "5" },
      ],
      more: { groups: 0, rows: 0 },
    });
    const [status] = (await project.status()).pipelines;
    expect(status).toMatchObject({ failed: 7, topFailure: { reason: "unwritable", rows: 3, key: "2" } });
    await project.database.run(sql`alter type mood add value 'angry'`);
    const two = await retry("notes", "--key", "8", "--key", "1");
    expect(two, two.stderr).toMatchObject({
      status: 0,
      pipelines: [{ written: 1, askedAgain: 0, left: [{ why: "notFailed", key: "1", message: "succeeded" }] }],
    });

    await project.database.run(sql`alter type mood add value 'sad'`);
    await project.database.run(sql`update notes set body = 'another text' where id = 7`);
    await project.database.run(sql`insert into ans (id, mood) values (9, 'happy')`);
    await project.database.run(sql`alter table ans alter tag type varchar(20)`);
    const held = await project.database.transaction(async (tx) => {
      await tx.run(sql`select from public.ans where id = 9 for update`);
      return retry("notes", "--reason", "unwritable");
    });
    expect(held, held.stderr).toMatchObject({
      status: 4,
      stderr: expect.stringContaining("rowmill retry notes --reason unwritable --yes"),
      pipelines: [
        {
          written: 2,
          askedAgain: 0,
          left: [
            { why: "unwritable", rows: 1, key: "3", message: expect.stringContaining('"small"') },
            { why: "held", rows: 1 },
            { why: "notConfirmed", rows: 1 },
          ],
        },
      ],
    });

    await project.database.run(sql`alter table ans drop constraint small`);
    const rest = await project.run("retry", "--yes");
    expect(rest, rest.stderr).toMatchObject({ status: 0 });
    expect(rest.stdout).toMatch(
      /^notes: 2 written at no cost, 2 to be sent again \(estimated \$0\.\d+; now: rowmill flush notes\), 0 left\n$/,
    );
    expect(rest.stderr).toMatch(/^notes: to send again: 2 rows, about \d+ input/m);
    expect(await states()).toMatchObject({
      2: "succeeded",
      3: "succeeded",
      5: "waiting",
      7: "waiting",
      9: "succeeded",
    });
    expect(
      await project.database.rows(sql`select id, mood::text, score, tag from ans where id in (3, 9) order by id`),
    ).toEqual([
      { id: 3, mood: "happy", score: 12, tag: "ok" },
      { id: 9, mood: "happy", score: 1, tag: "longer than five" },
    ]);
    expect(await executed()).toBe(9);
    const shown = await project.run("show", "notes", "3");
    expect(shown.stdout).toMatch(/kept answer written by rowmill retry at no cost, \d{4}-/);
    expect(shown.stdout).toContain("failed (unwritable)");
    await project.check();

    isGood = true;
    await answerHere(project);
    expect(await executed()).toBe(11);
    expect(new Set(Object.values(await states()))).toEqual(new Set(["succeeded"]));
  });

  it("writes each answer once, when killed between its transactions, and next to another retry and a worker", async () => {
    project = await startCliProject(serverKind, {
      gateway: { faults: { transformOutput: answering(() => ({ label: "x" })) } },
    });
    await project.database.run(sql`create table notes (id int primary key, body text)`);
    await project.database.run(sql`insert into notes select i, 'note ' || i from generate_series(1, 620) i`);
    await project.writeConfig(`notes: pipeline({ source: { table: "notes", key: "id", columns: ["body"] }, polling,
      request: { ...request, user: "{{ body }}" }, target: { table: "ans" }, answer: z.object({ label: z.string() }) })`);
    await answerHere(project);
    await refuseAfterwards();
    await project.database.run(sql`create table writes (id int)`);
    await project.database.run(sql`create function note() returns trigger language plpgsql as $$ begin
      if (select count(*) from public.ans) >= 500 then perform pg_advisory_xact_lock_shared(1); end if;
      insert into public.writes values (new.id); return new; end $$`);
    await project.database.run(sql`create trigger note before insert on ans for each row execute function note()`);

    await project.database.transaction(async (tx) => {
      await tx.run(sql`select pg_advisory_xact_lock(1)`);
      const first = project.start("retry", "--json");
      await until("the first chunk is written", async () => (await countOf("ans")) === 500);
      first.child.kill("SIGKILL");
      await first.ended;
    });
    expect(await countOf("ans")).toBe(500);
    await project.check();

    await project.start("up").says("Working.");
    const retryProcess = () => project.start("retry", "notes", "--json").ended;
    const both = (await Promise.all([retryProcess(), retryProcess()])).map(written);
    expect(both.map(({ status, stderr }) => [status, stderr])).toEqual([
      [0, ""],
      [0, ""],
    ]);
    expect(both.reduce((sum, { pipelines }) => sum + (pipelines[0]?.written ?? 0), 0)).toBe(120);
    expect(await countOf("ans")).toBe(620);
    expect(await countOf("writes")).toBe(620);
    expect(new Set(Object.values(await states()))).toEqual(new Set(["succeeded"]));
    expect(await executed()).toBe(620);
  });

  /** As if the target had refused them all; a collector that meets that pauses, and takes long to get there. */
  async function refuseAfterwards(): Promise<void> {
    await project.database.run(sql`truncate ans`);
    await project.database.run(
      sql`update rowmill.attempts set ending = 'failed', outcome = 'unwritable', answer = '{"label":"x"}'`,
    );
    await project.database
      .run(sql`update rowmill.requests set state = 'failed', error_code = 'unwritable', error = 'no',
      answered_hash = null, answered_fingerprint = null, answered_batch = null`);
    await recount(project);
  }

  async function countOf(table: "ans" | "writes"): Promise<number> {
    const [row] = await project.database.rows<{ count: number }>(
      table === "ans" ? sql`select count(*)::int as count from ans` : sql`select count(*)::int as count from writes`,
    );
    return row?.count ?? 0;
  }
});
