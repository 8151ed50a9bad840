/** Answers that go to a system elsewhere: here another PostgreSQL, written to as a user would. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, z, type PipelineSpec } from "../../src/index.js";
import { describeDatabases } from "../support/databases.js";
import { openElsewhere, type Elsewhere } from "../support/elsewhere.js";
import { quick } from "../support/movies.js";
import { createNotes, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const answer = z.object({ summary: z.string() });

function delivered(target: PipelineSpec<"body", "id", typeof answer>["target"]) {
  return pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
    answer,
    target,
  });
}

describeDatabases("A target elsewhere", (kind) => {
  let project: TestProject;
  let elsewhere: Elsewhere;
  beforeEach(async () => {
    [project, elsewhere] = await Promise.all([startProject(kind), openElsewhere()]);
  });
  afterEach(async () => {
    await project.check().finally(() => Promise.all([project.close(), elsewhere.close()]));
  });

  const states = () =>
    project.rows<{ state: string; lines: number }>(
      sql`select state, count(*)::int as lines from rowmill.deliveries group by state order by state`,
    );
  const writes = async () => {
    const rows = await elsewhere.rows();
    return rows.length;
  };

  it("gets every answer once", async () => {
    await createNotes(project, plain(5));
    await project.drain(await project.worker({ notes: delivered(elsewhere.target()) }));
    expect(await states()).toEqual([{ state: "delivered", lines: 5 }]);
    expect(await writes()).toBe(5);
    expect(
      elsewhere.calls
        .flat()
        .map(({ key }) => key)
        .toSorted(),
    ).toEqual(["1", "2", "3", "4", "5"]);
    const own = await project.rows(sql`select summary from rowmill_data.notes_answers order by id`);
    expect((await elsewhere.rows()).map(({ summary }) => ({ summary }))).toEqual(own);
  });
});
