/** Failed rows by a condition over their table, of which there are more than one page. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { askAgain, prepareAgain } from "../../src/app/story/ask-again.js";
import { failedPages, PAGE_ROWS } from "../../src/app/story/failed-pages.js";
import { groupFailures } from "../../src/app/story/failures.js";
import { pipeline } from "../../src/index.js";
import type { FailedRows } from "../../src/store/requests/failures.js";
import type { Pipeline, WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { recount } from "../support/recount.js";

const { signal } = new AbortController();
/** Two pages and a half. */
const ROWS = 2_500;

describeDatabases(
  "Failed rows that match a condition",
  (kind) => {
    let project: TestProject;
    let worker: WorkerContext;
    let one: Pipeline;

    beforeAll(async () => {
      project = await startProject(kind);
      await project.run(sql`create table public.texts (id int primary key, body text)`);
      await project.run(sql`insert into public.texts select i, 'text ' || i from generate_series(1, ${ROWS}::int) i`);
      const texts = pipeline({
        source: { table: "texts", key: "id", columns: ["body"], where: "id <> 3" },
        ...quick,
        request: { model: "gpt-4o-mini", user: (row) => row.body },
        target: { table: "labels" },
      });
      worker = await project.worker({ texts });
      await project.drain(worker);
      const [first] = worker.pipelines.values();
      if (first === undefined) throw new Error("There is no pipeline.");
      one = first;
      await fail();
    }, 120_000);
    afterAll(async () => {
      await project.close();
    });

    /** Every row, for one of two reasons. */
    async function fail(): Promise<void> {
      await project.run(sql`
        update rowmill.attempts
        set ending = 'failed', outcome = 'invalid'`);
      await project.run(sql`
        update rowmill.requests
        set state = 'failed', error_code = 'invalid', answered_hash = null, answered_fingerprint = null,
          error = case when key::int % 5 = 0 then 'row ' || key || ' is odd' else 'no number in ' || key end`);
      await recount(project);
    }

    const meant = (): FailedRows => ({ pipelineId: one.id, reasons: null, keys: null });

    async function waiting(): Promise<number> {
      const [row] = await project.rows<{ n: number }>(
        sql`select count(*)::int as n from rowmill.requests where state = 'waiting'`,
      );
      return row?.n ?? 0;
    }

    it("come in pages, whatever the number of rows, without those that source.where leaves out", async () => {
      const compared: number[] = [];
      const chosen = { meant: meant(), where: "id % 2 = 1", onCompared: (rows: number) => compared.push(rows) };
      const sizes: number[] = [];
      for await (const { keys } of failedPages(worker.database, one, chosen)) sizes.push(keys?.length ?? -1);
      // Row 3 has no request.
      expect(compared).toEqual([PAGE_ROWS, 2 * PAGE_ROWS, ROWS - 1]);
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(ROWS / 2 - 1);
      expect(sizes).toHaveLength(3);
    });

    it("are grouped by their cause over all pages, with the example of the first", async () => {
      const chosen = { meant: meant(), where: "id > 4", groupsMax: 1 };
      const [first] = await project.rows<{ key: string; message: string }>(sql`
        select key, error as message
        from rowmill.requests
        where key::int % 5 <> 0 and key::int > 4
        order by id
        limit 1`);
      const { groups, more } = await groupFailures(worker.database, one, chosen);
      expect(groups.map(({ reason, rows, kept, key, message }) => ({ reason, rows, kept, key, message }))).toEqual([
        { reason: "invalid", rows: ROWS * 0.8 - 4, kept: 0, ...first },
      ]);
      expect(more).toEqual({ groups: 1, rows: ROWS * 0.2 });
    });

    it("are counted exactly before the question, and then all sent again", async () => {
      const chosen = { meant: meant(), where: "id > 10", overtaken: [], signal };
      const again = await prepareAgain(worker, one, chosen);
      expect(again).toMatchObject({ rows: ROWS - 10, sameRoom: 0, estimate: { rows: ROWS - 10 } });
      expect(await askAgain(worker, one, { ...chosen, rowsMax: again.rows })).toBe(ROWS - 10);
      expect(await waiting()).toBe(ROWS - 10);
      expect(await prepareAgain(worker, one, chosen)).toEqual({ rows: 0, sameRoom: 0, estimate: null });
      await fail();
    });

    it("are never sent again beyond the number whose cost was shown, though more match by then", async () => {
      const chosen = { meant: meant(), where: "random() < 2", overtaken: [], signal };
      expect(await askAgain(worker, one, { ...chosen, rowsMax: 1_234 })).toBe(1_234);
      expect(await waiting()).toBe(1_234);
      await fail();
    });

    it("stop between two pages, and the same command finds the others", async () => {
      const stop = new AbortController();
      const chosen = { meant: meant(), where: "true", overtaken: [], onCompared: () => stop.abort() };
      expect(await askAgain(worker, one, { ...chosen, rowsMax: ROWS, signal: stop.signal })).toBe(PAGE_ROWS);
      expect(await askAgain(worker, one, { ...chosen, rowsMax: ROWS, signal })).toBe(ROWS - 1 - PAGE_ROWS);
      await fail();
    });

    it.each([
      ["1=1; drop table public.texts", /^--where: .*syntax error/],
      ["nextval('public.counter') > 0", /^--where: .*read-only/],
      ["nosuch = 1", /^--where: .*nosuch/],
      ["body", /^--where: .*boolean/],
    ])("are refused before anything is read by the condition %s", async (where, message) => {
      await project.run(sql`create sequence if not exists public.counter`);
      const pages = failedPages(worker.database, one, { meant: meant(), where });
      await expect(pages.next()).rejects.toMatchObject({ code: "usage", message: expect.stringMatching(message) });
      expect(await project.rows(sql`select is_called from public.counter`)).toEqual([{ is_called: false }]);
      expect(await project.rows(sql`select count(*)::int as n from public.texts`)).toEqual([{ n: ROWS }]);
    });
  },
  bookKeepers,
);
