/** What the built command line says of prices, names of models and base URLs before anything is sent. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildCli, filmsPipeline, runCommand, serverKind, startCliProject, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";

let project: CliProject;

beforeAll(buildCli, 150_000);
beforeAll(async () => {
  project = await startCliProject(serverKind);
  await createFilms(project);
  await insertFilms(project, 3);
}, 60_000);
afterAll(() => project.close());

const pricedAt = (price: string, model = "my-own-model") =>
  filmsPipeline(`request: { ...request, model: "${model}"${price} }, budget: { usd: 5, per: "day" }`);

const requestsSent = async () => (await project.gateway.journal.summary()).executed;

describe("Before anything is sent", { timeout: 120_000 }, () => {
  it("a base URL without the version of the API is an error that says which one to use", async () => {
    await project.writeConfig(filmsPipeline());
    const { origin } = new URL(project.gateway.url);
    const run = (url: string, ...args: string[]) =>
      runCommand(args, { cwd: project.folder, env: { ...project.env, OPENAI_BASE_URL: url } });
    const [up, doctor] = await Promise.all([
      run(origin, "up", "--until-idle"),
      run("https://api.openai.com", "doctor"),
    ]);
    expect(up).toEqual({
      status: 2,
      stdout: "",
      stderr: `rowmill: the environment: one mistake\n  OPENAI_BASE_URL: found "${origin}", expected the URL with the API version: "${origin}/v1"\n`,
    });
    expect(doctor.status).toBe(2);
    expect(doctor.stdout).toContain(
      `OPENAI_BASE_URL: found "https://api.openai.com", expected the URL with the API version: "https://api.openai.com/v1"`,
    );
    expect(await requestsSent()).toBe(0);
  });

  it("a misspelled model gets a near match, also from a doctor that reaches no provider", async () => {
    await project.writeConfig(pricedAt("", "gpt4o-mini"));
    const [up, doctor] = await Promise.all([
      project.run("up", "--until-idle"),
      runCommand(["doctor"], { cwd: project.folder, env: { ...project.env, OPENAI_API_KEY: undefined } }),
    ]);
    expect(up.status).toBe(2);
    expect(up.stderr).toContain(`Rowmill has no price for "gpt4o-mini", so it cannot enforce a budget in dollars.
  Hint: Did you mean "gpt-4o-mini"? Change request.model in the config.
  Hint: Set the price in the config: request.price: { input: …, output: … }, in dollars per million tokens.
`);
    expect(doctor.stdout).toContain(`- Did you mean "gpt-4o-mini"? Change request.model in the config.\n`);
    expect(await requestsSent()).toBe(0);
  });

  it("a price in the config makes estimate, budget and costs work for an unknown model", async () => {
    await project.writeConfig(pricedAt(`, price: { input: 1000, output: 2000 }`));
    const up = await project.run("up", "--until-idle", "--yes");
    expect(up.status, up.stderr).toBe(0);
    expect(up.stderr).toMatch(/films: 3 rows, .*; estimated \$[\d.]+ \(cap \$[\d.]+ .*; live requests: \$[\d.]+;/);
    expect(up.stderr).toMatch(/films: 3 succeeded, 0 failed; \$0\.[\d]*[1-9][\d]* spent so far/);
    expect(await countLabels(project)).toBe(3);
    await project.writeConfig(pricedAt(`, price: { input: 1, output: 2 }`));
    const again = await project.run("up", "--until-idle", "--yes");
    expect(again.status, again.stderr).toBe(0);
    expect(await requestsSent()).toBe(3);
    await project.check();
  });
});
