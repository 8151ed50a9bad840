/** Random kills for as long as `npm run soak` says. */
import { appendFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { killAtRandom, type RandomRun } from "./random-kills.js";

interface Soak {
  readonly minutes: string;
  readonly runs: string;
  readonly kills: string;
  readonly seed: string;
  readonly log: string;
}

const places: readonly Pick<RandomRun, "kind" | "workers">[] = [
  { kind: "pg18", workers: 1 },
  { kind: "pg18", workers: 3 },
  { kind: "embedded", workers: 1 },
  { kind: "pg14", workers: 2 },
];
/** Runs at once: most of a run's time is waiting. */
const AT_ONCE = 2;
const MINUTE_MS = 60_000;

const wanted: Soak | null = JSON.parse(process.env["ROWMILL_SOAK"] ?? "null");

describe("Soak", () => {
  it("survives every kill", { timeout: 86_400_000 }, async () => {
    if (wanted === null) throw new Error("ROWMILL_SOAK is not set.");
    const untilMs = Date.now() + Number(wanted.minutes) * MINUTE_MS;
    const runsMax = wanted.runs === "" ? Infinity : Number(wanted.runs);
    const failures: string[] = [];
    let begun = 0;
    let kills = 0;
    let rows = 0;
    const lane = async (): Promise<void> => {
      while (Date.now() < untilMs && begun < runsMax) {
        const place = places[begun % places.length];
        if (place === undefined) throw new Error("There is no place to run.");
        const run = { ...place, kills: Number(wanted.kills), seed: Number(wanted.seed) + begun++ };
        const wrong = await attempt(run, (judged) => (rows += judged));
        kills += run.kills;
        console.log(`${kills} kills, ${rows} rows; ${JSON.stringify(run)}: ${wrong[0] ?? "nothing lost"}`);
        if (wrong.length === 0) continue;
        failures.push(`${JSON.stringify(run)}: ${wrong[0] ?? ""}`);
        await appendFile(
          wanted.log,
          `${new Date().toISOString()} ${JSON.stringify(run)}\n${wrong.join("\n")}\n\n`,
        );
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    console.log(`${kills} kills in ${begun} runs, ${rows} rows, ${failures.length} runs failed`);
    expect(failures).toEqual([]);
    expect(kills).toBeGreaterThan(0);
  });
});

async function attempt(run: RandomRun, judged: (rows: number) => void): Promise<string[]> {
  try {
    const { rows, wrong } = await killAtRandom(run);
    judged(rows);
    return wrong;
  } catch (error) {
    return [error instanceof Error ? (error.stack ?? error.message) : String(error)];
  }
}
