/**
 * Situations in which a worker comes by every step of the stages: what stands when it starts, what the provider does,
 * and what a person fixes afterwards. A step is struck in the one scene that lists it.
 */
import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import OpenAI, { toFile } from "openai";
import { prepareRestore, restoreLedger } from "../../src/app/deployment/restore-ledger.js";
import { sweepAll } from "../../src/app/open/round.js";
import type { Call, Fault, GatewayFaults } from "../../src/gateway/engine/faults.js";
import type { GatewayOptions } from "../../src/gateway/gateway.js";
import * as cancellation from "../../src/store/batches/cancellation.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { runPlanner } from "../../src/worker/rounds/planner.js";
import type { StepName } from "../../src/worker/step-names.js";
import { takeForDead, type CrashProject, type CrashWorker } from "../support/crash-project.js";
import { BACK_INTO_NOTES, NOTES_ELSEWHERE, takeAnswersBack } from "../support/notes-elsewhere.js";
import { createNotes, insertNotes, plain } from "../support/notes.js";
import { sql } from "../support/project.js";

export interface Scene {
  readonly title: string;
  readonly steps: readonly StepName[];
  /** Made for each run. */
  readonly provider?: () => Partial<GatewayOptions>;
  /** Further keys of the pipeline. */
  readonly pipeline?: string;
  /** Before the worker starts. Default: five texts wait for it. */
  readonly prepare?: (crash: CrashProject) => Promise<void>;
  /** When it works. */
  readonly during?: (crash: CrashProject, worker: CrashWorker) => Promise<void>;
  /** What the world, or a person, does before another worker takes over. */
  readonly fix?: (crash: CrashProject) => Promise<void>;
  /** Texts that are no row's. Default: none. */
  readonly askedBesides?: number;
  /** Texts that are asked twice for a stated reason. Default: none. */
  readonly askedTwice?: number;
  /** Rows that fail, as they would without a crash. Default: none. */
  readonly failed?: number;
  /** Rows that share the line of an equal one. Default: none. */
  readonly sharing?: number;
  /** Rows that were answered and are no longer there; their answers stay. Default: none. */
  readonly gone?: number;
  /** Rows that you drop with their batch. Default: none. */
  readonly dropped?: number;
}

const isCreate = (call: Call): boolean => call.method === "POST" && call.route === "/v1/batches";
const isUpload = (call: Call): boolean => call.method === "POST" && call.route === "/v1/files";
const isDelete = (call: Call): boolean => call.method === "DELETE" && call.route === "/v1/files/:id";

const CREATE_LASTS_MS = 7_000;
const LOOK_MS = 20;
const LOOKS_MAX = 1_000;

function firstTimes(times: number, is: (call: Call) => boolean, fault: Fault): (call: Call) => Fault | undefined {
  let left = times;
  return (call) => (is(call) && left-- > 0 ? fault : undefined);
}

const reply = (status: number, body: object = {}): Fault => ({
  kind: "reply",
  status,
  body,
  headers: { "x-should-retry": "false" },
});

/** Faults that last until they are fixed. */
function untilFixed(fault: (fixed: () => boolean) => Partial<GatewayFaults>): {
  provider: () => Partial<GatewayOptions>;
  fix: (crash: CrashProject) => Promise<void>;
} {
  let fixed = false;
  return {
    provider: () => {
      fixed = false;
      return { faults: fault(() => fixed) };
    },
    fix: async ({ project }) => {
      fixed = true;
      project.gateway.release();
      await project.run(sql`update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null`);
    },
  };
}

export async function fiveNotes({ project }: CrashProject): Promise<void> {
  await createNotes(project, plain(5));
}

/** Batches stand still until one of them is cancelled. */
function stillUntilOneIsCancelled(): {
  provider: (faults?: Partial<GatewayFaults>) => Partial<GatewayOptions>;
  attend: (crash: CrashProject) => void;
} {
  let cancelled = false;
  let wake = (): void => undefined;
  return {
    provider: (faults = {}) => {
      cancelled = false;
      return {
        faults: {
          ...faults,
          beforeEffect: (call) => {
            if (call.route !== "/v1/batches/:id/cancel") return undefined;
            cancelled = true;
            // After this call has had its effect.
            setTimeout(wake, LOOK_MS);
            return undefined;
          },
          hold: (batch) => !cancelled && batch.status === "validating",
        },
      };
    },
    attend: ({ project }) => {
      wake = () => project.gateway.release();
    },
  };
}

/** The batch once more, as a create would make it whose first reply was lost. */
async function createTwin({ project }: CrashProject): Promise<void> {
  const [first] = await waitFor(async () => (await project.gateway.journal.summary()).batches);
  if (first === undefined) throw new Error("No batch was created.");
  await fetch(`${project.gateway.url}/batches`, {
    method: "POST",
    headers: { authorization: "Bearer test", "content-type": "application/json" },
    body: JSON.stringify({
      input_file_id: first.inputFileId,
      endpoint: "/v1/chat/completions",
      completion_window: "24h",
      metadata: first.metadata,
    }),
  });
}

function twoBatches(): Scene {
  const still = stillUntilOneIsCancelled();
  return {
    title: "two batches for the same requests",
    steps: ["reconcile.duplicate", "compare.cancel", "compare.cancelled"],
    provider: () => still.provider({ afterEffect: firstTimes(1, isCreate, { kind: "drop" }) }),
    during: async (crash) => {
      still.attend(crash);
      await createTwin(crash);
    },
  };
}

function aTwinSeenLate(): Scene {
  const still = stillUntilOneIsCancelled();
  return {
    title: "a duplicate that is seen late",
    steps: ["compare.look", "compare.record", "compare.cancel", "compare.cancelled"],
    provider: () => still.provider(),
    prepare: async (crash) => {
      still.attend(crash);
      await fiveNotes(crash);
      await crash.project.round(await crash.worker());
      await createTwin(crash);
      await crash.project.run(
        sql`
          update rowmill.batches
          set submitted_at = submitted_at - interval '1 hour', planned_at = planned_at - interval '1 hour'`,
      );
    },
  };
}

async function wantCancel({ project }: CrashProject, drops: boolean): Promise<void> {
  const [batch] = await project.rows<{ id: string }>(sql`select id from rowmill.batches where settled_at is null`);
  const by = "you (rowmill cancel)";
  await project.database.transaction((tx) => cancellation.want(tx, batch?.id ?? "", { by, drops }));
}

/** Its rows come back and are sent again. */
function aBatchYouCancel(): Scene {
  const still = stillUntilOneIsCancelled();
  return {
    title: "a batch that you cancel at the provider",
    steps: ["cancel.ask", "cancel.noted"],
    provider: () => still.provider(),
    prepare: async (crash) => {
      still.attend(crash);
      await fiveNotes(crash);
      await crash.project.round(await crash.worker());
      await wantCancel(crash, false);
    },
  };
}

function aPlannedBatchYouDrop(): Scene {
  return {
    title: "a planned batch whose rows you drop",
    steps: ["cancel.drop"],
    prepare: async (crash) => {
      await fiveNotes(crash);
      const worker = await crash.worker();
      await sweepAll(worker, new AbortController().signal);
      await runPlanner(worker, true);
      await wantCancel(crash, true);
    },
    dropped: 5,
  };
}

/** The provider has a batch of this ledger that the ledger never created: it was restored, as a person says then. */
function aBatchOfNobody(): Scene {
  return {
    title: "a batch that the ledger never created",
    steps: ["compare.suspect"],
    prepare: async (crash) => {
      await fiveNotes(crash);
      await crash.worker();
      const { project } = crash;
      const [ledger] = await project.rows<{ id: string }>(sql`select id from rowmill.deployment`);
      const metadata = { rowmill_deployment: ledger?.id ?? "", rowmill_batch: randomUUID() };
      await createBatchOf(project.gateway.url, metadata);
    },
    fix: async (crash) => {
      await takeForDead(crash.project);
      const worker = await crash.worker();
      await crash.project.round(worker);
      const { signal } = new AbortController();
      const restoration = await prepareRestore(worker, signal);
      const place = { database: { kind: "server", url: crash.project.url }, file: "" } as const;
      await restoreLedger(worker, place, { restoration, signal });
    },
    // The one request of that batch.
    askedBesides: 1,
  };
}

/** They could not be deleted when their batch had ended. */
function unneededFiles(): Scene {
  let kept = true;
  return {
    title: "files that are not needed any more",
    steps: ["clean.forget", "clean.noted"],
    provider: () => {
      kept = true;
      return { faults: { beforeEffect: (call) => (isDelete(call) && kept ? reply(503) : undefined) } };
    },
    prepare: async (crash) => {
      await fiveNotes(crash);
      await crash.recover();
      kept = false;
    },
  };
}

/** Its answer is kept in the ledger until the transaction ends. */
function aRowThatIsHeld(): Scene {
  let release = (): Promise<void> => Promise.resolve();
  return {
    title: "a target row that a user's transaction holds",
    steps: ["collect.chunk", "collect.postpone"],
    prepare: async (crash) => {
      await fiveNotes(crash);
      await crash.worker();
      const { project } = crash;
      await project.run(sql`insert into public.note_summaries values (2, 'of the user', now(), '')`);
      const user = await project.database.pool.connect();
      await user.query("begin; select 1 from public.note_summaries where id = 2 for update");
      release = async () => {
        await user.query("rollback");
        user.release();
      };
    },
    fix: () => release(),
  };
}

/** The keys of rows from elsewhere are texts. */
async function fiveNotesByText({ project }: CrashProject): Promise<void> {
  await project.run(sql`create table public.notes (id text primary key, body text)`);
  await project.run(sql`
    insert into public.notes
    select n::text, 'This is note number ' || n || ', plain and short.'
    from generate_series(1, 5) n`);
}

/** They were answered, and did not change for an hour: their only copy goes, and their answers stay. */
function pushedRowsWhoseTimeIsOver(): Scene {
  return {
    title: "pushed rows whose time is over",
    steps: ["clean.pushed"],
    pipeline: 'source: { push: true, key: "id", columns: ["body"], keep: "1h" },',
    prepare: async (crash) => {
      const { project } = crash;
      await fiveNotesByText(crash);
      const worker = await crash.worker();
      await project.run(sql`select rowmill.push('notes', (select jsonb_agg(to_jsonb(n)) from public.notes n))`);
      await crash.recover();
      await project.run(sql`update rowmill_data.notes set rowmill_pushed_at = now() - interval '2 hours'`);
      await runIntake(worker);
    },
  };
}

/** Two passes over all rows did not meet a row: the third deletes it. */
function rowsThatVanished(): Scene {
  return {
    title: "rows that vanished elsewhere",
    steps: ["sync.delete"],
    pipeline: NOTES_ELSEWHERE,
    askedBesides: 1,
    gone: 1,
    prepare: async (crash) => {
      await fiveNotesByText(crash);
      await crash.worker();
      await crash.recover();
      const { project } = crash;
      await project.run(sql`delete from public.notes where id = '1'`);
      await project.run(sql`update rowmill.syncs set full_wanted = true`);
      await crash.recover();
      await project.run(sql`update rowmill.syncs set full_wanted = true, next_at = now()`);
    },
  };
}

/** In another connection, as a target elsewhere has it: `note_summaries` gets what is delivered. */
function aTargetElsewhere(): Scene {
  const file = JSON.stringify(resolve(import.meta.dirname, "../support/target-in-postgres.mjs"));
  return {
    title: "a target elsewhere",
    steps: ["deliver.take", "deliver.write", "deliver.confirm", "collect.chunk"],
    pipeline: `target: (await import(${file})).targetInPostgres(process.env.DATABASE_URL),`,
  };
}

/** In a file, of which `note_summaries` is a copy: one that appears as a whole when nothing waits, or a database. */
function answersInFiles(): Scene[] {
  const support = JSON.stringify(resolve(import.meta.dirname, "../support/target-in-file.mjs"));
  const into = (name: string, target: string) => `target: await (async () => {
    const path = new URL("${name}", import.meta.url).pathname;
    const { targetInFile } = await import(${support});
    return targetInFile(${target}, { path, connectionString: process.env.DATABASE_URL });
  })(),`;
  return [
    {
      title: "answers that go into a file",
      steps: ["deliver.write", "deliver.confirm", "deliver.settle", "deliver.settled"],
      pipeline: into("labels.jsonl", "files(path)"),
    },
    {
      title: "answers that go into a SQLite file",
      steps: ["deliver.take", "deliver.write", "deliver.confirm"],
      pipeline: into("labels.db", 'sqlite({ url: "file:" + path, table: "labels" })'),
    },
  ];
}

/** Into the rows that were asked, of which a trigger changes what was asked at every write. */
function answersBackIntoTheirRows(): Scene {
  return {
    title: "answers that go back into the rows elsewhere",
    steps: ["deliver.take", "deliver.write", "deliver.readBack", "deliver.confirm", "sync.read", "sync.write"],
    pipeline: `${NOTES_ELSEWHERE} ${BACK_INTO_NOTES}`,
    prepare: async (crash) => {
      await fiveNotesByText(crash);
      await takeAnswersBack(crash.project);
      await crash.worker();
    },
  };
}

export const scenes: readonly Scene[] = [
  {
    title: "rows from elsewhere",
    steps: ["sync.begin", "sync.read", "sync.write", "sync.end"],
    pipeline: NOTES_ELSEWHERE,
    prepare: async (crash) => {
      await fiveNotesByText(crash);
      await crash.worker();
    },
  },
  rowsThatVanished(),
  {
    title: "a source elsewhere that is not there yet",
    steps: ["sync.fail"],
    pipeline: NOTES_ELSEWHERE,
    prepare: async (crash) => {
      await crash.worker();
    },
    fix: fiveNotesByText,
  },
  aTargetElsewhere(),
  ...answersInFiles(),
  answersBackIntoTheirRows(),
  pushedRowsWhoseTimeIsOver(),
  {
    title: "an ordinary run",
    steps: [
      "worker.beat",
      "sweep.chunk",
      "sweep.demo",
      "plan.sample",
      "plan.estimate",
      "plan.approve",
      "plan.batch",
      "plan.clearFlush",
      "turn.claim",
      "turn.release",
      "turn.wake",
      "render.limits",
      "render.undo",
      "render.read",
      "render.chunk",
      "render.move",
      "upload.look",
      "upload.send",
      "upload.move",
      "submit.intent",
      "submit.create",
      "submit.record",
      "poll.ask",
      "poll.note",
      "poll.move",
      "collect.read",
      "collect.chunk",
      "end.chunk",
      "clean.spool",
      "clean.ledger",
    ],
  },
  {
    title: "rows that share lines",
    steps: ["render.undo", "render.chunk", "render.move", "submit.record", "collect.chunk", "end.chunk"],
    pipeline: "dedupe: true,",
    prepare: ({ project }) => createNotes(project, [...plain(3), ...plain(2), ...plain(3)]),
    sharing: 5,
  },
  {
    title: "rows that arrive",
    steps: ["intake.take"],
    prepare: async (crash) => {
      await fiveNotes(crash);
      await crash.worker();
      await insertNotes(crash.project, plain(3, "arrival"));
    },
  },
  {
    title: "a worker that is stopped",
    steps: ["worker.signOff"],
    during: async (_, worker) => {
      await worker.says("working");
      worker.child.kill("SIGTERM");
    },
  },
  {
    title: "a create whose reply takes its time",
    steps: ["lease.renew"],
    provider: () => ({
      faults: {
        afterEffect: async (call) => {
          if (isCreate(call)) await new Promise((resolve) => setTimeout(resolve, CREATE_LASTS_MS));
          return undefined;
        },
      },
    }),
  },
  {
    title: "a key that is refused",
    steps: ["turn.pause"],
    ...untilFixed((fixed) => ({
      beforeEffect: (call) =>
        isUpload(call) && !fixed()
          ? reply(401, { error: { message: "Incorrect API key provided.", code: "invalid_api_key" } })
          : undefined,
    })),
  },
  {
    // In the middle of the keys as text, where the sample of the rows that wait does not see it.
    title: "a row that is dearer than its batch",
    steps: ["render.learn"],
    pipeline: "budget: { usd: 1_000, per: 'total' },",
    prepare: ({ project }) =>
      createNotes(project, [...plain(23), `A long one. ${"word ".repeat(120_000)}`, ...plain(137, "text")]),
  },
  {
    title: "a file that is not ready at once",
    steps: ["upload.wait"],
    provider: () => ({
      faults: {
        afterEffect: (call, answer) =>
          isUpload(call) && answer.kind === "json" ? reply(200, { ...answer.body, status: "pending" }) : undefined,
      },
    }),
  },
  {
    title: "an upload whose reply is lost",
    steps: ["upload.delete"],
    provider: () => ({ faults: { afterEffect: firstTimes(4, isUpload, { kind: "drop" }) } }),
  },
  {
    title: "a create that is put off",
    steps: ["submit.takeBack"],
    provider: () => ({
      faults: {
        beforeEffect: firstTimes(
          1,
          isCreate,
          reply(429, { error: { message: "Slow down.", code: "rate_limit_exceeded" } }),
        ),
      },
    }),
  },
  {
    title: "a create that is lost on its way",
    steps: ["reconcile.look", "reconcile.fence", "submit.uploadAgain"],
    provider: () => ({ faults: { beforeEffect: firstTimes(1, isCreate, { kind: "drop" }) } }),
  },
  twoBatches(),
  aTwinSeenLate(),
  aBatchOfNobody(),
  aRowThatIsHeld(),
  aBatchYouCancel(),
  aPlannedBatchYouDrop(),
  {
    title: "files that hold less than the provider counted",
    steps: ["collect.postpone"],
    provider: () => {
      let dropped = false;
      return {
        faults: {
          transformOutput: () => {
            if (dropped) return undefined;
            dropped = true;
            return [];
          },
        },
      };
    },
    askedTwice: 1,
  },
  {
    title: "a line that the provider refuses",
    steps: ["refuse.note"],
    prepare: ({ project }) => createNotes(project, [...plain(4), "[[demo:bad-line]] refused"]),
    failed: 1,
  },
  {
    title: "more tokens than the account may have enqueued",
    steps: ["refuse.learn"],
    provider: () => ({ limits: { enqueuedTokensPerModel: 300 } }),
    prepare: ({ project }) => createNotes(project, plain(40)),
  },
  {
    title: "a worker that died",
    steps: ["rescue.bury"],
    prepare: async (crash) => {
      await fiveNotes(crash);
      await crash.project.run(sql`insert into rowmill.workers (id, host, pid, version, seen_at)
        values (${randomUUID()}, 'gone', 1, '0.0.0', now() - interval '1 hour')`);
    },
  },
  {
    title: "a batch that nothing will wake",
    steps: ["rescue.wake"],
    ...untilFixed((fixed) => ({ hold: () => !fixed() })),
    prepare: async (crash) => {
      await fiveNotes(crash);
      await crash.project.round(await crash.worker());
      await crash.project.run(sql`delete from rowmill_worker._private_jobs`);
    },
  },
  unneededFiles(),
];

/** With one request that is no row's. */
async function createBatchOf(url: string, metadata: Readonly<Record<string, string>>): Promise<void> {
  const client = new OpenAI({ apiKey: "test", baseURL: url });
  const body = { model: "gpt-4o-mini", messages: [{ role: "user", content: "No one's text." }] };
  const line = { custom_id: "x-1", method: "POST", url: "/v1/chat/completions", body };
  const file = await client.files.create({
    file: await toFile(Buffer.from(`${JSON.stringify(line)}\n`), "lost.jsonl"),
    purpose: "batch",
  });
  await client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
    metadata: { ...metadata },
  });
}

async function waitFor<T>(look: () => Promise<readonly T[]>): Promise<readonly T[]> {
  for (let looks = 0; looks < LOOKS_MAX; looks++) {
    const found = await look();
    if (found.length > 0) return found;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return [];
}
