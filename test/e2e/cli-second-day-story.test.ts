/**
 * The second day of one pipeline over 1,000 films, as its user lives it: each command of the built CLI, in order, with
 * all it says. Figures that depend on the films, on a sample or on the clock are masked.
 */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, type CliProject, type Ended } from "../support/cli.js";
import { createFilms, insertFilms } from "../support/cli-films.js";
import { databaseKinds, variants } from "../support/databases.js";

beforeAll(buildCli, 150_000);

const kinds = variants(databaseKinds.filter((kind) => kind === serverKind || kind === "embedded"));
const FILMS = 1_000;
/** Enough to meet a long answer, so that none is cut off later. */
const TRIED = "100";
const FIRST_GENRES = ["comedy", "drama", "other"];

interface Definition {
  readonly user: string;
  readonly genres?: readonly string[];
  readonly more?: string;
}

function definition({ user, genres = FIRST_GENRES, more = "" }: Definition): string {
  return `films: pipeline({
    source, polling, attempts: 1,
    request: { ...request, user: ${JSON.stringify(user)} },
    answer: z.object({ genre: z.enum(${JSON.stringify(genres)}), summary: z.string() }),
    target: { table: "film_labels" },
    budget: { usd: 0.1, per: "day" },
    ${more}
  })`;
}

/** What a command said and its status; without progress, and with `~` for what differs from run to run. */
function told({ status, stdout, stderr }: Ended): string[] {
  const lines = `${stdout}${stderr}`
    .split("\n")
    .filter((line) => line !== "" && !/: waiting [\d,]+, batched/.test(line));
  return [`status ${status}`, ...lines.map(masked)];
}

function masked(line: string): string {
  return line
    .replaceAll(/\b[0-9a-f]{8}\b/g, "~")
    .replaceAll(/(?<=about )[\d,.]+/g, "~")
    .replaceAll(/(?<=input and )[\d,]+/g, "~")
    .replaceAll(/\$[\d.]*\d/g, "$~")
    .replace(/; never above your budget of .+? per day$/, "")
    .replaceAll(/\d+ (?:ms|s|min)\b/g, "~")
    .replaceAll(/\d+ \+ \d+ tokens/g, "~ tokens");
}

const LIKELY = "about ~ input and ~ output";
const COST = "estimated $~ (cap $~; live requests: $~)";

describe.each(kinds)("The second day over 1,000 films on %s", { timeout: 240_000 }, (kind) => {
  let project: CliProject;
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  const run = async (...args: string[]) => told(await project.run(...args));
  const json = async (...args: string[]) => JSON.parse((await project.run(...args, "--json")).stdout);
  const executed = async () => (await project.gateway.journal.summary()).executed;
  const labels = () =>
    project.database.rows<{ genre: string; rows: number }>(
      sql`select genre, count(*)::int as rows from film_labels group by 1 order by 1`,
    );

  it("goes from a try to the exact costs, and asks before each change that spends", async () => {
    project = await startCliProject(kind, { prepared: true });
    await createFilms(project);
    await insertFilms(project, FILMS);

    // A first prompt, tried on five rows, and a better one.
    await project.writeConfig(definition({ user: "{{ title }}" }));
    expect((await run("try", "films")).slice(-3)).toEqual([
      "Try 1: 5 rows ok, 0 failed, $~ with gpt-4o-mini",
      "  All 1,000 rows by batch: estimated $~ (from these 5 answers)",
      "  For all rows: rowmill up",
    ]);
    await project.writeConfig(definition({ user: "{{ title }}: {{ description }}" }));
    await run("try", "films", "-n", TRIED);
    expect((await run("try", "films", "--compare", "1", "2")).slice(-3)).toEqual([
      expect.stringMatching(/^5 rows in both, \d with the same answer, 95 rows only in try 2$/),
      "  try 1 (gpt-4o-mini): 0 failed, ~ tokens, $~, ~ each",
      "  try 2 (gpt-4o-mini): 0 failed, ~ tokens, $~, ~ each",
    ]);

    // The tries taught how long answers are, so all films fit the budget in one batch.
    const plan = await run("plan", "--requests", "0");
    expect([...plan.slice(0, 9), ...plan.slice(-1)]).toEqual([
      "status 0",
      "films: 1,000 rows would go out",
      "  new  1,000  never asked",
      "  Batches: 1 of 1,000 requests, about ~ kB (all rows fit)",
      "  Start: as soon as a worker runs: when.rows is reached",
      `  Tokens: ${LIKELY}, by a sample of 100 of 1,000 rows`,
      `  Cost: ${COST}`,
      "  Budget: $~ per day: $~ spent, $~ reserved, $~ left; likely enough",
      "  Approval: not needed: the estimate is not above $~ (approveAboveUsd)",
      "Nothing was sent or changed. To send: rowmill up",
    ]);
    const announced = (await json("plan", "--requests", "0")).pipelines[0].plan.estimate;
    expect(await run("up", "--until-idle")).toEqual([
      "status 0",
      "films: 1,000 rows compared",
      `films: 1,000 rows, ${LIKELY} tokens; ${COST}`,
      "films: approved, because the estimate is not above $~ (approveAboveUsd)",
      "films: batch ~ is done: 1,000 rows succeeded, 0 failed; $~; took ~",
      "films: 1,000 succeeded, 0 failed; $~ spent so far",
      "  Answers: select * from film_labels limit 10;",
    ]);
    const first = (await json("costs", "--by", "batch")).total;
    expect(first.batches, "a try is not a batch").toBe(1);
    expect(first.spentUsd).toBeLessThan(announced.capUsd);
    expect(announced.likelyUsd / first.spentUsd).toBeGreaterThan(0.5);
    expect(announced.likelyUsd / first.spentUsd).toBeLessThan(2);

    // Another prompt: a plan says what it costs, and answered rows keep their answers until the question is answered.
    const edited = "The film {{ title }}: {{ description }}";
    await project.writeConfig(definition({ user: edited }));
    await run("try", "films", "-n", TRIED);
    expect((await run("plan", "--requests", "0")).slice(1, 6)).toEqual([
      "films: 1,000 rows would go out",
      "  changed config  1,000  answered, but the config now asks something else",
      "  Your edit of the config sends 1,000 rows again, about $~",
      "    rowmill up asks first. Without a terminal, answered rows wait for your yes: rowmill approve films",
      "  Batches: 1 of 1,000 requests, about ~ kB (all rows fit)",
    ]);
    const asked = await executed();
    const change = `films: the config changed. To send its answered rows again: 1,000 rows, ${LIKELY} tokens; ${COST}`;
    const undecided =
      "films: 1,000 rows keep their answers to the previous config until you decide: rowmill approve films";
    expect(await run("up", "--until-idle")).toEqual([
      "status 0",
      "films: 1,000 rows compared",
      change,
      undecided,
      "films: 1,000 succeeded, 0 failed; $~ spent so far",
      "  Answers: select * from film_labels limit 10;",
    ]);
    expect(await run("status")).toContain(undecided);
    expect(await executed()).toBe(asked);
    expect(await run("approve", "films", "--on-change", "reask")).toEqual([
      "status 0",
      change,
      "films: its answered rows will be sent again.",
    ]);
    expect((await run("up", "--until-idle")).slice(-3)).toEqual([
      "films: batch ~ is done: 1,000 rows succeeded, 0 failed; $~; took ~",
      "films: 1,000 succeeded, 0 failed; $~ spent so far",
      "  Answers: select * from film_labels limit 10;",
    ]);
    expect(await executed()).toBe(asked + FILMS);

    // More words for the enum: the table changes only with consent, and answered rows keep their answers.
    const genres = [...FIRST_GENRES, "crime"];
    await project.writeConfig(definition({ user: edited, genres, more: 'onChange: "newOnly",' }));
    const refused = await run("up", "--until-idle");
    expect(refused.slice(0, 2)).toEqual(["status 4", 'films: the target "public"."film_labels" needs these changes:']);
    expect(refused.slice(-2)).toEqual([
      '  Hint: Let Rowmill run these statements on "public"."film_labels": rowmill up --yes',
      "  Hint: Or run them yourself, then start rowmill up again.",
    ]);
    await insertFilms(project, 5, FILMS);
    await project.database.run(
      sql`update films set description = '[[demo:refuse-once]] Thieves rob a bank: ' || id where id >= ${FILMS + 2}`,
    );
    expect((await run("up", "--until-idle", "--yes")).slice(-8)).toEqual([
      "films: batch ~ is done: 2 rows succeeded, 3 failed; $~; took ~",
      "films: 1,002 succeeded, 3 failed; $~ spent so far",
      "  Answers: select * from film_labels limit 10;",
      ...[2, 3, 4].map((row) => `  ${FILMS + row}: refused: I'm sorry, but I can't help with that.`),
      "  All reasons and fixes: rowmill failures films",
      "  Everything about one row: rowmill show films KEY",
    ]);

    // Failures, and their retry.
    expect(await run("failures")).toEqual([
      "status 0",
      "films: 3 rows refused",
      "  I'm sorry, but I can't help with that.",
      `  Example: ${FILMS + 2}: rowmill show films ${FILMS + 2}`,
      expect.stringMatching(/^ {2}Hint: .*rowmill retry films --reason refused$/),
      "  To retry: about $~",
    ]);
    const again = `films: to send again: 3 rows, ${LIKELY} tokens; ${COST}`;
    expect(await run("retry", "films")).toEqual([
      "status 4",
      "films: 0 written at no cost, 0 to be sent again, 3 left",
      "  3 are not sent again, because you did not confirm it",
      again,
      "rowmill: There is no terminal to ask on, so no row is sent again.",
      "  Hint: To send these rows again without a question: rowmill retry films --yes",
    ]);
    expect(await run("retry", "films", "--yes")).toEqual([
      "status 0",
      "films: 0 written at no cost, 3 to be sent again (estimated $~; now: rowmill flush films), 0 left",
      again,
      "No worker is running. Start one: rowmill up",
    ]);
    expect((await run("up", "--until-idle")).slice(-3)).toEqual([
      "films: batch ~ is done: 3 rows succeeded, 0 failed; $~; took ~",
      "films: 1,005 succeeded, 0 failed; $~ spent so far",
      "  Answers: select * from film_labels limit 10;",
    ]);
    expect(await run("failures")).toEqual(["status 0", "No row failed."]);
    expect(await labels()).toEqual(expect.arrayContaining([{ genre: "crime", rows: expect.any(Number) }]));

    // What it cost, to the last billionth of a dollar.
    const spent = await project.database.first<{ nano: number }>(
      sql`select sum(cost_nano_usd)::float8 as nano from rowmill.attempts`,
    );
    const costs = await json("costs");
    expect(costs.total).toMatchObject({ batches: 4, requests: 2 * FILMS + 8, reservedUsd: 0, unpriced: 0 });
    expect(costs.total.spentUsd).toBeCloseTo((spent?.nano ?? 0) / 1e9, 9);
    expect(costs.total.savedUsd).toBeCloseTo(costs.total.spentUsd, 6);
    expect((await run("doctor", "--audit")).slice(-1)).toEqual(["Every invariant holds."]);
  });
});
