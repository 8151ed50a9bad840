/**
 * Two workers, their provider and a user on one database, moved one action at a time by a test. Actions are plain
 * records, so that a story can be shrunk and printed; one that means nothing at its moment does nothing.
 */
import { pino } from "pino";
import { idleState } from "../../src/app/open/idle.js";
import { runRound, sweepAll } from "../../src/app/open/round.js";
import type { Call } from "../../src/gateway/engine/faults.js";
import { isTerminal, type BatchObject } from "../../src/gateway/protocol/wire.js";
import { advanceBatch } from "../../src/worker/turn/advance.js";
import { compareWithList } from "../../src/worker/rounds/duplicates.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { runJanitor } from "../../src/worker/rounds/janitor.js";
import { runPlanner } from "../../src/worker/rounds/planner.js";
import { runRescuer } from "../../src/worker/rounds/rescuer.js";
import { sweepChunk } from "../../src/worker/rounds/sweeper.js";
import { pipeline, z } from "../../src/index.js";
import { quick } from "./movies.js";
import { emptyList, is } from "./provider-faults.js";
import { sql, startProject, type TestProject } from "./project.js";
import { stageWorker, type PlannedMishap, type StageWorker } from "./stage-worker.js";

export type Stage = "intake" | "sweep" | "plan" | "advance" | "rescue" | "compare" | "clean";

/** `batch`, `key` and `to` choose among those that there are. */
export type Action =
  | {
      readonly do: "work";
      readonly worker: 0 | 1;
      readonly stage: Stage;
      readonly batch: number;
      readonly mishap: PlannedMishap | null;
    }
  | { readonly do: "thaw"; readonly worker: 0 | 1 }
  | { readonly do: "leaseRunsOut"; readonly batch: number }
  /** Every lease runs out, and so does the window of every create that is looked for. */
  | { readonly do: "timePasses" }
  | { readonly do: "put"; readonly key: number; readonly version: number }
  | { readonly do: "remove"; readonly key: number }
  | { readonly do: "rekey"; readonly key: number; readonly to: number }
  | { readonly do: "truncate" }
  | { readonly do: "complete"; readonly batch: number }
  | { readonly do: "expire"; readonly batch: number; readonly after: number }
  | { readonly do: "loseNextCreate"; readonly when: "beforeEffect" | "afterEffect" }
  /** The next look at the provider's batches finds none. */
  | { readonly do: "lagNextList" };

const DRAIN_ROUNDS_MAX = 200;
const signal = new AbortController().signal;

export interface World {
  readonly project: TestProject;
  act(action: Action): Promise<void>;
  /** Everything goes to its end; then what is frozen wakes, and everything goes to its end again. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export async function openWorld(): Promise<World> {
  const provider = makeProvider();
  const project = await startProject("pg18", { gateway: { faults: provider.faults } });
  try {
    await project.run(sql`create table public.notes (id int primary key, body text not null)`);
    await project.run(sql`insert into public.notes select n, ${bodyOf(0)} || n || '.' from generate_series(0, 2) n`);
    const workers = [await openWorker(project), await openWorker(project)] as const;
    // What was there before is found; a story begins with three rows that wait.
    await workers[0].run((context) => sweepAll(context, signal));
    const end = () => provider.endAll(project);
    return {
      project,
      act: (action) => perform({ project, workers, provider }, action),
      drain: async () => {
        await drain(project, workers, end);
        for (const worker of workers) await worker.thaw();
        await drain(project, workers, end);
      },
      close: async () => {
        for (const worker of workers) await worker.thaw();
        for (const worker of workers) worker.stop();
        await project.close();
      },
    };
  } catch (error) {
    await project.close();
    throw error;
  }
}

async function openWorker(project: TestProject): Promise<StageWorker> {
  const notes = pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
    answer: z.object({ opening: z.string() }),
    target: { table: "note_openings" },
  });
  const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });
  return stageWorker(await project.worker({ notes }, { log }));
}

/** One sentence, which the demo model gives back as it is. */
function bodyOf(version: number): string {
  return `Version ${version} of note `;
}

interface Parts {
  readonly project: TestProject;
  readonly workers: readonly [StageWorker, StageWorker];
  readonly provider: ReturnType<typeof makeProvider>;
}

async function perform(parts: Parts, action: Action): Promise<void> {
  const { project, workers, provider } = parts;
  switch (action.do) {
    case "work": {
      const batch = await chosenBatch(project, action.batch);
      const mishap = action.mishap ?? undefined;
      return workers[action.worker].run((context) => stages[action.stage](context, batch), mishap);
    }
    case "thaw":
      return workers[action.worker].thaw();
    case "complete":
      return provider.end(project, action.batch);
    case "expire":
      return provider.expire(project, action.batch, action.after);
    case "loseNextCreate":
      return provider.loseNextCreate(action.when);
    case "lagNextList":
      return provider.lagNextList();
    case "leaseRunsOut":
      return leaseRunsOut(project, await chosenBatch(project, action.batch));
    case "timePasses":
      return timePasses(project);
    default:
      return byUser(project, action);
  }
}

const stages: Readonly<Record<Stage, (context: WorkerContext, batch: string | null) => Promise<unknown>>> = {
  intake: (context) => runIntake(context),
  sweep: async (context) => {
    for (const pipeline of context.pipelines.values()) await sweepChunk(context, pipeline);
  },
  plan: (context) => runPlanner(context, true),
  advance: async (context, batch) => {
    if (batch !== null) await advanceBatch(context, batch, signal);
  },
  rescue: (context) => runRescuer(context),
  compare: (context) => compareWithList(context, signal),
  clean: (context) => runJanitor(context, signal),
};

async function chosenBatch(project: TestProject, which: number): Promise<string | null> {
  const rows = await project.rows<{ id: string }>(
    sql`select id from rowmill.batches where settled_at is null order by planned_at, id`,
  );
  return rows[which % Math.max(rows.length, 1)]?.id ?? null;
}

async function leaseRunsOut(project: TestProject, batch: string | null): Promise<void> {
  await project.run(sql`update rowmill.batches set lease_until = now() - interval '1 second'
    where id = ${batch}::uuid and lease_until is not null`);
}

type UserAction = Extract<Action, { do: "put" | "remove" | "rekey" | "truncate" }>;

async function byUser(project: TestProject, action: UserAction): Promise<void> {
  if (action.do === "put")
    await project.run(sql`
      insert into public.notes
      values (${action.key}, ${bodyOf(action.version)} || ${action.key}::int || '.')
      on conflict (id) do update set body = excluded.body`);
  else if (action.do === "remove") await project.run(sql`delete from public.notes where id = ${action.key}`);
  else if (action.do === "rekey")
    await project.run(sql`update public.notes set id = ${action.to} where id = ${action.key}
      and not exists (select 1 from public.notes where id = ${action.to})`);
  else await project.run(sql`truncate public.notes`);
}

/** Holds each batch until the test ends it, and loses a create when the test says. */
function makeProvider() {
  const mayEnd = new Set<string>();
  const seen = new Map<string, BatchObject>();
  let endsAll = false;
  let loses: "beforeEffect" | "afterEffect" | null = null;
  const lose = (when: "beforeEffect" | "afterEffect") => (call: Call) => {
    if (loses !== when || call.method !== "POST" || call.route !== "/v1/batches") return undefined;
    loses = null;
    return { kind: "drop" } as const;
  };
  let lags = false;
  const lag = (call: Call) => {
    if (!lags || !is("findBatches")(call)) return undefined;
    lags = false;
    return emptyList;
  };
  const loseReply = lose("afterEffect");
  const open = async (project: TestProject, which: number): Promise<string | null> => {
    const { batches } = await project.gateway.journal.summary();
    const ids = batches.map(({ batchId }) => batchId).filter((id) => !mayEnd.has(id));
    return ids[which % Math.max(ids.length, 1)] ?? null;
  };
  const ended = async (project: TestProject, id: string): Promise<void> => {
    mayEnd.add(id);
    project.gateway.release();
    await project.gateway.until(id, ({ status }) => isTerminal(status));
  };
  return {
    faults: {
      beforeEffect: lose("beforeEffect"),
      afterEffect: (call: Call) => loseReply(call) ?? lag(call),
      hold: (batch: BatchObject) => {
        seen.set(batch.id, batch);
        return !endsAll && !mayEnd.has(batch.id);
      },
    },
    loseNextCreate: (when: "beforeEffect" | "afterEffect") => {
      loses = when;
    },
    lagNextList: () => {
      lags = true;
    },
    end: async (project: TestProject, which: number) => {
      const id = await open(project, which);
      if (id !== null) await ended(project, id);
    },
    expire: async (project: TestProject, which: number, afterRequests: number) => {
      const id = await open(project, which);
      if (id === null) return;
      const batch = await project.gateway.until(id, () => true);
      if (!isTerminal(batch.status)) project.gateway.expire(id, { afterRequests });
      await ended(project, id);
    },
    endAll: (project: TestProject) => {
      endsAll = true;
      loses = null;
      lags = false;
      project.gateway.release();
    },
  };
}

async function timePasses(project: TestProject): Promise<void> {
  await project.run(
    sql`update rowmill.batches set lease_until = now() - interval '1 second' where lease_until is not null`,
  );
  await project.run(sql`update rowmill.queue set not_before = now()`);
  await project.run(sql`update rowmill.requests set not_before = null where not_before is not null`);
  await project.run(
    sql`
      update rowmill.batches
      set next_at = now(), create_intent_at = create_intent_at - interval '1 hour'
      where settled_at is null`,
  );
}

/** No test waits for a clock: time passes before each round. */
async function drain(project: TestProject, workers: Parts["workers"], endAll: () => void): Promise<void> {
  endAll();
  for (let round = 0; round < DRAIN_ROUNDS_MAX; round++) {
    await timePasses(project);
    let idle = true;
    for (const worker of workers) {
      await worker.run(async (context) => {
        await runRound(context, { flush: true, signal });
        idle = (await idleState(context)).idle;
      });
    }
    if (idle) return;
  }
  throw new Error(`Still busy after ${DRAIN_ROUNDS_MAX} rounds.`);
}
