/** The questions before rows are erased, on a real terminal: who says no, or leaves, loses nothing. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import { buildCli, cliScript, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";
import { startOnScreen, tmuxMissingBecause, type Screen } from "../support/screen.js";
import { answerHere } from "../support/work-here.js";

const ASKS_ERASE = "Erase them?";
const ASKS_DROP = "Drop these rows too?";
const ASKS_PURGE = 'Type "purge" to confirm.';
const KEPT = 'rowmill_data."people" has 2 rows';

const PEOPLE = `
  people: {
    source: { push: true, key: "mail", columns: ["text"] },
    polling,
    request: { model: "gpt-4o-mini", user: "Sum up: {{ text }}", maxOutputTokens: 100 },
    answer: z.object({ summary: z.string() }),
    target: { table: "person_texts" },
  },`;

beforeAll(buildCli, 150_000);

describe.skipIf(serverKind === "embedded")(`On a real terminal${unlessServer}`, { timeout: 120_000 }, () => {
  let project: CliProject;
  const screens: Screen[] = [];
  beforeEach(async ({ skip }) => {
    if (tmuxMissingBecause !== null) skip(tmuxMissingBecause);
    project = await startCliProject(serverKind);
    await project.writeConfig(PEOPLE);
    await answerHere(project);
    const rows = ["Ann", "Bob"].map((mail) => ({ mail, text: `${mail} likes tea.` }));
    await project.database.run(sql`select rowmill.push('people', ${JSON.stringify(rows)}::jsonb)`);
    await answerHere(project);
  });
  afterEach(async () => {
    for (const screen of screens.splice(0)) await screen.close();
    if (tmuxMissingBecause === null) await project.close();
  });

  async function start(...args: readonly string[]): Promise<Screen> {
    const place = { cwd: project.folder, env: { ...project.env, NO_COLOR: "1" }, columns: 200, rows: 40 };
    const screen = await startOnScreen([process.execPath, cliScript, ...args], place);
    screens.push(screen);
    return screen;
  }

  const pushedRows = async () =>
    (await project.database.rows<{ mail: string }>(sql`select mail from rowmill_data.people order by 1`)).map(
      ({ mail }) => mail,
    );
  const count = (from: string) => project.database.number(sql`select count(*)::float8 from ${raw(from)}`);
  const triggers = () => count("pg_catalog.pg_trigger where tgrelid = to_regclass('rowmill_data.people')");

  describe("forget", () => {
    it("erases the rows after a yes, and asks nothing with --yes", async () => {
      const asked = await start("forget", "people", "--key", "Ann", "--answers");
      await asked.shows(ASKS_ERASE);
      await asked.shows("It also deletes them from the target table.");
      expect(await pushedRows()).toEqual(["Ann", "Bob"]);
      await asked.press("y");
      expect(await asked.ended()).toBe(0);
      await asked.shows("people: 1 pushed row deleted, 1 request erased");
      expect(await pushedRows()).toEqual(["Bob"]);
      const unasked = await start("forget", "people", "--key", "Bob", "--yes");
      expect(await unasked.ended()).toBe(0);
      expect((await unasked.lines()).join("\n")).not.toContain(ASKS_ERASE);
      expect(await pushedRows()).toEqual([]);
      expect(await count("public.person_texts")).toBe(1);
      await project.check();
    });

    it.each([
      { keys: ["Enter"], status: 4, said: "Nothing was erased." },
      { keys: ["n"], status: 4, said: "Nothing was erased." },
      { keys: ["C-c"], status: 130, said: "" },
      { keys: ["C-d"], status: 130, said: "" },
    ])("erases nothing after $keys, and ends with status $status", async ({ keys, status, said }) => {
      const screen = await start("forget", "people", "--key", "Ann", "--answers");
      await screen.shows(ASKS_ERASE);
      await screen.press(...keys);
      expect(await screen.ended()).toBe(status);
      await screen.shows(said);
      expect(await pushedRows()).toEqual(["Ann", "Bob"]);
      expect(await count("public.person_texts")).toBe(2);
      expect(await count("rowmill.requests where state = 'succeeded'")).toBe(2);
    });

    it("asks with --json too, and prints the JSON after the answer", async () => {
      const screen = await start("forget", "people", "--key", "Ann", "--json");
      await screen.shows(ASKS_ERASE);
      expect((await screen.lines()).join("\n")).not.toContain('{"pipeline"');
      await screen.press("y");
      expect(await screen.ended()).toBe(0);
      await screen.shows('{"pipeline":"people","keys":["Ann"],');
      expect(await pushedRows()).toEqual(["Bob"]);
    });
  });

  describe("uninstall", () => {
    it("drops pushed rows after a yes", async () => {
      const screen = await start("uninstall");
      await screen.shows(KEPT);
      await screen.shows(ASKS_DROP);
      await screen.press("y");
      expect(await screen.ended()).toBe(0);
      await screen.shows('Dropped rowmill_data."people" with 2 pushed rows.');
      expect(await count("pg_catalog.pg_class where oid = to_regclass('rowmill_data.people')")).toBe(0);
      expect(await count("public.person_texts")).toBe(2);
    });

    it("keeps pushed rows after a no, and with --yes without a question, and removes the triggers", async () => {
      for (const args of [["uninstall"], ["uninstall", "--yes"]]) {
        const screen = await start(...args);
        if (args.length === 1) {
          await screen.shows(ASKS_DROP);
          await screen.press("Enter");
        }
        expect(await screen.ended()).toBe(0);
        await screen.shows("They stay, and a later rowmill up finds them.");
        expect((await screen.lines()).join("\n").includes(ASKS_DROP)).toBe(args.length === 1);
        expect(await pushedRows()).toEqual(["Ann", "Bob"]);
        expect(await triggers()).toBe(0);
      }
    });

    it("drops pushed rows without a question with --pushed-rows", async () => {
      const screen = await start("uninstall", "people", "--pushed-rows");
      expect(await screen.ended()).toBe(0);
      expect((await screen.lines()).join("\n")).not.toContain(ASKS_DROP);
      expect(await count("pg_catalog.pg_class where oid = to_regclass('rowmill_data.people')")).toBe(0);
    });

    it("removes nothing after Ctrl-C at any of its questions", async () => {
      const before = await triggers();
      expect(before).toBeGreaterThan(0);
      const simple = await start("uninstall");
      await simple.shows(ASKS_DROP);
      await simple.press("C-c");
      expect(await simple.ended()).toBe(130);
      const first = await start("uninstall", "--purge");
      await first.shows(ASKS_PURGE);
      await first.press("C-c");
      expect(await first.ended()).toBe(130);
      const second = await start("uninstall", "--purge");
      await second.shows(ASKS_PURGE);
      await second.press("purge", "Enter");
      await second.shows(ASKS_DROP);
      await second.press("C-c");
      expect(await second.ended()).toBe(130);
      expect(await pushedRows()).toEqual(["Ann", "Bob"]);
      expect(await triggers()).toBe(before);
      expect(await count("rowmill.requests where state = 'succeeded'")).toBe(2);
    });

    it("purges after the word, with the pushed rows after a yes", async () => {
      const screen = await start("uninstall", "--purge");
      await screen.shows(ASKS_PURGE);
      await screen.press("purge", "Enter");
      await screen.shows(ASKS_DROP);
      await screen.press("y");
      expect(await screen.ended()).toBe(0);
      await screen.shows("Dropped the schema rowmill_data, which is empty.");
      await screen.shows("Dropped the schemas rowmill and rowmill_worker.");
      expect(await count("pg_catalog.pg_namespace where nspname in ('rowmill', 'rowmill_data')")).toBe(0);
      expect(await count("public.person_texts")).toBe(2);
    });
  });
});
