/**
 * A whole Rowmill for one test, as `startProject` makes it, whose batches go to the stand-in of "plain" instead of
 * the gateway. What the stages do there they do by `Provider` alone.
 */
import { join } from "node:path";
import { pino } from "pino";
import { openProject } from "../../src/app/open/open-project.js";
import { connectionOptions } from "../../src/config/database/connection.js";
import { readEnvironment } from "../../src/config/load/environment.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { defineConfig } from "../../src/index.js";
import type { Provider } from "../../src/model/provider/provider.js";
import { openDatabase } from "../../src/postgres/database.js";
import { approve } from "../../src/worker/rounds/approval.js";
import type { WorkerContext } from "../../src/worker/context.js";
import type { DatabaseKind } from "./databases.js";
import { notesPipeline, type NotesChanges } from "./notes.js";
import { plain, type PlainOptions } from "./plain-provider.js";
import { PLAIN_KEY, startPlainStandIn, type PlainStandIn, type PlainStandInOptions } from "./plain-stand-in.js";
import { reask, sql, startProject, type TestProject } from "./project.js";

const ROUNDS_MAX = 40;

type Pipelines = Parameters<typeof defineConfig>[0]["pipelines"];

export interface PlainProject {
  /** Its gateway is asked for nothing. */
  readonly project: TestProject;
  readonly standIn: PlainStandIn;
  /** Another worker, approved without asking. Default: the pipeline `notes`. */
  worker(changes?: PlainWorker): Promise<WorkerContext>;
  /** The ledger, the rows and what the stand-in executed. */
  accounts(): Promise<PlainAccounts>;
  close(): Promise<void>;
}

export interface PlainWorker {
  /** Which ask that provider. Default: `notes`. */
  readonly pipelines?: (provider: Provider) => Pipelines;
  readonly provider?: Partial<PlainOptions>;
}

export interface PlainAccounts {
  /** Requests of the ledger by state. */
  readonly states: Readonly<Record<string, number>>;
  /** Texts that the model was asked more than once. */
  readonly askedTwice: number;
  /** Executions of our requests. */
  readonly executed: number;
  /** Rows of `notes` without an answer. */
  readonly missing: number;
}

export async function startPlainProject(kind: DatabaseKind, options: PlainStandInOptions = {}): Promise<PlainProject> {
  const standIn = await startPlainStandIn(options);
  const project = await startProject(kind);
  const opened: (() => Promise<void>)[] = [];
  const environment = readEnvironment({ PGSSLMODE: "disable" });
  return {
    project,
    standIn,
    worker: async ({ pipelines = notesAlone, provider = {} } = {}) => {
      // A create without an effect is looked for within the window alone.
      const made = plain({ url: standIn.url, key: PLAIN_KEY, createMs: 0, ...provider });
      const database = openDatabase(connectionOptions({ kind: "server", url: project.url }, environment));
      const config = validateConfig(defineConfig({ database: project.url, pipelines: pipelines(made) }), {
        file: join(project.folder, "rowmill.config.ts"),
        language: "script",
        databaseUrl: null,
      });
      const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });
      const context = await openProject({ config, environment, database, log });
      opened.push(async () => {
        context.leases.stop();
        await database.close();
      });
      for (const pipeline of context.pipelines.values()) {
        await reask(database, pipeline);
        await approve(context, pipeline, "the test");
      }
      return context;
    },
    accounts: () => plainAccounts(project, standIn),
    close: async () => {
      for (const close of opened) await close();
      await project.close();
      await standIn.close();
    },
  };
}

const notesAlone = (provider: Provider) => ({ notes: plainNotes({ provider }) });

export function plainNotes(changes: NotesChanges = {}) {
  return notesPipeline({ model: "plain-small", reconcileWindow: "500ms", ...changes });
}

export async function plainAccounts(project: TestProject, standIn: PlainStandIn): Promise<PlainAccounts> {
  const states = await project.rows<{ state: string; count: number }>(
    sql`select state, count(*)::int as count from rowmill.requests group by 1 order by 1`,
  );
  const [row] = await project.rows<{ missing: number }>(
    sql`
      select count(*)::int as missing
      from public.notes n
      left join public.note_summaries s using (id)
      where s.summary is null`,
  );
  const times = [...standIn.executedByPrompt().values()];
  return {
    states: Object.fromEntries(states.map(({ state, count }) => [state, count])),
    askedTwice: times.filter((each) => each > 1).length,
    executed: times.reduce((sum, each) => sum + each, 0),
    missing: row?.missing ?? -1,
  };
}

/** As if all pauses between looks had passed, and the time within which a create may show itself. */
export async function passPauses({ project }: PlainProject): Promise<void> {
  await project.run(sql`update rowmill.batches set next_at = now(),
    create_intent_at = create_intent_at - interval '1 minute' where settled_at is null`);
}

export async function untilCreated({ project, standIn }: PlainProject, worker: WorkerContext): Promise<void> {
  for (let rounds = 0; rounds < ROUNDS_MAX && (standIn.calls.get("create") ?? 0) === 0; rounds += 1)
    await project.round(worker);
}
