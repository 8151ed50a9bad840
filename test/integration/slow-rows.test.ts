/**
 * Rows that are short as stored, and take the database long to turn into text: they hold up other rows for at most
 * one read.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import type { VersionsRead } from "../../src/sources/source.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { quick } from "../support/movies.js";
import { outcomes } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const LONG_MS = 150_000;
const SLOW = 40;
const ORDINARY = ["51", "52", "53", "54", "55"];

function numbersPipeline() {
  return pipeline({
    source: { table: "numbers", key: "id", columns: ["doc"] },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "Sum up: {{ doc }}" },
    answer: z.object({ summary: z.string() }),
    target: { table: "number_summaries" },
  });
}

interface Read extends VersionsRead {
  readonly asked: readonly string[];
  /** Requests that looks believed gone before it. */
  readonly gone: number;
}

/** What the looks of this worker ask its source, and hear. */
function record(worker: WorkerContext): Read[] {
  const reads: Read[] = [];
  for (const bound of worker.pipelines.values()) {
    const { source } = bound;
    bound.source = {
      ...source,
      readVersions: async (tx, asked) => {
        const read = await source.readVersions(tx, asked);
        const gone = await tx.rows(sql`select 1 from rowmill.requests where state = 'gone'`);
        reads.push({ ...read, asked, gone: gone.length });
        return read;
      },
    };
  }
  return reads;
}

describe("Rows that are slow to read, on pg18", () => {
  let project: TestProject;
  beforeEach(async () => {
    project = await startProject("pg18");
    await project.run(sql`create table public.numbers (id int primary key, doc jsonb)`);
    // Above what is read together: so no statement over several of them has to time out first.
    await project.run(sql`alter table public.numbers alter column doc set storage external`);
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  const grow = () =>
    project.run(sql`update public.numbers set doc = case when id > ${SLOW} then '2'
      else (select jsonb_agg('1e1500'::numeric) from generate_series(1, 18000)) end`);

  it(
    "are left over by a look without time for them, count as neither gone nor changed until the next one, and hold up no other row",
    async () => {
      await project.run(sql`insert into public.numbers select n, '1' from generate_series(1, ${SLOW}::int) n`);
      await project.run(
        sql`insert into public.numbers select key::int, '1' from unnest(${ORDINARY}::text[]) as o (key)`,
      );
      const worker = await project.worker({ numbers: numbersPipeline() });
      await project.drain(worker);
      const reads = record(worker);
      await grow();
      await project.drain(worker);
      expect(reads[0]?.asked.length).toBe(SLOW + ORDINARY.length);
      expect(reads[0]?.versions.map(({ key }) => key)).toEqual(expect.arrayContaining(ORDINARY));
      expect(reads[0]?.left).not.toEqual([]);
      expect(reads.filter((read) => read.left.length >= read.asked.length)).toEqual([]);
      expect(new Set(reads.flatMap(({ asked }) => asked)).size).toBe(SLOW + ORDINARY.length);
      expect(reads.flatMap(({ versions }) => versions).length).toBe(SLOW + ORDINARY.length);
      expect(reads.filter((read) => read.gone > 0)).toEqual([]);
      expect(await outcomes(project)).toEqual({ answered: SLOW + 2 * ORDINARY.length, tooLarge: SLOW });
      const looks = reads.length;
      await project.run(sql`update rowmill.sweeps set wanted_at = now()`);
      await project.drain(worker);
      expect(reads.length).toBe(looks);
    },
    LONG_MS,
  );
});
