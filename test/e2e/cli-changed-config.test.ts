/** The second day of a pipeline: try, plan, send, change the prompt, see what that costs, and decide. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";

beforeAll(buildCli, 150_000);

const FILMS = 40;
const kinds = [...new Set([serverKind, "embedded" as const])];

function config(system: string, more = ""): string {
  return `films: pipeline({ source, polling, answer,
    request: { ...request, system: ${JSON.stringify(system)} }, target: { table: "film_labels" }, ${more} })`;
}

describe.each(kinds)("The second day on %s", { timeout: 120_000 }, (kind) => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject(kind, { prepared: true });
    await createFilms(project);
    await insertFilms(project, FILMS);
    await project.writeConfig(config("Sum it up."));
  });
  afterEach(() => project.close());

  const executed = async () => (await project.gateway.journal.summary()).executed;

  it("asks a few rows live, then all, and no answered row again after a change until someone decides", async () => {
    const tried = await project.run("try", "films", "-n", "3");
    expect(tried.status, tried.stderr).toBe(0);
    expect(tried.stdout).toMatch(/✓? ?Try 1: 3 rows ok, 0 failed/);
    const first = await project.run("up", "--until-idle", "--yes");
    expect(first.status, first.stderr).toBe(0);
    expect(await countLabels(project)).toBe(FILMS);

    await project.writeConfig(config("Be brief."));
    const plan = await project.run("plan", "--requests", "0");
    expect(plan.stdout).toContain(`Your edit of the config sends ${FILMS} rows again, about $0.00`);
    const changed = await project.run("up", "--until-idle");
    expect(changed.status, changed.stderr).toBe(0);
    expect(changed.stderr).toMatch(
      /^films: the config changed\. To send its answered rows again: 40 rows, about [\d,]+ input and [\d,]+ output tokens; estimated \$0\.00\d+ \(cap \$/m,
    );
    expect(changed.stderr).toContain(
      "films: 40 rows keep their answers to the previous config until you decide: rowmill approve films",
    );
    const status = await project.run("status");
    expect(status.stdout).toContain(
      "films: 40 rows keep their answers to the previous config until you decide: rowmill approve films",
    );
    const asked = await project.run("approve", "films");
    expect(asked).toMatchObject({
      status: 4,
      stderr:
        "rowmill: There is no terminal to ask on, so nothing was decided.\n" +
        "  Hint: To send these rows again: rowmill approve films --yes. " +
        "To keep their answers: rowmill approve films --on-change newOnly\n",
    });

    const before = await executed();
    const kept = await project.run("approve", "films", "--on-change", "newOnly");
    expect(kept).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(
        "films: its answered rows keep their answers; new and changed rows get the new version.",
      ),
      stderr: "",
    });
    await insertFilms(project, 2, FILMS);
    const again = await project.run("up", "--until-idle");
    expect(again.status, again.stderr).toBe(0);
    expect((await executed()) - before).toBe(2);
    expect(await countLabels(project)).toBe(FILMS + 2);
  });

  it("sends answered rows again with --yes, and shows what it cost", async () => {
    expect((await project.run("up", "--until-idle", "--yes")).status).toBe(0);
    await project.writeConfig(config("Be brief."));
    const before = await executed();
    expect((await project.run("up", "--until-idle", "--yes")).status).toBe(0);
    expect((await executed()) - before).toBe(FILMS);
    const costs = JSON.parse((await project.run("costs", "--json")).stdout) as { sum?: { requests?: number } };
    expect(JSON.stringify(costs)).toContain(`"requests":${2 * FILMS}`);
    const [row] = await project.database.rows<{ usd: number; attempts: number }>(sql`
      select sum(cost_nano_usd)::float8 / 1e9 as usd, count(*)::int as attempts from rowmill.attempts`);
    expect(row?.attempts).toBe(2 * FILMS);
    expect(row?.usd).toBeGreaterThan(0);
  });

  it("numbers the versions of the config, and says of each when, what changed, and what became of its rows", async () => {
    expect((await project.run("up", "--until-idle", "--yes")).status).toBe(0);
    await project.writeConfig(config("Be brief."));
    expect((await project.run("up", "--until-idle", "--yes")).status).toBe(0);
    const asked = sql`select distinct rowmill_version as version from film_labels`;
    expect(await project.database.rows(asked)).toEqual([{ version: 2 }]);
    await project.writeConfig(config("Sum it up."));
    expect((await project.run("up", "--until-idle")).status).toBe(0);

    const shown = await project.run("versions", "films");
    expect(shown).toMatchObject({
      status: 0,
      stderr: "films: 40 rows keep their answers to the previous config until you decide: rowmill approve films\n",
    });
    expect(shown.stdout.replaceAll(/\d{4}-\S+ \S+ UTC/g, "TIME").replaceAll(/\$0\.0\d+/g, "$0.0…")).toBe(
      [
        "version 1, since TIME, after version 2",
        '  system: "Be brief." → "Sum it up."',
        "  40 requests in 1 batch: 40 succeeded, 0 failed; $0.0…",
        "  0 answers in use",
        "",
        "version 2, TIME to TIME",
        '  system: "Sum it up." → "Be brief."',
        "  40 requests in 1 batch: 40 succeeded, 0 failed; $0.0…",
        "  40 answers in use",
        "",
      ].join("\n"),
    );
    const { versions, undecided, more } = JSON.parse((await project.run("versions", "films", "--json")).stdout) as {
      versions: object[];
      undecided: number;
      more: number;
    };
    expect({ undecided, more }).toEqual({ undecided: FILMS, more: 0 });
    expect(versions).toMatchObject([
      { version: 1, until: null, follows: 2, requests: FILMS, failureShare: 0, answersInUse: 0 },
      { version: 2, follows: 1, spentUsd: expect.closeTo(0, 2), answersInUse: FILMS },
    ]);
    const costs = await project.run("costs", "--by", "version", "--json");
    expect(JSON.parse(costs.stdout)).toMatchObject({
      costs: expect.arrayContaining([1, 2].map((version) => expect.objectContaining({ pipeline: "films", version }))),
    });
    expect((await project.run("show", "films", "1")).stdout).toMatch(/answered by .*, version 2 of the config\n/);
    expect(await project.run("versions", "film")).toMatchObject({ status: 2, stdout: "" });
  });
});
