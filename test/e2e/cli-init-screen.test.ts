import { mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { raw } from "../../src/postgres/database.js";
import { buildCli, cliScript, serverKind } from "../support/cli.js";
import { createDatabase, type TestDatabase } from "../support/databases.js";
import { startOnScreen, tmuxMissingBecause, type Screen } from "../support/screen.js";
import { openUsersDatabase } from "../support/users-database.js";

const ASKS_COLUMNS = "Which columns should the model see?";
const ASKS_MODEL = "Which model?";
const ASKS_PROMPT = "What should it do with each row?";
const ASKS_FORM = "How should the columns be inserted";
const ASKS_ANSWER = "Which fields should the answer have?";
const ASKS_NAME = "What is the name of this pipeline?";
const ASKS_TARGET = "Which table should the answers go to?";

beforeAll(buildCli, 150_000);

describe("rowmill init on a real terminal", { timeout: 120_000 }, () => {
  let server: TestDatabase;
  let folder: string;
  const screens: Screen[] = [];
  beforeAll(async () => {
    server = await createDatabase(serverKind);
    const database = openUsersDatabase({ connectionString: server.url });
    await database.run(
      raw(`create table films (id bigint primary key, title text, description text, notes text);
        create table reviews (id bigint primary key, body text)`),
    );
    await database.close();
  });
  afterAll(() => server.drop());
  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(inject("runFolder"), "cli-init-screen-")));
  });
  afterEach(async () => {
    for (const screen of screens.splice(0)) await screen.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function init(): Promise<Screen> {
    const env = { DATABASE_URL: server.url, PGSSLMODE: "disable", OPENAI_API_KEY: "sk-test-key", NO_COLOR: "1" };
    const place = { cwd: folder, env, columns: 100, rows: 60 };
    const screen = await startOnScreen([process.execPath, cliScript, "init"], place);
    screens.push(screen);
    await screen.shows("Which table has your rows?");
    return screen;
  }

  it("makes a project of a file that it asks for", async ({ skip }) => {
    if (tmuxMissingBecause !== null) skip(tmuxMissingBecause);
    await writeFile(join(folder, "films.csv"), "id,title\n1,Metropolis\n2,Metropolis\n");
    const place = { cwd: folder, env: { OPENAI_API_KEY: "sk-test-key", NO_COLOR: "1" }, columns: 100, rows: 60 };
    const screen = await startOnScreen([process.execPath, cliScript, "init"], place);
    screens.push(screen);
    await screen.shows("Where are your rows?");
    await screen.press("Down", "Down", "Enter");
    await screen.shows("Which file?");
    await screen.press("filsm.csv", "Enter");
    await screen.shows("There is no such file.");
    await screen.press(...Array.from("filsm.csv", () => "BSpace"), "films.csv", "Enter");
    await screen.shows(ASKS_COLUMNS);
    await screen.press("Enter");
    await screen.shows(ASKS_MODEL);
    await screen.press("Enter");
    await screen.shows(ASKS_PROMPT);
    await screen.press("Tell the genre.", "Enter");
    for (const question of [ASKS_FORM, ASKS_ANSWER, ASKS_NAME, ASKS_TARGET]) {
      await screen.shows(question);
      await screen.press("Enter");
    }
    expect(await screen.ended()).toBe(0);
    expect(await readFile(join(folder, "rowmill.config.ts"), "utf8")).toContain('files("films.csv"');
  });

  it("offers after Ctrl-C what was answered before, and forgets it once the config is written", async ({ skip }) => {
    if (tmuxMissingBecause !== null) skip(tmuxMissingBecause);
    const first = await init();
    await first.press("Enter");
    await first.shows(ASKS_COLUMNS);
    await first.press("Down", "Space", "Enter");
    await first.shows(ASKS_MODEL);
    await first.press("-turbo", "Enter");
    await first.shows(ASKS_PROMPT);
    await first.press("Tell the genre.", "Enter");
    await first.shows(ASKS_FORM);
    await first.press("C-c");
    expect(await first.ended()).toBe(130);
    await first.shows("Your answers so far are kept. To continue: rowmill init\n");
    expect(await readdir(folder)).toEqual([".rowmill"]);

    const second = await init();
    await second.press("Enter");
    await second.shows(ASKS_COLUMNS);
    await second.press("Enter");
    await second.shows(ASKS_MODEL);
    await second.shows("gpt-4o-mini-turbo");
    await second.press("Enter");
    await second.shows(ASKS_PROMPT);
    await second.shows("Tell the genre.");
    await second.press("Enter");
    for (const question of [ASKS_FORM, ASKS_ANSWER, ASKS_NAME, ASKS_TARGET]) {
      await second.shows(question);
      await second.press("Enter");
    }
    expect(await second.ended()).toBe(0);
    await second.shows("Wrote rowmill.config.ts.");
    const config = await readFile(join(folder, "rowmill.config.ts"), "utf8");
    expect(config).toContain('model: "gpt-4o-mini-turbo"');
    expect(config).toContain('system: "Tell the genre."');
    expect(config).toContain('columns: ["description", "notes"]');
    expect(await readdir(join(folder, ".rowmill"))).toEqual([]);
  });

  it("offers nothing of another table than the one that is chosen now", async ({ skip }) => {
    if (tmuxMissingBecause !== null) skip(tmuxMissingBecause);
    const first = await init();
    await first.press("Enter");
    await first.shows(ASKS_COLUMNS);
    await first.press("Enter");
    await first.shows(ASKS_MODEL);
    await first.press("Enter");
    await first.shows(ASKS_PROMPT);
    await first.press("Tell the genre.", "Enter");
    for (const question of [ASKS_FORM, ASKS_ANSWER]) {
      await first.shows(question);
      await first.press("Enter");
    }
    await first.shows(ASKS_NAME);
    await first.press("_of_mine", "Enter");
    await first.shows(ASKS_TARGET);
    await first.press("C-c");
    expect(await first.ended()).toBe(130);

    const second = await init();
    await second.press("Down", "Enter");
    await second.shows(ASKS_COLUMNS);
    await second.press("Enter");
    for (const question of [ASKS_MODEL, ASKS_PROMPT, ASKS_FORM, ASKS_ANSWER, ASKS_NAME, ASKS_TARGET]) {
      await second.shows(question);
      await second.press("Enter");
    }
    expect(await second.ended()).toBe(0);
    const config = await readFile(join(folder, "rowmill.config.ts"), "utf8");
    expect(config).toContain('system: "Tell the genre."');
    expect(config).toContain("const reviews = pipeline({");
    expect(config).toContain('target: { table: "reviews_answers"');
  });

  it("says nothing of kept answers where nothing was answered", async ({ skip }) => {
    if (tmuxMissingBecause !== null) skip(tmuxMissingBecause);
    const screen = await init();
    await screen.press("C-c");
    expect(await screen.ended()).toBe(130);
    await screen.shows("Stopped.");
    expect((await screen.lines()).join("\n")).not.toContain("kept");
    expect(await readdir(folder)).toEqual([]);
  });
});
