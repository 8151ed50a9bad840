/**
 * What users do to their rows, in each state that a row's request can be in, with two workers: in the end the target
 * says what the source says, and content that did not change was asked once.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Call } from "../../src/gateway/engine/faults.js";
import { describeDatabases, bookKeepers } from "../support/databases.js";
import { films } from "../support/films.js";
import { createMovies, differences, executions, insertMovies, moviesPipeline } from "../support/movies.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import type { WorkerContext } from "../../src/worker/context.js";

const rows = films().slice(0, 60);
const touched = rows.slice(0, 20);
const keys = touched.map((film) => film.id);

interface Change {
  readonly name: string;
  apply(project: TestProject): Promise<void>;
}

const changes: readonly Change[] = [
  {
    name: "DELETE and re-INSERT of the same rows",
    apply: async (project) => {
      await project.run(sql`delete from public.imdb_dataset where imdb_id = any(${keys}::bigint[])`);
      await insertMovies(project, touched);
    },
  },
  {
    name: "an UPDATE of a declared column",
    apply: async (project) => {
      await project.run(
        sql`
          update public.imdb_dataset
          set "Description" = 'Again: ' || "Description"
          where imdb_id = any(${keys}::bigint[])`,
      );
    },
  },
  {
    name: "an UPDATE there and back",
    apply: async (project) => {
      await project.run(
        sql`update public.imdb_dataset set "Description" = 'x' || "Description" where imdb_id = any(${keys}::bigint[])`,
      );
      await project.run(
        sql`
          update public.imdb_dataset
          set "Description" = substr("Description", 2)
          where imdb_id = any(${keys}::bigint[])`,
      );
    },
  },
  {
    name: "a change of keys",
    apply: async (project) => {
      await project.run(
        sql`update public.imdb_dataset set imdb_id = imdb_id + 1000000 where imdb_id = any(${keys}::bigint[])`,
      );
    },
  },
  {
    name: "TRUNCATE and reload",
    apply: async (project) => {
      await project.run(sql`truncate public.imdb_dataset`);
      await insertMovies(project, rows);
    },
  },
  {
    name: "a DELETE",
    apply: async (project) => {
      await project.run(sql`delete from public.imdb_dataset where imdb_id = any(${keys}::bigint[])`);
    },
  },
];

describeDatabases(
  "Rows that change",
  (kind) => {
    let project: TestProject;
    let workers: [WorkerContext, WorkerContext];
    let hold: boolean;
    let whileCollecting: (() => Promise<void>) | null;

    beforeEach(async () => {
      hold = false;
      whileCollecting = null;
      const afterEffect = async (call: Call) => {
        if (call.route !== "/v1/files/:id/content" || whileCollecting === null) return undefined;
        const change = whileCollecting;
        whileCollecting = null;
        await change();
        return undefined;
      };
      project = await startProject(kind, { gateway: { faults: { hold: () => hold, afterEffect } } });
      await createMovies(project);
      await insertMovies(project, rows);
      workers = [
        await project.worker({ movies: moviesPipeline() }),
        await project.worker({ movies: moviesPipeline() }),
      ];
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function expectAgreement(): Promise<void> {
      expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
      const [stale] = await project.rows<{ stale: number }>(sql`
      select count(*)::int as stale from public.imdb_dataset s left join rowmill.requests r on r.key = s.imdb_id::text
      where r.state is distinct from 'succeeded' or r.answered_hash is distinct from
        substring(sha256(convert_to(json_build_array(s."Title", s."Description")::text, 'UTF8')) for 16)`);
      expect(stale).toEqual({ stale: 0 });
      const times = await executions(project);
      const again = times.reduce((sum, count) => sum + count - 1, 0);
      expect(again).toBe(0);
    }

    for (const change of changes) {
      it(`agree in the end after ${change.name} while they wait`, async () => {
        await project.round(workers[0], { flush: false });
        await change.apply(project);
        await project.drain(...workers);
        await expectAgreement();
      });

      it(`agree in the end after ${change.name} while they are batched`, async () => {
        hold = true;
        await project.round(workers[0]);
        await change.apply(project);
        await project.round(workers[1]);
        hold = false;
        project.gateway.release();
        await project.drain(...workers);
        await expectAgreement();
      });

      it(`agree in the end after ${change.name} while their answers are collected`, async () => {
        let applied = false;
        whileCollecting = async () => {
          await change.apply(project);
          applied = true;
        };
        await project.drain(...workers);
        expect(applied).toBe(true);
        await expectAgreement();
      });
    }
  },
  bookKeepers,
);
