/**
 * What a provider says, or code throws, that means nothing: it is neither believed nor does it stop the work
 * unexplained.
 */
import { afterEach, expect, it } from "vitest";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { createNotes, notesPipeline, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { expectAllAnsweredOnce, faultsOf, hurry, passTime, pauseOf, refusal } from "../support/provider-faults.js";

const ROWS = 3;

describeDatabases(
  "Meaningless errors",
  (kind) => {
    let project: TestProject;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    it("such as a largest file of no bytes are not learned as a limit, and the rows go out again, in ever larger files", async () => {
      const message = "The batch input file is larger than the 0 maximum for the gpt-4o-mini model";
      const beforeEffect = faultsOf("createBatch", [refusal(400, message)]);
      project = await startProject(kind, { gateway: { faults: { beforeEffect } } });
      await createNotes(project, plain(ROWS));
      await hurry(project, await project.worker({ notes: notesPipeline() }));
      await expectAllAnsweredOnce(project, ROWS);
      expect(
        await project.rows(
          sql`select input_bytes * 4 > refused_bytes as grown from rowmill.learned_limits where size_guesses = 1`,
        ),
      ).toEqual([{ grown: true }]);
    });

    it("such as a thrown object without words pause the pipeline when they last, with what can be said", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(ROWS));
      const worker = await project.worker({ notes: notesPipeline() });
      const odd: unknown = Object.create(null);
      const throwing: typeof worker = {
        ...worker,
        step: async (name, work) => {
          if (name === "poll.ask") throw odd;
          return worker.step(name, work);
        },
      };
      for (let round = 0; round < 25 && (await pauseOf(project)) === null; round++) {
        await project.round(throwing);
        await passTime(project, "0 seconds");
      }
      expect(await pauseOf(project)).toEqual({
        kind: "provider",
        reason: expect.stringMatching(
          /^Batch \S+ failed 20 times while running: an object without a message was thrown/,
        ),
      });
    });
  },
  bookKeepers,
);
