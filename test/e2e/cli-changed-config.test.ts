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
    project = await startCliProject(kind);
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
    expect(plan.stdout).toContain(`Your edit of the definition asks ${FILMS} rows again, about $0.00`);
    const changed = await project.run("up", "--until-idle");
    expect(changed.status, changed.stderr).toBe(0);
    expect(changed.stderr).toMatch(
      /^films: the config changed\. To ask its answered rows again: 40 rows, about [\d,]+ input and [\d,]+ output tokens; estimated \$0\.00\d+ \(cap \$/m,
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
        "  Hint: To ask these rows again: rowmill approve films --yes. " +
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

  it("asks answered rows again with --yes, and shows what it cost", async () => {
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
});
