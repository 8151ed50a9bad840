/** One scene with one fault, to its end: opened, struck, mended, taken over by another worker, and judged. */
import { expect } from "vitest";
import type { StepName } from "../../src/worker/step-names.js";
import {
  accounts,
  startCrashProject,
  takeForDead,
  type CrashProject,
  type Fault,
} from "../support/crash-project.js";
import { sql } from "../support/project.js";
import { fiveNotes, scenes, type Scene } from "./scenes.js";

export const struck: readonly { readonly step: StepName; readonly scene: Scene }[] = scenes.flatMap((scene) =>
  scene.steps.map((step) => ({ step, scene })),
);

export async function strike(scene: Scene, fault: Fault): Promise<void> {
  const crash = await open(scene);
  try {
    const worker = crash.start(fault);
    await scene.during?.(crash, worker);
    if (fault.action === "kill") expect(await worker.ended).toBe("SIGKILL");
    else await worker.says(`frozen at ${fault.step}`);
    await scene.mend?.(crash);
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
  const { failed = 0, askedTwice = 0 } = scene;
  const found = await accounts(project);
  expect(found).toMatchObject({
    states: { ...(failed === 0 ? {} : { failed }), succeeded: rows - failed },
    missing: failed,
    superfluous: 0,
  });
  // A crash may come before what would have been asked twice.
  expect(found.askedTwice).toBeLessThanOrEqual(askedTwice);
  expect(found.executed).toBeLessThanOrEqual(rows - failed + askedTwice);
}
