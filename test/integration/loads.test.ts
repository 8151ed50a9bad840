import { Readable } from "node:stream";
import { pipeline as stream } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { afterEach, beforeEach, expect, it } from "vitest";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { films } from "../support/films.js";
import type { Pipeline, WorkerContext } from "../../src/worker/context.js";
import { catchUp } from "../../src/worker/rounds/intake.js";
import { createNotes, notesPipeline } from "../support/notes.js";
import { createMovies, differences, insertMovies, moviesPipeline } from "../support/movies.js";
import { sql, startProject, type TestProject } from "../support/project.js";

describeDatabases(
  "1,000 films",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
      await createMovies(project);
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    /** Every film labelled, every request executed once, and no request in two batches at a time. */
    async function expectEachOnce(): Promise<void> {
      expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
      const [target] = await project.rows(sql`select count(*)::int as rows from public.movie_labels`);
      expect(target).toEqual({ rows: 1_000 });
      const journal = await project.gateway.journal.summary();
      expect(journal.executed).toBe(1_000);
      expect(new Set(journal.executedByCustomId.values())).toEqual(new Set([1]));
      const requests = [...journal.executedByCustomId.keys()].map((id) => id.split("-")[0]);
      expect(new Set(requests).size).toBe(1_000);
    }

    it("are labeled when they were there before the pipeline", async () => {
      await insertMovies(project);
      await project.drain(await project.worker({ movies: moviesPipeline() }));
      await expectEachOnce();
    });

    it("are labelled when one COPY brings them", async ({ skip }) => {
      if (kind === "embedded") skip("the embedded database refuses COPY FROM STDIN, see docs/embedded.md");
      const worker = await project.worker({ movies: moviesPipeline() });
      // The user's own connection: ours takes no streams.
      const client = new pg.Client({ connectionString: project.url });
      await client.connect();
      const escape = (text: string) => text.replaceAll("\\", "\\\\").replaceAll("\t", "\\t").replaceAll("\n", "\\n");
      const lines = films().map((film) => `${film.id}\t${escape(film.title)}\t${escape(film.description)}\n`);
      await stream(Readable.from(lines), client.query(copyFrom(`copy public.imdb_dataset from stdin`)));
      await client.end();
      await project.drain(worker);
      await expectEachOnce();
    });

    it("are labelled when 1,000 single inserts bring them", async () => {
      const worker = await project.worker({ movies: moviesPipeline() });
      for (const film of films()) {
        await project.run(sql`insert into public.imdb_dataset values (${film.id}, ${film.title}, ${film.description})`);
      }
      await project.drain(worker);
      await expectEachOnce();
    });

    it("are labelled when eight writers bring them at once, beside two workers", async () => {
      const workers = [
        await project.worker({ movies: moviesPipeline() }),
        await project.worker({ movies: moviesPipeline() }),
      ];
      const shares = Array.from({ length: 8 }, (_, writer) => films().filter((_, index) => index % 8 === writer));
      const writing = Promise.all(
        shares.map(async (share) => {
          for (let start = 0; start < share.length; start += 25)
            await insertMovies(project, share.slice(start, start + 25));
        }),
      );
      await project.drain(...workers);
      await writing;
      await project.drain(...workers);
      await expectEachOnce();
    });
  },
  bookKeepers,
);

describeDatabases(
  "Arrivals that may show that a row is not gone",
  (kind) => {
    let project: TestProject;
    let worker: WorkerContext;
    let notes: Pipeline;
    beforeEach(async () => {
      project = await startProject(kind);
      await createNotes(project, []);
      worker = await project.worker({ notes: notesPipeline() });
      const [only] = worker.pipelines.values();
      if (only === undefined) throw new Error("There is no pipeline.");
      notes = only;
    });
    afterEach(async () => {
      await project.close();
    });

    /** Of rows that are gone again: looked at, and nothing more. */
    const arrive = (from: number, to: number) =>
      project.run(sql`insert into rowmill.arrivals (pipeline_id, keys)
        select ${notes.id}, array[n::text] from generate_series(${from}::int, ${to}::int) n`);
    const { signal } = new AbortController();

    it("are all taken, a hundred thousand of them", async () => {
      await arrive(1, 105_000);
      await catchUp(worker, notes, signal);
      expect(await project.rows(sql`select 1 from rowmill.arrivals`)).toEqual([]);
    });

    it("are waited for no longer than there were any at its beginning, however many come meanwhile", async () => {
      await arrive(1, 12_000);
      let takes = 0;
      const step: WorkerContext["step"] = async (name, work) => {
        if (name === "intake.take" && ++takes < 50) await arrive(100_000 + takes * 6_000, 105_999 + takes * 6_000);
        return worker.step(name, work);
      };
      await catchUp({ ...worker, step }, notes, signal);
      expect(await project.rows(sql`select 1 from rowmill.arrivals where keys[1]::int <= 12000`)).toEqual([]);
      // Three for 12,000, and one or two that find no more of them.
      expect(takes).toBeGreaterThanOrEqual(4);
      expect(takes).toBeLessThanOrEqual(5);
      expect(await project.rows(sql`select count(*)::int as n from rowmill.arrivals`)).toEqual([{ n: 24_000 }]);
    });
  },
  bookKeepers,
);
