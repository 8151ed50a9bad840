/** A config whose functions take their time: work continues in pieces, each short enough for the lease. */
import { afterEach, expect, it, vi } from "vitest";
import { pipeline, z } from "../../src/index.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, outcomes, plain } from "../support/notes.js";
import { expectAllAnsweredOnce } from "../support/provider-faults.js";
import { startProject, type TestProject } from "../support/project.js";

const ROWS = 5;
/** Two calls are over the time of one transaction, one is not. */
const CALL_MS = 2_000;

describeDatabases(
  "A function of the config that needs two seconds for a row",
  (kind) => {
    let project: TestProject;
    afterEach(async () => {
      vi.useRealTimers();
      await project.check().finally(() => project.close());
    });

    /** Only the clock by which the work is divided moves. */
    function takeTime(): void {
      vi.advanceTimersByTime(CALL_MS);
    }

    it.each(["request", "validate"] as const)("%s: a few rows at a time, each asked once", async (slow) => {
      project = await startProject(kind);
      await createNotes(project, plain(ROWS));
      const worker = await project.worker({
        notes: pipeline({
          source: { table: "notes", key: "id", columns: ["body"] },
          ...quick,
          request: {
            model: "gpt-4o-mini",
            maxOutputTokens: 100,
            user: (row) => {
              if (slow === "request") takeTime();
              return String(row["body"]);
            },
          },
          answer: z.object({ summary: z.string() }),
          validate: () => {
            if (slow === "validate") takeTime();
            return null;
          },
          target: { table: "note_summaries" },
        }),
      });
      const steps = new Map<string, number>();
      const counted: WorkerContext = {
        ...worker,
        step: (name, work) => {
          steps.set(name, (steps.get(name) ?? 0) + 1);
          return worker.step(name, work);
        },
      };
      vi.useFakeTimers({ toFake: ["performance"] });
      await project.drain(counted);
      expect([steps.get("render.chunk"), steps.get("collect.chunk")]).toEqual(slow === "request" ? [3, 1] : [1, 3]);
      await expectAllAnsweredOnce(project, ROWS);
      expect(await outcomes(project)).toEqual({ answered: ROWS });
    });
  },
  bookKeepers,
);
