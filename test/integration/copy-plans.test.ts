/** How the database looks up requests for rows of Rowmill's copies, whose key columns have another collation. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, push, z } from "../../src/index.js";
import { raw, sql, type Queryable, type Sql } from "../../src/postgres/database.js";
import * as expiry from "../../src/store/replicas/expiry.js";
import * as pushes from "../../src/store/replicas/pushes.js";
import * as replicas from "../../src/store/replicas/replicas.js";
import { describeDatabases } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";

const notes = () => ({
  notes: pipeline({
    source: push({ key: "id", columns: ["text"], keep: "1h" }),
    polling: { min: "10ms", max: "10ms" },
    request: { model: "gpt-4o-mini", user: "Sum up: {{ text }}", maxOutputTokens: 100 },
    answer: z.object({ summary: z.string() }),
    target: { table: "note_texts" },
  }),
});

/** The same, keeping the plan of each statement. */
function explaining(tx: Queryable, plans: string[]): Queryable {
  const explained =
    <T>(work: (statement: Sql) => Promise<T>) =>
    async (statement: Sql): Promise<T> => {
      if (/^\s*(?:with|select)\b/.test(statement.text))
        plans.push((await tx.column<string>(sql`explain (costs off) ${statement}`)).join("\n"));
      return work(statement);
    };
  return {
    rows: explained((statement) => tx.rows(statement)) as Queryable["rows"],
    first: explained((statement) => tx.first(statement)) as Queryable["first"],
    column: explained((statement) => tx.column(statement)) as Queryable["column"],
    value: explained((statement) => tx.value(statement)) as Queryable["value"],
    number: explained((statement) => tx.number(statement)),
    run: explained((statement) => tx.run(statement)),
  };
}

describeDatabases("Requests of rows in a copy", (kind) => {
  let project: TestProject;
  beforeEach(async () => {
    project = await startProject(kind);
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  const plansOf = async (work: (tx: Queryable) => Promise<unknown>) => {
    const plans: string[] = [];
    await project.database.transaction(async (tx) => {
      // Of few rows, all are read otherwise.
      for (const way of ["seqscan", "hashjoin", "mergejoin", "material"])
        await tx.run(raw(`set local enable_${way} = off`));
      await work(explaining(tx, plans));
    });
    return plans.filter((plan) => /\bon requests\b/.test(plan)).join("\n\n");
  };

  it("are looked up by their keys when the copy is compared, and when its old rows are deleted", async () => {
    const worker = await project.worker(notes());
    const rows = [1, 2, 3].map((id) => JSON.stringify({ id: String(id), text: `Note ${id}.` }));
    await pushes.push(project.database, "notes", rows);
    await project.drain(worker);
    const [own] = worker.pipelines.values();
    const replica = await replicas.replicaOf(project.database, "notes");
    if (own === undefined || replica === null) throw new Error("The pipeline has no copy.");
    const byKey = /Index Cond: .*pipeline_id.*\bkey =/;

    const compared = await plansOf((tx) => own.source.compareChunk(tx, { cursor: null, lastRequestId: "0" }, 100));
    expect(compared).toMatch(byKey);
    const of = { pipelineId: own.id, replica };
    const expired = await plansOf((tx) => expiry.expireRows(tx, of, { keepMs: 3_600_000, place: null, max: 100 }));
    expect(expired).toMatch(byKey);
  });
});
