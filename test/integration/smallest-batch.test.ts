/**
 * A provider that takes no batch below a number of requests: where fewer may go, Rowmill reports it, and nothing
 * waits indefinitely.
 */
import { afterEach, expect, test } from "vitest";
import { idleState } from "../../src/app/open/idle.js";
import { pipeline, z } from "../../src/index.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, plain } from "../support/notes.js";
import { startPlainProject, type PlainProject } from "../support/plain-project.js";

type Changes = Partial<Parameters<typeof pipeline>[0]>;

describeDatabases(
  "The smallest batch",
  (kind) => {
    let at: PlainProject;

    afterEach(async () => {
      await at.project.check();
      await at.close();
    });

    async function blocked(rows: number, changes: Changes = {}): Promise<string | undefined> {
      at = await startPlainProject(kind, { requestsMin: 4 });
      await createNotes(at.project, plain(rows));
      const worker = await at.worker({
        provider: { limits: { requestsMin: 4 } },
        pipelines: (provider) => ({
          notes: pipeline({
            ...quick,
            provider,
            source: { table: "notes", key: "id", columns: ["body"] },
            request: { model: "plain-small", maxOutputTokens: 100, user: "{{ body }}" },
            answer: z.object({ summary: z.string() }),
            target: { table: "note_summaries" },
            ...changes,
          }),
        }),
      });
      await at.project.round(worker);
      await at.project.round(worker);
      const state = await idleState(worker);
      expect(state.idle).toBe(true);
      expect(at.standIn.calls.get("create") ?? 0).toBe(0);
      return state.blocked[0]?.reason;
    }

    test("waits for rows where there are fewer", async () => {
      expect(await blocked(3)).toContain("add more rows");
    });

    test("is more than `limit` lets out", async () => {
      expect(await blocked(9, { limit: 3 })).toContain("raise pipelines.notes.limit");
    });

    test("is more than one batch may have by the config", async () => {
      expect(await blocked(9, { batch: { maxRequests: 3 } })).toContain("at least 4 requests");
    });

    test("costs more than is left of the budget", async () => {
      expect(await blocked(9, { budget: { usd: 0.0001, per: "total" } })).toContain(
        "the 4 requests of the smallest batch",
      );
    });
  },
  bookKeepers,
);
