/** Kills at each step of sync and delivery, where the rows and their answers are in MariaDB. */
import { expect, it } from "vitest";
import type { StepName } from "../../src/worker/step-names.js";
import { countAsked, startCrashProject } from "../support/crash-project.js";
import { describeMariaDb } from "../support/describe-mariadb.js";
import { sharedMariaDb } from "../support/mariadb.js";

const NOTES = 5;
const SYNC: readonly StepName[] = ["sync.begin", "sync.read", "sync.write", "sync.end"];
const DELIVERY: readonly StepName[] = ["deliver.take", "deliver.write", "deliver.confirm"];

const BOTH_SIDES = ["before", "after"] as const;
const cases = [
  ...[...SYNC, ...DELIVERY].map((step) => ({ step, target: "note_labels" })),
  ...[...DELIVERY, "deliver.readBack" as const].map((step) => ({ step, target: "notes" })),
].flatMap((one) => BOTH_SIDES.map((when) => ({ ...one, when })));

describeMariaDb(() => {
  it.each(cases)("kill -9 $when $step, with answers into $target: each note has its answer, asked once", strike);
});

async function strike({ step, when, target }: (typeof cases)[number]): Promise<void> {
  const shop = await (await sharedMariaDb()).createDatabase();
  await shop.run("create table notes (id int primary key, body text)");
  await shop.run("insert into notes values ?", [
    Array.from({ length: NOTES }, (_, index) => [index, `The note ${index}.`]),
  ]);
  // A trigger changes what was asked at every write.
  await shop.run("create trigger marked before update on notes for each row set new.body = concat(new.body, '!')");
  const url = JSON.stringify(shop.url);
  const crash = await startCrashProject("pg18", {
    pipeline: `
      source: mysql({ url: ${url}, table: "notes", key: "id", columns: ["body"], every: "1s" }),
      target: mysql({ url: ${url}, table: "${target}", addColumns: true }),`,
  });
  try {
    await crash.worker();
    expect(await crash.start({ step, when, action: "kill" }).ended).toBe("SIGKILL");
    await crash.recover();
    await crash.project.check();
    const key = target === "notes" ? "id" : "`key`";
    const held = await shop.rows<{ id: string }>(
      `select ${key} as id from ${target} where summary is not null order by 1`,
    );
    expect(held.map(({ id }) => Number(id))).toEqual(Array.from({ length: NOTES }, (_, index) => index));
    expect(await countAsked(crash.project)).toEqual({
      states: { succeeded: NOTES },
      askedTwice: 0,
      executed: NOTES,
    });
  } finally {
    await crash.close();
    await shop.drop();
  }
}
