/** Random kills for as long as `npm run soak` says. */
import { appendFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { killAtRandom, randomProviders, type RandomEnd, type RandomRun } from "./random-kills.js";

interface Soak {
  readonly minutes: string;
  readonly runs: string;
  readonly kills: string;
  readonly seed: string;
  /** "" for each in turn. */
  readonly provider: "" | RandomRun["provider"];
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
    const sums = new Map(randomProviders.map((provider) => [provider, { runs: 0, kills: 0, rows: 0, late: 0 }]));
    const lane = async (): Promise<void> => {
      while (Date.now() < untilMs && begun < runsMax) {
        const run = runOf(wanted, begun++);
        const { rows, late, wrong } = await inTurn(run);
        const sum = sums.get(run.provider);
        if (sum === undefined) throw new Error(`No sums of ${run.provider} are kept.`);
        sum.runs += 1;
        sum.kills += run.kills;
        sum.rows += rows;
        sum.late += late;
        console.log(
          `${JSON.stringify(Object.fromEntries(sums))} ${JSON.stringify(run)}: ${wrong[0] ?? "nothing lost"}`,
        );
        if (wrong.length === 0) continue;
        failures.push(`${JSON.stringify(run)}: ${wrong[0] ?? ""}`);
        await appendFile(wanted.log, `${new Date().toISOString()} ${JSON.stringify(run)}\n${wrong.join("\n")}\n\n`);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    for (const [provider, { runs, kills, rows, late }] of sums)
      console.log(`${provider}: ${kills} kills in ${runs} runs, ${rows} rows, ${late} late creates`);
    console.log(`${failures.length} runs failed`);
    expect(failures).toEqual([]);
    expect(begun).toBeGreaterThan(0);
  });
});

/** By its seed alone, so that it can be done again. */
function runOf({ provider, kills, seed }: Soak, index: number): RandomRun {
  const own = Number(seed) + index;
  const place = places[own % places.length];
  const next = randomProviders[Math.floor(own / places.length) % randomProviders.length];
  if (place === undefined || next === undefined) throw new Error("There is no place to run.");
  const of = provider === "" ? next : provider;
  // The embedded database has a single session, so it cannot be source and ledger at once.
  const kind = of === "back" && place.kind === "embedded" ? "pg18" : place.kind;
  return { provider: of, kind, workers: place.workers, kills: Number(kills), seed: own };
}

/** There is one embedded database: its runs wait for each other. */
let embeddedFree: Promise<unknown> = Promise.resolve();

function inTurn(run: RandomRun): Promise<RandomEnd> {
  if (run.kind !== "embedded") return attempt(run);
  const ended = embeddedFree.then(() => attempt(run));
  embeddedFree = ended;
  return ended;
}

async function attempt(run: RandomRun): Promise<RandomEnd> {
  try {
    return await killAtRandom(run);
  } catch (error) {
    return {
      rows: 0,
      late: 0,
      wrong: [error instanceof Error ? (error.stack ?? error.message) : String(error)],
    };
  }
}
