/** One scene with one fault, to its end: opened, struck, fixed, taken over by another worker, and judged. */
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "vitest";
import type { StepName } from "../../src/worker/step-names.js";
import {
  accounts,
  startCrashProject,
  takeForDead,
  type CrashProject,
  type CrashWorker,
  type Fault,
} from "../support/crash-project.js";
import { sql } from "../support/project.js";
import { fiveNotes, scenes, type Scene } from "./scenes.js";

export const struck: readonly { readonly step: StepName; readonly scene: Scene }[] = scenes.flatMap((scene) =>
  scene.steps.map((step) => ({ step, scene })),
);

/** A worker that is not through by then, after one error, never will be. */
const THROUGH_MS_MAX = 60_000;
const LOOK_MS = 100;

export async function strike(scene: Scene, fault: Fault): Promise<void> {
  const crash = await open(scene);
  try {
    const worker = crash.start(fault);
    await scene.during?.(crash, worker);
    if (fault.action === "kill") expect(await worker.ended).toBe("SIGKILL");
    else await worker.says(`${fault.action} at ${fault.step}`);
    await scene.fix?.(crash);
    if (fault.action === "throw") await throughAndStopped(crash, worker);
    await crash.recover();
    if (fault.action === "freeze") {
      worker.child.kill("SIGCONT");
      await worker.says("working");
      worker.child.kill("SIGTERM");
      expect(await worker.ended).toBe(0);
      await takeForDead(crash.project);
      await crash.recover();
    }
    await expectAllAnsweredOnce(crash, scene);
  } finally {
    await crash.close();
  }
}

/** The worker itself brings everything to its end: no other worker takes over. */
async function throughAndStopped({ project }: CrashProject, worker: CrashWorker): Promise<void> {
  const deadlineMs = Date.now() + THROUGH_MS_MAX;
  for (;;) {
    const [row] = await project.rows<{ open: number; known: number }>(sql`
      select (select count(*)::int from rowmill.requests where state in ('waiting', 'batched')) as open,
        (select count(*)::int from rowmill.requests) as known`);
    if (row?.open === 0 && row.known > 0) break;
    if (Date.now() > deadlineMs) throw new Error(`After ${THROUGH_MS_MAX} ms ${row?.open} requests are open.`);
    await pause(LOOK_MS);
  }
  worker.child.kill("SIGTERM");
  expect(await worker.ended).toBe(0);
}

async function open(scene: Scene): Promise<CrashProject> {
  const crash = await startCrashProject("pg18", {
    ...(scene.provider === undefined ? {} : { gateway: scene.provider() }),
    ...(scene.pipeline === undefined ? {} : { pipeline: scene.pipeline }),
  });
  await (scene.prepare ?? fiveNotes)(crash);
  return crash;
}

async function expectAllAnsweredOnce({ project }: CrashProject, scene: Scene): Promise<void> {
  await project.check();
  const [counted] = await project.rows<{ rows: number }>(sql`select count(*)::int as rows from public.notes`);
  const rows = counted?.rows ?? 0;
  const { failed = 0, dropped = 0, askedTwice = 0, askedBesides = 0, sharing = 0, gone = 0 } = scene;
  const missing = failed + dropped;
  const others = { ...(failed === 0 ? {} : { failed }), ...(dropped === 0 ? {} : { cancelled: dropped }) };
  const found = await accounts(project);
  expect(found).toMatchObject({
    states: { ...others, ...(rows === missing ? {} : { succeeded: rows - missing }) },
    missing,
    superfluous: gone,
  });
  // A crash may come before what would have been asked twice.
  expect(found.askedTwice).toBeLessThanOrEqual(askedTwice);
  expect(found.executed).toBeLessThanOrEqual(rows - missing - sharing + askedTwice + askedBesides);
}
