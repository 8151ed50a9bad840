import { pino } from "pino";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Due } from "../../src/store/ledger/due.js";
import { attend, type Attendance, type Concern } from "../../src/worker/process/attend.js";

const context = { log: pino({ enabled: false }), random: () => 0 };
const nothing: Due = {
  pipelines: new Map(),
  batches: 0,
  nextMs: null,
  dead: false,
  orphan: false,
  revision: "1",
  snapshot: "1",
};

let stopping: AbortController;
let attendance: Attendance;
/** Of one second after the other: `a` for each answer that was asked for, `h` for each look whether it holds. */
let asked: string;
let due: Due;
let holds: boolean;
let nextMs: number | null;
let failure: Error | null;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  stopping = new AbortController();
  [asked, due, holds, nextMs, failure] = ["", nothing, true, null, null];
});
afterEach(async () => {
  stopping.abort();
  await vi.advanceTimersByTimeAsync(1);
  await attendance.ended;
  vi.useRealTimers();
});

function begin(...concerns: readonly Concern[]): void {
  attendance = attend(context, {
    ask: async () => {
      asked += "a";
      if (failure !== null) throw failure;
      return due;
    },
    holds: async () => {
      asked += "h";
      if (failure !== null) throw failure;
      return holds;
    },
    nextMs: () => nextMs,
    concerns,
    signal: stopping.signal,
  });
}

async function seconds(count: number): Promise<string> {
  asked = "";
  await vi.advanceTimersByTimeAsync(count * 1_000);
  return asked;
}

const quiet = () => seconds(10);

it("asks repeatedly after a change, then each second whether the answer holds, and again after five seconds", async () => {
  begin();
  expect(await seconds(3)).toMatch(/^a{4,6}h*$/);
  await quiet();
  expect(await seconds(20)).toMatch(/^h*(ah{4}){3}a?h*$/);
});

it("asks at once when the answer does not hold, and in its quick rhythm when that is news", async () => {
  begin();
  await quiet();
  holds = false;
  expect(await seconds(3)).toMatch(/^a?(ha){2,3}h?$/);
  due = { ...nothing, revision: "2" };
  expect(await seconds(1.4)).toMatch(/^h?aa+$/);
});

it("asks at the time that the answer named, and at least a fifth of a second later", async () => {
  begin();
  await quiet();
  nextMs = 2_000;
  await seconds(5);
  expect(await seconds(8)).toMatch(/^h?(ah)+a?$/);
  nextMs = 1;
  await seconds(3);
  expect((await seconds(2)).length).toBe(10);
});

it("asks when a concern that failed, and still has work, may begin again", async () => {
  let rounds = 0;
  const failing: Concern = {
    name: "failing",
    restMs: 0,
    work: () => () => {
      rounds++;
      return Promise.reject(new Error("a test"));
    },
  };
  begin(failing);
  await seconds(12);
  expect(rounds).toBeGreaterThanOrEqual(4);
  expect(await seconds(8)).toContain("h");
});

it("asks soon when it is hastened, and says each time that there is another answer", async () => {
  begin();
  await quiet();
  let seen = 0;
  attendance.onSeen(() => seen++);
  attendance.hasten();
  expect(await seconds(0.3)).toMatch(/^a+$/);
  expect(seen).toBe(asked.length);
});

it("treats a failed look as an error, and asks whole questions until one is answered", async () => {
  begin();
  await quiet();
  failure = new Error("a test");
  expect(await seconds(1)).toMatch(/^[ah]$/);
  expect(attendance.seen()).toMatchObject({ due, trouble: { error: failure } });
  expect(await seconds(6)).toMatch(/^aa+$/);
  failure = null;
  await seconds(10);
  expect(attendance.seen()).toMatchObject({ due, trouble: null });
});
