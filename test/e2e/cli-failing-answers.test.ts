/** What a failure that hits every row costs, from the command line: one batch, and no row twice. */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { GatewayFaults } from "../../src/gateway/engine/faults.js";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { createFilms, insertFilms } from "../support/cli-films.js";

beforeAll(buildCli, 150_000);

/** As a reasoning model answers that spends its whole limit on thinking. */
function thinksOnly(line: string): readonly string[] {
  const answer = JSON.parse(line) as { response: { body: { choices: object[]; usage: object } } };
  const { body } = answer.response;
  body.choices = [{ index: 0, finish_reason: "length", message: { role: "assistant", content: "", refusal: null } }];
  body.usage = { prompt_tokens: 50, completion_tokens: 200, total_tokens: 250 };
  return [JSON.stringify(answer)];
}

/** What models that know no schema answer. */
function prose(line: string): readonly string[] {
  const answer = JSON.parse(line) as { response: { body: { choices: { message: { content: string } }[] } } };
  for (const { message } of answer.response.body.choices)
    message.content = "Sure!\nevil: 100 succeeded\u001b[2K I think that this film is a drama.";
  return [JSON.stringify(answer)];
}

describe("rowmill up, with a failure that hits every row", { timeout: 90_000 }, () => {
  let project: CliProject;
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  async function start(transformOutput?: GatewayFaults["transformOutput"]): Promise<void> {
    const faults = transformOutput === undefined ? {} : { transformOutput };
    project = await startCliProject(serverKind, { gateway: { faults } });
    await createFilms(project);
    await insertFilms(project, 100);
    await project.writeConfig(filmsPipeline());
  }

  async function executed(): Promise<number> {
    return (await project.gateway.journal.summary()).executed;
  }

  it("pays a reasoning model that never answers only once a row, below the announced cost, and names the key to raise", async () => {
    await start(thinksOnly);
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(4);
    expect(ended.stderr).toContain("films: 0 succeeded, 100 failed; ");
    expect(ended.stderr).toMatch(
      /^films: 20 of the last 20 answers failed: 20 truncated\. Row "\d+": "the answer reached .*"\. Raise pipelines\.films\.request\.maxOutputTokens \(now 200; .*rowmill resume films\. .*rowmill resume films --accept$/m,
    );
    expect(await executed()).toBe(100);
    const most = /\(cap \$([\d.]+) with/.exec(ended.stderr)?.[1];
    const [spent] = await project.database.rows<{ usd: number }>(
      sql`select sum(cost_nano_usd)::float8 / 1e9 as usd from rowmill.attempts`,
    );
    expect(spent?.usd).toBeGreaterThan(0);
    expect(spent?.usd).toBeLessThanOrEqual(Number(most));
  });

  it("pays for answers in prose only once a row, and shows an example that forges no line", async () => {
    await start(prose);
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(4);
    expect(ended.stderr).toMatch(
      /^films: 20 of the last 20 answers failed: 20 invalid\. Row "\d+": ".*"\. Say in pipelines\.films\.request what /m,
    );
    expect(ended.stderr).not.toMatch(/^evil/m);
    expect(ended.stderr).not.toContain("\u001b[2K");
    expect(await executed()).toBe(100);
    const [status] = (await project.status()).pipelines;
    expect(status).toMatchObject({
      waiting: 100,
      paused: expect.stringMatching(/answers failed: 20 invalid/),
    });
    expect((await project.run("up", "--until-idle")).status).toBe(4);
    expect(await executed()).toBe(100);
  });

  it("continues after `resume --accept`, which holds for these failures of this definition alone", async () => {
    await start();
    await project.database.run(sql`update films set description = '[[demo:refuse]] ' || description where id % 4 <> 0`);
    expect((await project.run("up", "--until-idle")).status).toBe(4);
    expect(await executed()).toBe(100);
    const resumed = await project.run("resume", "films", "--accept");
    expect(resumed.stdout).toMatch(
      /^films is resumed; it no longer pauses for refused answers, until its config changes$/m,
    );
    const nothing = await project.run("resume", "films", "--accept");
    expect(nothing).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("there is nothing to accept"),
    });
    const ended = await project.run("up", "--until-idle");
    expect(ended.status, ended.stderr).toBe(3);
    expect(ended.stderr).toContain("films: 25 succeeded, 75 failed");
    expect(await executed()).toBe(100 + 75 + 75);
    await project.writeConfig(filmsPipeline().replace("request,", 'request: { ...request, system: "Be brief." },'));
    const changed = await project.run("up", "--until-idle", "--yes");
    expect(changed.status, changed.stderr).toBe(4);
    expect(changed.stderr).toMatch(/\d+ of the last 20 answers failed: \d+ refused/);
    expect(await executed()).toBe(350);
  });
});
