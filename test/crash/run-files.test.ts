/**
 * `rowmill run` over 1,000 films in each format, interrupted at ten points by Ctrl-C and at the same ten by kill -9:
 * the same command writes the same bytes as a run that nothing disturbed, and asks each line once. Prints where each
 * interruption found the run.
 */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Call, Fault } from "../../src/gateway/engine/faults.js";
import { raw, sql } from "../../src/postgres/database.js";
import { buildCli, runCli, startCliProject, until, type CliProject } from "../support/cli.js";
import { convertFilms, filmLines, QUESTION, writeFilms } from "../support/film-file.js";

const FILMS = 1_000;
/** Of the file with the answers: about half. */
const HALF_BYTES = 300 * FILMS;
/** For it to arrive. */
const HALF_MS = 300;
const FORMATS = ["csv", "tsv", "jsonl", "parquet", "csv.gz"] as const;
const EXIT_BY = { SIGINT: 130, SIGKILL: null } as const;

type Signal = keyof typeof EXIT_BY;

/**
 * In the order of a run, which is interrupted at each and continues to the next. `when`: what is there, what it says,
 * or what the gateway did.
 */
const POINTS = [
  { phase: "reading", at: "its state is made", when: "folder" },
  { phase: "reading", at: "its copy of the file is made", when: "copy" },
  { phase: "reading", at: "it shows the cost", when: "estimated" },
  { phase: "submitting", at: "a file is uploaded", when: "POST /v1/files" },
  { phase: "submitting", at: "the batch is created", when: "POST /v1/batches" },
  { phase: "waiting", at: "it looks at the batch", when: "GET /v1/batches/:id" },
  { phase: "collecting", at: "the answers begin", when: "GET /v1/files/:id/content" },
  { phase: "collecting", at: "half of the answers have come", when: "half" },
  { phase: "deleting", at: "a file is deleted", when: "DELETE /v1/files/:id" },
  { phase: "writing", at: "the output has its temporary name", when: "output" },
] as const;

/** What the interrupted run leaves. After Ctrl-C it ends the step that it is in. */
const LEFT: Readonly<Record<Point["phase"], RegExp>> = {
  reading: /^no ledger$|^\d+ rows read(?:, waiting 1000)?$/,
  submitting: /batched 1000, batch (?:uploading|submitting|running)$/,
  waiting: /batched 1000, batch running$/,
  collecting: /batch (?:collecting|settled)$/,
  deleting: /succeeded 1000, batch settled$/,
  writing: /succeeded 1000, batch settled(?:, \.labelled\S+)?$/,
};

type Point = (typeof POINTS)[number];

beforeAll(buildCli, 150_000);

describe("rowmill run", { timeout: 300_000 }, () => {
  let project: CliProject;
  /** The call at which it is stopped. Its effect stays; its reply is lost with the process that is killed. */
  let stopsAt: string | null = null;
  let stop: () => Fault | undefined;
  const undisturbed = new Map<string, Buffer>();
  beforeEach(async () => {
    stopsAt = null;
    const afterEffect = ({ method, route }: Call) => {
      if (stopsAt !== `${method} ${route}`) return undefined;
      stopsAt = null;
      return stop();
    };
    project = await startCliProject("embedded", { run: runCli, gateway: { faults: { afterEffect } } });
    await writeFilms(project, filmLines(FILMS));
  });
  afterEach(() => project.close());

  const command = (format: string) => ["run", `films.${format}`, ...QUESTION, "--out", `labelled.${format}`, "--yes"];

  /** To its end. */
  async function finish(format: string): Promise<Buffer> {
    const ended = await project.run(...command(format));
    expect(ended.status, ended.stderr).toBe(0);
    return readFile(join(project.folder, `labelled.${format}`));
  }

  async function expectEachOnce(): Promise<void> {
    const { executed, executedByContent } = await project.gateway.journal.summary();
    expect([executed, executedByContent.size]).toEqual([FILMS, FILMS]);
  }

  async function interrupt(format: string, { when }: Point, signal: Signal): Promise<void> {
    const running = project.start(...command(format));
    const strike = () => running.child.kill(signal);
    stop = () => {
      // Whatever only looks waits for its reply, so that Ctrl-C does not find it further.
      if (when === "half") setTimeout(strike, HALF_MS);
      else strike();
      if (when === "half" || when.startsWith("GET"))
        return { kind: "stall", afterBytes: when === "half" ? HALF_BYTES : 0 };
      return signal === "SIGKILL" ? { kind: "drop" } : undefined;
    };
    if (when === "folder") await until(when, async () => existsSync(join(project.folder, ".rowmill/runs")));
    else if (when === "copy") await until(when, async () => (await copyName()) !== null);
    else if (when === "estimated") await running.says(when);
    else if (when === "output") await until(when, async () => (await temporaries()).length > 0);
    else stopsAt = when === "half" ? "GET /v1/files/:id/content" : when;
    if (stopsAt === null) strike();
    const { status, stderr } = await running.ended;
    expect([status, stopsAt], stderr).toEqual([EXIT_BY[signal], null]);
  }

  /** What the ledger and the folder say. */
  async function found(): Promise<string> {
    const hasLedger = (await project.database.value(sql`select to_regclass('rowmill.batches')::text`)) !== null;
    if (!hasLedger) return "no ledger";
    const copy = await copyName();
    const rows = copy === null ? 0 : await project.database.number(raw(`select count(*) from rowmill_data."${copy}"`));
    const states = await project.database.column<string>(sql`
      select state || ' ' || count(*)
      from rowmill.requests
      group by state
      order by state`);
    const batches = await project.database.column<string>(sql`select state from rowmill.batches order by no`);
    const parts = [
      `${rows} rows read`,
      ...states,
      ...batches.map((state) => `batch ${state}`),
      ...(await temporaries()),
    ];
    return parts.join(", ");
  }

  const copyName = (): Promise<string | null> =>
    project.database.value<string>(sql`
      select tablename::text
      from pg_catalog.pg_tables
      where schemaname = 'rowmill_data' and tablename like 'films%'`);

  const temporaries = async (): Promise<string[]> =>
    (await readdir(project.folder)).filter((name) => name.startsWith(".labelled"));

  it.each(FORMATS)("asks each film of a file of %s once where nothing disturbs it", async (format) => {
    await convertFilms(project, `films.${format}`);
    undisturbed.set(format, await finish(format));
    await expectEachOnce();
  });

  it.each(FORMATS.flatMap((format) => [{ format, signal: "SIGINT" } as const, { format, signal: "SIGKILL" } as const]))(
    "writes the same $format after $signal at ten points, and asks each film once",
    async ({ format, signal }) => {
      await convertFilms(project, `films.${format}`);
      const said: string[] = [];
      for (const point of POINTS) {
        await interrupt(format, point, signal);
        const left = await found();
        said.push(`${format} ${signal} ${point.phase}, when ${point.at}: ${left}`);
        expect(left, said.join("\n")).toMatch(LEFT[point.phase]);
      }
      console.log(said.join("\n"));
      const output = await finish(format);
      expect(output.equals(undisturbed.get(format) ?? Buffer.alloc(0)), "the same bytes").toBe(true);
      await expectEachOnce();
      await project.check();
    },
  );
});
