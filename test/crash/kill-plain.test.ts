/**
 * A worker is killed before and after each step of submitting and collecting at a provider that shows nothing of
 * ours, where a create is found by circumstance alone; another worker brings everything to its end.
 */
import { setTimeout as pause } from "node:timers/promises";
import { expect, it, describe } from "vitest";
import { startCrashProject, type CrashProject } from "../support/crash-project.js";
import { createNotes, plain } from "../support/notes.js";
import { plainAccounts } from "../support/plain-project.js";
import { PLAIN_KEY, startPlainStandIn, type PlainStandIn } from "../support/plain-stand-in.js";
import { sql } from "../support/project.js";
import { plainScenes } from "./plain-scenes.js";

const ROWS = 5;
const RESUMES_MAX = 3;
const LOOK_MS = 20;
const LOOKS_MAX = 1_000;

const cases = plainScenes.flatMap((scene) =>
  scene.steps.flatMap((step) => (["before", "after"] as const).map((when) => ({ scene, step, when }))),
);

describe("kill -9, where only circumstance tells what was created,", () => {
  it.each(cases)(
    "$when $step ($scene.title) loses nothing, and pays for nothing twice",
    async ({ scene, step, when }) => {
      const standIn = await startPlainStandIn({
        delayMs: 100,
        ...(scene.faults ? { faults: scene.faults } : {}),
      });
      const exclusive = scene.shared !== true;
      const crash = await startCrashProject("pg18", {
        plain: { url: standIn.url, key: PLAIN_KEY, exclusive },
      });
      try {
        await createNotes(crash.project, plain(ROWS));
        const worker = crash.start({ step, when, action: "kill" });
        if (!exclusive) await joinIn(standIn, worker.ended);
        expect(await worker.ended).toBe("SIGKILL");
        await recover(crash);
        await crash.project.check();
        expect(await plainAccounts(crash.project, standIn)).toEqual({
          states: { succeeded: ROWS },
          askedTwice: 0,
          executed: ROWS,
          missing: 0,
        });
        expect(standIn.calls.get("stop")).toBeUndefined();
      } finally {
        await crash.close();
        await standIn.close();
      }
    },
  );
});

/** Another client's batch of as many requests, when our create arrived, or never if our worker dies before that. */
async function joinIn(standIn: PlainStandIn, ended: Promise<unknown>): Promise<void> {
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  for (let looks = 0; looks < LOOKS_MAX && !isOver && !standIn.calls.has("create"); looks += 1) await pause(LOOK_MS);
  if (standIn.calls.has("create")) standIn.createForeign(ROWS);
}

/** A person resumes what was paused to ask whether the create may be made again. */
async function recover(crash: CrashProject): Promise<void> {
  for (let resumes = 0; resumes < RESUMES_MAX; resumes += 1) {
    await crash.recover();
    const resumed = await crash.project.run(
      sql`
        update rowmill.pipelines
        set pause_kind = null, pause_reason = null, paused_at = null
        where paused_at is not null`,
    );
    if (resumed === 0) return;
  }
}
