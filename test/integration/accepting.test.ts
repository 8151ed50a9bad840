/**
 * The usual answers of a chunk are accepted together, without reading their rows; what is not so is looked at row by
 * row.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { WorkerContext } from "../../src/worker/context.js";
import { describeDatabases, bookKeepers } from "../support/databases.js";
import { createNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const ROWS = 5;

describeDatabases(
  "Answers of a chunk",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
    });
    afterEach(() => project.check().finally(() => project.close()));

    /**
     * Drains, and returns how many transactions the collecting took. `before`: what happens before the first of them.
     */
    async function collect(before: () => Promise<unknown> = async () => undefined): Promise<number> {
      const worker = await project.worker({ notes: notesPipeline() });
      let chunks = 0;
      const counted: WorkerContext = {
        ...worker,
        step: async (name, work) => {
          if (name === "collect.chunk" && chunks++ === 0) await before();
          return worker.step(name, work);
        },
      };
      await project.drain(counted);
      return chunks;
    }

    it("are written in one transaction, where they fit", async () => {
      await createNotes(project, plain(ROWS));
      expect(await collect()).toBe(1);
      expect(await outcomes(project)).toEqual({ answered: ROWS });
    });

    it("get the same time, including those that fail", async () => {
      await createNotes(project, [...plain(ROWS), "[[demo:invalid]] This one never fits."]);
      await collect();
      const instants = await project.rows(
        sql`select count(distinct at)::int as instants from rowmill.attempts where attempt = 1`,
      );
      expect(instants).toEqual([{ instants: 1 }]);
    });

    it("are accepted except for rows that changed or went in the meantime, which are looked at", async () => {
      await createNotes(project, plain(ROWS));
      await collect(async () => {
        await project.run(sql`update public.notes set body = 'Another text, plain and short.' where id = 1`);
        await project.run(sql`delete from public.notes where id = 2`);
      });
      expect(await outcomes(project)).toEqual({ answered: ROWS - 1, gone: 1, stale: 1 });
      expect((await requests(project)).map(({ key, state }) => `${key} ${state}`)).toEqual([
        "1 succeeded",
        "2 gone",
        "3 succeeded",
        "4 succeeded",
        "5 succeeded",
      ]);
    });

    it.each([
      ["raises", "raise exception 'not this one'"],
      ["raises a server's shutdown", "raise exception 'not this one' using errcode = '57P01'"],
      ["raises that there is no room", "raise exception 'not this one' using errcode = '53100'"],
      ["raises that no write is taken", "raise exception 'not this one' using errcode = '25006'"],
      ["raises a lost connection", "raise exception 'not this one' using errcode = '08006'"],
      ["returns nothing", "return null"],
    ])("are written except the one for which the target's trigger %s", async (_, does) => {
      await createNotes(project, plain(ROWS));
      await collect(async () => {
        const body = `begin if new.id = 3 then ${does}; end if; return new; end`;
        await project.database.pool.query(
          `create function public.judge() returns trigger language plpgsql as $$ ${body} $$;
           create trigger judge before insert on public.note_summaries for each row execute function public.judge()`,
        );
      });
      expect(await outcomes(project)).toEqual({ answered: ROWS - 1, unwritable: 1 });
      expect(await project.rows(sql`select id from public.note_summaries order by id`)).toEqual(
        [1, 2, 4, 5].map((id) => ({ id })),
      );
    });
  },
  bookKeepers,
);
