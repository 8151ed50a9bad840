/** What becomes of a batch that is at the provider when the config changes: its price, and its paid answers. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { sendHere } from "../support/work-here.js";

const ROWS = 20;

beforeAll(buildCli, 150_000);

describe("A batch whose definition changes while it is in flight", { timeout: 90_000 }, () => {
  let project: CliProject;
  let held = true;
  beforeEach(async () => {
    held = true;
    project = await startCliProject(serverKind, { gateway: { faults: { hold: () => held } } });
    await createFilms(project);
    await project.writeConfig(filmsPipeline());
    await insertFilms(project, ROWS);
    await sendHere(project);
  });
  afterEach(() => project.close());

  async function changeConfig(keys: string): Promise<void> {
    await project.writeConfig(filmsPipeline(keys));
    held = false;
    project.gateway.release();
    const batch = await project.database.first<{ id: string }>(
      sql`select provider_batch_id as id from rowmill.batches where provider_batch_id is not null`,
    );
    await project.gateway.until(batch?.id ?? "");
    await project.database.run(sql`update rowmill.batches set next_at = now()`);
  }

  /** By batch, the oldest first; in nano-dollars. */
  function costs(): Promise<{ model: string; booked: number; input: number; output: number }[]> {
    return project.database.rows(sql`
      select b.model, sum(a.cost_nano_usd)::float8 as booked, sum(a.input_tokens)::float8 as input,
        sum(a.output_tokens)::float8 as output
      from rowmill.batches b join rowmill.attempts a on a.batch = b.no group by b.id order by b.planned_at`);
  }

  it("is booked at the price of the model that it asked, and the audit agrees", async () => {
    await changeConfig("request: { ...request, model: 'gpt-4o' }, approveAboveUsd: 0");
    const up = await project.run("up", "--once");
    expect(up.status, up.stderr).not.toBe(1);
    const [first] = await costs();
    // gpt-4o-mini by batch: $0.075 and $0.30 a million tokens; each of the rows is rounded up.
    const exact = (first?.input ?? 0) * 75 + (first?.output ?? 0) * 300;
    expect(first?.model).toBe("gpt-4o-mini");
    expect(first?.booked).toBeGreaterThanOrEqual(exact);
    expect(first?.booked).toBeLessThanOrEqual(exact + ROWS);
    const audit = await project.run("doctor", "--audit");
    expect(audit.status, audit.stdout).toBe(0);
    await project.check();
  });

  it("has its paid answers accepted, and its rows wait for approval to be sent again", async () => {
    await changeConfig("request: { ...request, model: 'gpt-4o' }, approveAboveUsd: 0, when: { rows: 1 }");
    const up = await project.run("up", "--once");
    expect(up.status, up.stderr).not.toBe(1);
    expect(await countLabels(project)).toBe(ROWS);
    expect((await project.status()).batches).toMatchObject([{ state: "settled", succeeded: ROWS, returned: 0 }]);
    expect((await project.gateway.journal.summary()).executed).toBe(ROWS);
    const models = sql`select distinct rowmill_model as model from film_labels`;
    expect(await project.database.rows(models)).toEqual([{ model: "gpt-4o-mini" }]);
    const approved = await project.run("up", "--until-idle", "--yes");
    expect(approved.status, approved.stderr).toBe(0);
    expect((await project.gateway.journal.summary()).executed).toBe(2 * ROWS);
    expect(await project.database.rows(models)).toEqual([{ model: "gpt-4o" }]);
    expect((await costs()).map(({ model }) => model)).toEqual(["gpt-4o-mini", "gpt-4o"]);
    await project.check();
  });

  it("keeps an answer that the target cannot hold any more, where show finds it", async () => {
    await project.database.run(sql`alter table film_labels drop column categories`);
    await changeConfig("answer: z.object({ summary: z.string() }), approveAboveUsd: 0");
    const up = await project.run("up", "--once");
    expect(up.status, up.stderr).not.toBe(1);
    expect(await countLabels(project)).toBe(0);
    const shown = await project.run("show", "films", "1");
    expect(shown.stdout).toContain("unwritable");
    expect(shown.stdout).toContain('has no column "categories"');
    expect(shown.stdout).toContain('"categories":');
    await project.check();
  });
});
