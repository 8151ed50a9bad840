/**
 * Rows of megabytes and files of few lines: memory, and the ledger's attempts, must not grow with the size of the
 * contents.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { CONTENT_BYTES_MAX, contentsOf, type Source, type SourceRow } from "../../src/sources/source.js";
import { createTableSource } from "../../src/sources/table/table-source.js";
import { inspectTable } from "../../src/sources/table/inspection.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, insertNotes, outcomes, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

/** Of what goes into memory together. */
const SIXTEENTH = CONTENT_BYTES_MAX / 16;
/** For tens of megabytes through a busy machine. */
const LONG_MS = 90_000;

const questions = {
  first: (row: { body: string | null }) => row.body?.slice(0, 100) ?? null,
  second: (row: { body: string | null }) => `Sum up: ${row.body?.slice(0, 100)}`,
};

function notesPipeline(changes: { question?: keyof typeof questions; maxBytes?: number } = {}) {
  const { question = "first", maxBytes } = changes;
  return pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    ...(maxBytes === undefined ? {} : { batch: { maxBytes } }),
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: questions[question] },
    answer: z.object({ summary: z.string() }),
    target: { table: "note_summaries" },
  });
}

/** The same source, as if the contents of any two rows were all that goes into memory. */
function inPairs(worker: WorkerContext): WorkerContext {
  for (const bound of worker.pipelines.values()) {
    const { source } = bound;
    const readRows: Source["readRows"] = async (tx, keys) => {
      const { rows, left } = await source.readRows(tx, keys.slice(0, 2));
      return { rows, left: [...left, ...keys.slice(2)] };
    };
    bound.source = { ...source, readRows };
  }
  return worker;
}

function textBytes(rows: readonly SourceRow[]): number {
  return rows.reduce((bytes, row) => bytes + Buffer.byteLength(row.cells?.["body"] ?? ""), 0);
}

describeDatabases(
  "Large rows",
  (kind) => {
    let project: TestProject;
    let hold: boolean;
    beforeEach(async () => {
      hold = false;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, []);
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    /** Made in the database: sizes in bytes, in the order of their ids. */
    async function createSized(sizes: readonly number[]): Promise<void> {
      await project.run(sql`insert into public.notes (body)
      select left(repeat('Note ' || n || ' is long. ', bytes / 10), bytes)
      from unnest(${[...sizes]}::int[]) with ordinality as x (bytes, n)
      order by n`);
    }

    async function openSource(): Promise<Source> {
      const table = await inspectTable(project.database, { table: "notes", key: ["id"], columns: ["body"] });
      return createTableSource(table, { pipelineId: 1, where: null, skipBefore: null });
    }

    async function reads(keys: readonly string[]): Promise<{ keys: string[]; bytes: number }[]> {
      const source = await openSource();
      return project.database.transaction(async (tx) => {
        const found: { keys: string[]; bytes: number }[] = [];
        for await (const rows of contentsOf(source, tx, keys))
          found.push({ keys: rows.map((row) => row.key), bytes: textBytes(rows) });
        return found;
      });
    }

    it(
      "are read as far as they go into memory together, in the order of the keys, and the others later",
      async () => {
        await createSized([1, 3, 4, 4, 3, 4].map((size) => size * SIXTEENTH));
        const found = await reads(["6", "99", "5", "4", "3", "2", "1"]);
        expect(found.map((read) => read.keys)).toEqual([
          ["6", "5", "4", "3"],
          ["2", "1"],
        ]);
        for (const { bytes } of found) expect(bytes).toBeLessThanOrEqual(CONTENT_BYTES_MAX);
      },
      LONG_MS,
    );

    it(
      "that are over the bound by themselves are read alone, and no key behind them is forgotten",
      async () => {
        await createSized([100, CONTENT_BYTES_MAX + 1, 100, 200]);
        const found = await reads(["1", "2", "77", "78", "3", "not a number", "4"]);
        expect(found.flatMap((read) => read.keys)).toEqual(["1", "2", "3", "4"]);
        expect(found.find((read) => read.keys.includes("2"))).toEqual({
          keys: ["2"],
          bytes: CONTENT_BYTES_MAX + 1,
        });
      },
      LONG_MS,
    );

    if (kind !== "pg14") {
      it(
        "go all the way, and are asked once more each when the definition changes",
        async () => {
          await createSized([4, 3, 4, 4, 2].map((size) => size * SIXTEENTH));
          await project.drain(await project.worker({ notes: notesPipeline() }));
          expect(await outcomes(project)).toEqual({ answered: 5 });
          await project.drain(await project.worker({ notes: notesPipeline({ question: "second" }) }));
          expect(await outcomes(project)).toEqual({ answered: 10 });
        },
        LONG_MS,
      );
    }

    it("that are left for a later read are neither gone nor forgotten, at any stage", async () => {
      await insertNotes(project, plain(9));
      hold = true;
      const worker = inPairs(await project.worker({ notes: notesPipeline() }));
      await project.round(worker);
      await project.run(sql`delete from public.notes where id = 3`);
      await project.run(sql`update public.notes set body = 'Another text.' where id = 8`);
      hold = false;
      project.gateway.release();
      await project.drain(worker);
      expect(await outcomes(project)).toEqual({ answered: 8, gone: 1, stale: 1 });
    });

    it("that are read in parts cause no row behind them to be read for nothing", async () => {
      const worker = inPairs(await project.worker({ notes: notesPipeline() }));
      // Two rows of the queue.
      await insertNotes(project, plain(4));
      await project.round(worker, { flush: false });
      await insertNotes(project, plain(4, "later"));
      let reads = 0;
      const step: typeof worker.step = (name, work) => {
        if (name === "render.read") reads++;
        return worker.step(name, work);
      };
      await project.drain({ ...worker, step });
      expect(await outcomes(project)).toEqual({ answered: 8 });
      // Two of each, and one that finds no more.
      expect(reads).toBe(5);
    });

    it("that come back, or whose definition changes, are compared to the last one", async () => {
      await insertNotes(project, plain(7));
      const worker = inPairs(await project.worker({ notes: notesPipeline() }));
      await project.drain(worker);
      await project.run(sql`create table public.kept as select * from public.notes`);
      await project.run(sql`delete from public.notes`);
      await project.drain(worker);
      await project.run(sql`insert into public.notes overriding system value select * from public.kept`);
      await project.drain(worker);
      expect(await outcomes(project)).toEqual({ answered: 7 });
      await project.drain(inPairs(await project.worker({ notes: notesPipeline({ question: "second" }) })));
      expect(await outcomes(project)).toEqual({ answered: 14 });
    });

    it("are planned by the bytes that a file may have, so that hardly any is claimed for nothing", async () => {
      await insertNotes(project, plain(60));
      await project.drain(await project.worker({ notes: notesPipeline({ maxBytes: 1_700 }) }));
      const ended = await outcomes(project);
      expect(ended["answered"]).toBe(60);
      expect(ended["noRoom"] ?? 0).toBeLessThanOrEqual(6);
      const files = await project.rows<{ lines: number }>(
        sql`select lines, count(*)::int as files from rowmill.batches group by 1 order by 1`,
      );
      expect(files).toEqual([{ lines: 3, files: 20 }]);
    });
  },
  bookKeepers,
);
