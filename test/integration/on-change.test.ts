/** What a changed definition does to answered rows: your decision, and nothing before it. */
import { afterEach, expect, it } from "vitest";
import { sweepAll } from "../../src/app/open/round.js";
import { pipeline, z } from "../../src/index.js";
import { settleChanges } from "../../src/cli/screen/changed-rows.js";
import { openTerminal, type Terminal } from "../../src/cli/screen/terminal.js";
import * as changes from "../../src/store/pipelines/changes.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { sweepChunk } from "../../src/worker/rounds/sweeper.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, insertNotes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

type OnChange = "ask" | "reask" | "newOnly" | "keep";

interface Version {
  readonly system?: string;
  readonly onChange?: OnChange;
  readonly columns?: readonly ["body"] | readonly ["body", "extra"];
}

function notes({ system = "Sum it up.", onChange = "ask", columns = ["body"] }: Version = {}) {
  return pipeline({
    ...quick,
    source: { table: "notes", key: "id", columns },
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, system, user: "{{ body }}" },
    answer: z.object({ summary: z.string() }),
    target: { table: "note_summaries" },
    onChange,
  });
}

describeDatabases(
  "A changed definition",
  (kind) => {
    let project: TestProject;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    const worker = (version: Version = {}) => project.worker({ notes: notes(version) }, { approve: false });
    const executed = async () => (await project.gateway.journal.summary()).executed;
    const states = async () => (await requests(project)).map(({ state }) => state);

    async function answered(rows = 4): Promise<void> {
      project = await startProject(kind);
      await createNotes(project, plain(rows));
      await project.run(sql`alter table public.notes add column extra text`);
      await project.drain(await worker());
      expect(await executed()).toBe(rows);
    }

    async function change(context: WorkerContext): Promise<changes.DefinitionChange | null> {
      const [bound] = context.pipelines.values();
      return bound === undefined ? null : changes.changeOf(context.read, bound.id);
    }

    async function decide(context: WorkerContext, decision: changes.ChangeDecision): Promise<boolean> {
      const [bound] = context.pipelines.values();
      if (bound === undefined) throw new Error("There is no pipeline.");
      const { id, definitionHash, provider } = bound;
      const decided = { definitionHash, decision, by: "the test", account: provider.account };
      return context.database.transaction((tx) => changes.decide(tx, id, decided));
    }

    it("sends no answered row again until someone decides, and uses itself for new and changed rows", async () => {
      await answered();
      const changed = await worker({ system: "Be brief." });
      await project.drain(changed);
      expect(await executed()).toBe(4);
      expect(await change(changed)).toMatchObject({ decision: "undecided", rows: 4 });
      await insertNotes(project, plain(1, "later"));
      await project.run(sql`update public.notes set body = 'Something else entirely.' where id = 1`);
      await project.drain(changed);
      expect(await executed()).toBe(6);
      expect(await decide(changed, "reask")).toBe(true);
      expect(await decide(changed, "reask")).toBe(false);
      await project.drain(changed);
      // Those that the new definition answered meanwhile are not sent again.
      expect(await executed()).toBe(9);
      expect(await change(changed)).toMatchObject({ decision: "reask", rows: 0 });
      await project.drain(await worker({ system: "Be brief." }));
      expect(await executed()).toBe(9);
    });

    it("says without a terminal how many rows wait for a decision, and where to take it", async () => {
      await answered();
      const changed = await worker({ system: "Be brief." });
      await project.drain(changed);
      const said: string[] = [];
      const terminal: Terminal = { ...openTerminal(), interactive: false, note: (text) => void said.push(text) };
      expect(await settleChanges({ terminal, context: changed, by: "the test" })).toBe(false);
      expect(said).toEqual([
        expect.stringMatching(
          /^! notes: the config changed\. To send its answered rows again: 4 rows, about .* estimated /,
        ),
        "! notes: 4 rows keep their answers to the previous config until you decide: rowmill approve notes",
      ]);
    });

    it("sends all of them again at once where the config says so", async () => {
      await answered();
      await project.drain(await worker({ system: "Be brief.", onChange: "reask" }));
      expect(await executed()).toBe(8);
    });

    it("counts kept answers as its own, so that only the next change asks about them", async () => {
      await answered();
      const changed = await worker({ system: "Be brief.", onChange: "keep" });
      await project.drain(changed);
      expect(await change(changed)).toMatchObject({ decision: "keep", rows: 0 });
      await project.drain(await worker({ system: "Be brief.", onChange: "reask" }));
      expect(await executed()).toBe(4);
      await project.drain(await worker({ onChange: "reask" }));
      expect(await executed()).toBe(8);
    });

    it("of other columns keeps answers of rows that did not change in the previous ones", async () => {
      await answered();
      await project.run(sql`update public.notes set body = 'Something else entirely.' where id = 2`);
      const changed = await worker({ columns: ["body", "extra"], onChange: "newOnly" });
      await project.drain(changed);
      expect(await executed()).toBe(5);
      await project.run(sql`update public.notes set extra = 'x' where id = 3`);
      await project.drain(changed);
      expect(await executed()).toBe(6);
      expect(await states()).toEqual(Array(4).fill("succeeded"));
    });

    it("keeps answers that arrive after it, also of other columns", async () => {
      let hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(3));
      await project.run(sql`alter table public.notes add column extra text`);
      await project.round(await worker());
      const changed = await worker({ system: "Be brief.", columns: ["body", "extra"], onChange: "newOnly" });
      hold = false;
      project.gateway.release();
      await project.drain(changed);
      expect(await states()).toEqual(Array(3).fill("succeeded"));
      await project.drain(await worker({ system: "Be brief.", columns: ["body", "extra"], onChange: "newOnly" }));
      expect(await executed()).toBe(3);
    });

    it("sends failed rows again in any case", async () => {
      project = await startProject(kind);
      await createNotes(project, ["[[demo:error 400]] one", ...plain(1)]);
      await project.drain(await worker());
      expect(await states()).toEqual(["failed", "succeeded"]);
      await project.drain(await worker({ system: "Be brief." }));
      expect(await executed()).toBe(2 + 1);
    });

    it("is decided by a config that says so while the sweep of the undecided one is under way", async () => {
      await answered();
      const changed = await worker({ system: "Be brief." });
      const [bound] = changed.pipelines.values();
      if (bound === undefined) throw new Error("There is no pipeline.");
      await sweepChunk(changed, bound);
      await sweepChunk(changed, bound);
      await project.drain(await worker({ system: "Be brief.", onChange: "reask" }));
      expect(await executed()).toBe(8);
    });

    it("that is decided while answers are collected sends their rows again, too", async () => {
      let hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(3));
      await project.round(await worker());
      const changed = await worker({ system: "Be brief." });
      await project.round(changed);
      hold = false;
      project.gateway.release();
      let isDecided = false;
      const deciding: WorkerContext = {
        ...changed,
        step: async (name, work) => {
          if (name === "collect.chunk" && !isDecided) {
            isDecided = await decide(changed, "reask");
            await sweepAll(changed, new AbortController().signal);
          }
          return changed.step(name, work);
        },
      };
      await project.drain(deciding);
      await project.drain(changed);
      expect(isDecided).toBe(true);
      expect(await executed()).toBe(6);
    });

    it("counts rows whose answers come after it among those that wait for a decision", async () => {
      let hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(3));
      await project.round(await worker());
      const changed = await worker({ system: "Be brief." });
      hold = false;
      project.gateway.release();
      await project.drain(changed);
      expect(await change(changed)).toMatchObject({ decision: "undecided", rows: 3 });
    });

    it("that replaces another one that was not decided counts the rows of both", async () => {
      await answered(3);
      await project.drain(await worker({ system: "Be brief." }));
      const third = await worker({ system: "Be very brief." });
      await project.drain(third);
      expect(await executed()).toBe(3);
      expect(await change(third)).toMatchObject({ decision: "undecided", rows: 3 });
      const back = await worker();
      await project.drain(back);
      expect(await change(back)).toMatchObject({ decision: "undecided", rows: 0 });
      expect(await executed()).toBe(3);
    });
  },
  bookKeepers,
);
