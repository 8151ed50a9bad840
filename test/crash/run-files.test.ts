/**
 * `rowmill run` over 1,000 films in each format, interrupted at its steps by Ctrl-C and by kill -9: the same command
 * writes the same bytes as a run that nothing disturbed, and asks each line once.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Call } from "../../src/gateway/engine/faults.js";
import { sql } from "../../src/postgres/database.js";
import { buildCli, runCli, startCliProject, until, type CliProject } from "../support/cli.js";
import { convertFilms, filmLines, QUESTION, writeFilms } from "../support/film-file.js";

const FILMS = 1_000;
/** Decides which format is interrupted when. */
const SEED = 18;
/** In the order of a run: what it says, what the gateway is asked, or what is there. */
const EARLY = [
  ["it opens the database", "folder"],
  ["it reads the file", "copy"],
  ["it shows the cost", "estimated"],
  ["it works", "of 1,000 rows"],
  ["it uploads a file", "POST /v1/files"],
] as const;
const LATE = [
  ["it creates the batch", "POST /v1/batches"],
  ["it looks at the batch", "GET /v1/batches/:id"],
  ["it fetches the answers", "GET /v1/files/:id/content"],
  ["a batch is done", "is done"],
  ["it deletes a file", "DELETE /v1/files/:id"],
] as const;
const FORMATS = ["csv", "tsv", "jsonl", "parquet", "csv.gz"] as const;
const EXIT_BY: Readonly<Record<Signal, number | null>> = { SIGINT: 130, SIGKILL: null };

type Signal = "SIGINT" | "SIGKILL";

/** Each moment once by each signal, two moments in a run, two runs in each format. */
const CASES = shuffled([0, 1, 2, 3, 4, 0, 1, 2, 3, 4].map((at, index) => ({ at, killsFirst: index < 5 }))).map(
  ({ at, killsFirst }, index) => {
    const [first, second]: [Signal, Signal] = killsFirst ? ["SIGKILL", "SIGINT"] : ["SIGINT", "SIGKILL"];
    const [early, late] = [EARLY[at], LATE[at]];
    if (early === undefined || late === undefined) throw new Error("no such moment");
    return { format: FORMATS[index % FORMATS.length] ?? "csv", first, early, second, late };
  },
);

beforeAll(buildCli, 150_000);

describe("rowmill run", { timeout: 120_000 }, () => {
  let project: CliProject;
  /** Its effect stays. Its reply is lost with the process that is killed. */
  let stopsAt: string | null = null;
  let stop: () => Signal;
  const undisturbed = new Map<string, Buffer>();
  beforeEach(async () => {
    project = await makeProject();
  });
  afterEach(() => project.close());

  async function makeProject(): Promise<CliProject> {
    stopsAt = null;
    const afterEffect = ({ method, route }: Call) => {
      if (stopsAt !== `${method} ${route}`) return undefined;
      stopsAt = null;
      return stop() === "SIGKILL" ? ({ kind: "drop" } as const) : undefined;
    };
    const made = await startCliProject("embedded", { run: runCli, gateway: { faults: { afterEffect } } });
    await writeFilms(made, filmLines(FILMS));
    return made;
  }

  const command = (format: string) => ["run", `films.${format}`, ...QUESTION, "--out", `labelled.${format}`, "--yes"];

  /** To its end. */
  async function finish(format: string): Promise<Buffer> {
    const ended = await project.run(...command(format));
    expect(ended.status, ended.stderr).toBe(0);
    return readFile(join(project.folder, `labelled.${format}`));
  }

  async function interrupt(format: string, moment: string, signal: Signal): Promise<void> {
    const running = project.start(...command(format));
    stop = () => {
      running.child.kill(signal);
      return signal;
    };
    if (moment === "folder") await until(moment, async () => existsSync(join(project.folder, ".rowmill/runs")));
    else if (moment === "copy") await until(moment, hasCopy);
    else if (moment.includes("/")) stopsAt = moment;
    else await running.says(moment);
    if (stopsAt === null) stop();
    const { status, stderr } = await running.ended;
    expect([status, stopsAt], stderr).toEqual([EXIT_BY[signal], null]);
  }

  const hasCopy = async (): Promise<boolean> => {
    const copies = sql`select from pg_catalog.pg_tables where schemaname = 'rowmill_data' and tablename like 'films%'`;
    return (await project.database.rows(copies)).length > 0;
  };

  it.each(FORMATS)("asks each film of a file of %s once where nothing disturbs it", async (format) => {
    await convertFilms(project, `films.${format}`);
    undisturbed.set(format, await finish(format));
    const { executed, executedByContent } = await project.gateway.journal.summary();
    expect([executed, executedByContent.size]).toEqual([FILMS, FILMS]);
  });

  it.each(CASES)(
    "with $format writes the same after $first when $early.0 and $second when $late.0, and asks each film once",
    async ({ format, first, early, second, late }) => {
      await convertFilms(project, `films.${format}`);
      await interrupt(format, early[1], first);
      await interrupt(format, late[1], second);
      const expected = undisturbed.get(format);
      expect((await finish(format)).equals(expected ?? Buffer.alloc(0)), "the same bytes").toBe(true);
      const { executed, executedByContent } = await project.gateway.journal.summary();
      expect([executed, executedByContent.size]).toEqual([FILMS, FILMS]);
      await project.check();
    },
  );
});

/** In an order that the seed decides. */
function shuffled<T>(items: readonly T[]): T[] {
  let state = SEED;
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  return items
    .map((item) => ({ item, place: random() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ item }) => item);
}
