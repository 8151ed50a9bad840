/**
 * A project whose workers are processes that die: each runs the built package in the project's folder, with a fault
 * at one step or none. What they leave is brought to its end by a worker in the process of the test; then the
 * ledger's invariants, the tables and the provider's journal must say that nothing was lost and nothing paid twice.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { pino } from "pino";
import { openProject } from "../../src/app/open/open-project.js";
import { openProviders } from "../../src/app/open/providers.js";
import { connectionOptions } from "../../src/config/database/connection.js";
import { readEnvironment } from "../../src/config/load/environment.js";
import { loadConfig } from "../../src/config/load/load.js";
import type { GatewayOptions } from "../../src/gateway/gateway.js";
import { openDatabase } from "../../src/postgres/database.js";
import type { WorkerContext } from "../../src/worker/context.js";
import type { StepName } from "../../src/worker/step-names.js";
import type { DatabaseKind } from "./databases.js";
import type { PlainOptions } from "./plain-provider.js";
import { sql, startProject, type TestProject } from "./project.js";

const script = resolve(import.meta.dirname, "../crash/crash-worker.mjs");
/** Imported before anything else by processes whose clock is wrong. */
export const clockScript = pathToFileURL(resolve(import.meta.dirname, "../crash/set-clock.mjs")).href;
/** A worker that is not as far by then never will be. */
const CHILD_MS_MAX = 120_000;

export interface Fault {
  readonly step: StepName;
  readonly when: "before" | "after";
  readonly action: "kill" | "freeze" | "throw";
}

/** The machine that a worker runs on. */
export interface Machine {
  /** Its clock is ahead of the true time, or behind it: logged, and may be set again. */
  readonly clockAheadMs: number;
  /** Replies of the provider have no Date header there. */
  readonly seesNoDates?: boolean;
  /** Rows wait for their threshold or deadline. */
  readonly noFlush?: boolean;
}

export interface CrashWorker {
  readonly child: ChildProcess;
  /** The time on each line of its log so far; none but of a worker on a machine of its own. */
  readonly loggedAtMs: readonly number[];
  /** Resolves when it said so; rejects when it ended first, or in time. */
  says(word: string): Promise<void>;
  /** How it ended: its signal, or its exit status. */
  readonly ended: Promise<NodeJS.Signals | number>;
}

export interface CrashProject {
  readonly project: TestProject;
  start(fault?: Fault | null, machine?: Machine): CrashWorker;
  /** A worker in this process, of the same config; not approved by anybody. */
  worker(): Promise<WorkerContext>;
  /** The dead are taken for dead at once; then everything that is left goes to its end. */
  recover(): Promise<void>;
  close(): Promise<void>;
}

export interface CrashOptions {
  readonly gateway?: Partial<GatewayOptions>;
  /** Further keys of the pipeline `notes`, as text. */
  readonly pipeline?: string;
  /** Batches go to this provider instead. */
  readonly plain?: PlainOptions;
}

export async function startCrashProject(
  kind: DatabaseKind,
  { gateway = {}, pipeline = "", plain }: CrashOptions = {},
): Promise<CrashProject> {
  const project = await startProject(kind, { gateway: { batchDelayMs: 100, ...gateway } });
  const file = join(project.folder, "rowmill.config.mjs");
  await writeFile(file, plain === undefined ? configText(pipeline) : plainConfigText(pipeline, plain));
  const environment = {
    DATABASE_URL: project.url,
    OPENAI_API_KEY: "test",
    OPENAI_BASE_URL: project.gateway.url,
    PGSSLMODE: "disable",
  };
  const children: CrashWorker[] = [];
  const opened: { context: WorkerContext; close(): Promise<void> }[] = [];
  const worker = async (): Promise<WorkerContext> => {
    const config = await loadConfig({ file, cwd: project.folder, env: environment });
    const read = readEnvironment(environment);
    const database = openDatabase(connectionOptions({ kind: "server", url: project.url }, read));
    const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });
    const open = await openProviders({ config, environment: read });
    const providers: typeof open = (pipeline) => ({ ...open(pipeline), createMs: 0 });
    const context = await openProject({ config, environment: read, database, log, providers });
    opened.push({ context, close: () => database.close() });
    return context;
  };
  return {
    project,
    worker,
    start: (fault, machine) => {
      const started = startChild(project.folder, {
        ...environment,
        ...(fault ? { CRASH_FAULT: JSON.stringify(fault) } : {}),
        ...(machine ? variablesOf(machine) : {}),
      });
      children.push(started);
      return started;
    },
    recover: async () => {
      await takeForDead(project);
      await project.drain(await worker());
    },
    close: async () => {
      for (const { child, ended } of children) {
        child.kill("SIGKILL");
        await ended;
      }
      for (const { context, close } of opened) {
        context.leases.stop();
        await close();
      }
      await project.close();
    },
  };
}

/** As if they had been silent for long: what `WORKER_SILENCE_MS` and `LEASE_MS` do in earnest. */
export async function takeForDead(project: TestProject): Promise<void> {
  await project.run(sql`update rowmill.workers set seen_at = seen_at - interval '1 hour'`);
  await project.run(
    sql`update rowmill.batches set lease_until = now() - interval '1 second' where lease_until is not null`,
  );
  await project.run(sql`update rowmill.batches set next_at = now() where settled_at is null`);
  await project.run(sql`update rowmill.syncs set lease_until = now() - interval '1 second', next_at = now()`);
  await project.run(
    sql`update rowmill.deliverers set lease_until = now() - interval '1 second' where lease_until is not null`,
  );
}

function variablesOf(machine: Machine): Readonly<Record<string, string>> {
  return {
    NODE_OPTIONS: `--import ${clockScript}`,
    CRASH_CLOCK_AHEAD_MS: String(machine.clockAheadMs),
    TEST_LOG: "info",
    ...(machine.seesNoDates ? { CRASH_NO_DATES: "yes" } : {}),
    ...(machine.noFlush ? { CRASH_FLUSH: "no" } : {}),
  };
}

function startChild(folder: string, environment: Readonly<Record<string, string>>): CrashWorker {
  const logs = environment["CRASH_CLOCK_AHEAD_MS"] !== undefined;
  const child = spawn(process.execPath, [script], {
    cwd: folder,
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      TEST_LOG: process.env["TEST_LOG"],
      ...environment,
    },
    stdio: ["ignore", "ignore", logs ? "pipe" : "inherit", "ipc"],
  });
  const loggedAtMs: number[] = [];
  if (child.stderr)
    createInterface(child.stderr).on("line", (line) => {
      if (process.env["TEST_LOG"] !== undefined) process.stderr.write(`${line}\n`);
      const [, time] = /"time":(\d+)/.exec(line) ?? [];
      if (time !== undefined) loggedAtMs.push(Number(time));
    });
  const heard = new Set<string>();
  child.on("message", (word) => heard.add(String(word)));
  const ended = once(child, "exit").then(([status, signal]: unknown[]) =>
    typeof status === "number" ? status : (signal as NodeJS.Signals),
  );
  const says = async (word: string): Promise<void> => {
    const deadline = AbortSignal.timeout(CHILD_MS_MAX);
    const listening = new AbortController();
    const signal = AbortSignal.any([deadline, listening.signal]);
    try {
      while (!heard.has(word)) {
        const end = await Promise.race([once(child, "message", { signal }).then(() => null), ended.then((how) => how)]);
        if (end !== null) throw new Error(`The worker ended (${end}) before it said "${word}".`);
      }
    } finally {
      listening.abort();
    }
  };
  return { child, loggedAtMs, ended, says };
}

/** As a user's own provider stands in a config. */
function plainConfigText(more: string, options: PlainOptions): string {
  const adapter = resolve(import.meta.dirname, "plain-provider.ts");
  const provider = `provider: plain(${JSON.stringify(options)}),`;
  const text = configText(`${provider} ${more}`).replace("gpt-4o-mini", "plain-small");
  return `import { plain } from ${JSON.stringify(adapter)};\n${text}`;
}

function configText(more: string): string {
  return `import { defineConfig, files, mysql, pipeline, postgres, sqlite, z } from "rowmill";

const notes = pipeline({
  source: { table: "notes", key: "id", columns: ["body"] },
  when: { rows: 1_000, maxWait: "10m" },
  polling: { min: "200ms", max: "1s" },
  reconcile: { window: "2s" },
  request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
  answer: z.object({ summary: z.string() }),
  target: { table: "note_summaries" },
  ${more}
});

export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { notes } });
`;
}

interface Asked {
  /** Requests of the ledger by state. */
  readonly states: Readonly<Record<string, number>>;
  /** Texts that the model was asked more than once. */
  readonly askedTwice: number;
  /** Executions, in all. */
  readonly executed: number;
}

export interface Accounts extends Asked {
  /** Rows of the source without their answer, and answers without a row. */
  readonly missing: number;
  readonly superfluous: number;
}

/** What was asked, wherever the rows are. */
export async function countAsked(project: TestProject): Promise<Asked> {
  const states = await project.rows<{ state: string; count: number }>(
    sql`select state, count(*)::int as count from rowmill.requests group by 1 order by 1`,
  );
  const journal = await project.gateway.journal.summary();
  return {
    states: Object.fromEntries(states.map(({ state, count }) => [state, count])),
    askedTwice: [...journal.executedByContent.values()].filter((times) => times > 1).length,
    executed: journal.executed,
  };
}

/** What must hold when everything has come to its end. */
export async function accounts(project: TestProject): Promise<Accounts> {
  const [row] = await project.rows<{ missing: number; superfluous: number }>(sql`
    select (select count(*)::int
    from public.notes n
    left join public.note_summaries s using (id)
    where s.summary is null) as missing,
      (select count(*)::int
      from public.note_summaries s
      left join public.notes n using (id)
      where n.id is null) as superfluous`);
  return {
    ...(await countAsked(project)),
    missing: row?.missing ?? -1,
    superfluous: row?.superfluous ?? -1,
  };
}
