/**
 * Whatever happens to rows with equal questions, and to the workers, while they are asked: at the end each row has the
 * answer to its own content, every line is paid once, and the ledger's accounts say so.
 */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { StepName } from "../../src/worker/step-names.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases, type DatabaseKind } from "../support/databases.js";
import { createEqualNotes, equalNotesPipeline, type EqualNote } from "../support/equal-notes.js";
import { goodAnswer, type PlainAnswer, type PlainUsage } from "../support/plain-answers.js";
import { startPlainProject, type PlainProject } from "../support/plain-project.js";
import { sql } from "../support/project.js";

const RUNS = Number(process.env["ROWMILL_TEST_RUNS"] ?? 8);
const RUN_MS_MAX = 30_000;
const WORKERS = 3;
const ROWS_MAX = 14;

/** Where a worker dies: at which of its steps, and whether that takes effect. Null: it does not die. */
type Death = { readonly steps: number; readonly takesEffect: boolean } | null;

type Action =
  | { readonly kind: "change"; readonly row: number; readonly note: EqualNote }
  | { readonly kind: "vanish"; readonly row: number }
  | { readonly kind: "comeBack"; readonly row: number; readonly note: EqualNote }
  /** What is at the provider until now. */
  | { readonly kind: "answer" }
  | { readonly kind: "rounds"; readonly deaths: readonly Death[] };

const body = fc.constantFrom("a", "b", "c");
/** `lucky`: only every second answer to a text has it. `never`: none has. */
const note: fc.Arbitrary<EqualNote> = fc
  .tuple(
    body,
    fc.oneof(
      { weight: 6, arbitrary: fc.constant(undefined) },
      { weight: 2, arbitrary: fc.constant("lucky") },
      {
        weight: 1,
        arbitrary: fc.constant("never"),
      },
    ),
  )
  .map(([text, tag]) => (tag === undefined ? ([text] as const) : ([text, tag] as const)));
const row = fc.integer({ min: 1, max: ROWS_MAX / 2 });
const death: fc.Arbitrary<Death> = fc.option(
  fc.record({ steps: fc.integer({ min: 0, max: 25 }), takesEffect: fc.boolean() }),
);
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant("change" as const), row, note }),
  fc.record({ kind: fc.constant("vanish" as const), row }),
  fc.record({ kind: fc.constant("comeBack" as const), row, note }),
  fc.record({ kind: fc.constant("answer" as const) }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("rounds" as const),
      deaths: fc.array(death, { minLength: WORKERS, maxLength: WORKERS }),
    }),
  },
);
const story = fc.record({
  notes: fc.array(note, { minLength: 4, maxLength: ROWS_MAX }),
  maxRequests: fc.constantFrom(3, 100),
  validates: fc.boolean(),
  actions: fc.array(action, { minLength: 4, maxLength: 14 }),
});
type Story = typeof story extends fc.Arbitrary<infer T> ? T : never;

describeDatabases(
  "Rows with equal questions that change while workers die",
  (kind) => {
    it(
      "each end with the answer to their own content, and each line is paid once",
      { timeout: RUNS * RUN_MS_MAX },
      async () => {
        await fc.assert(
          fc.asyncProperty(story, (told) => live(kind, told)),
          { numRuns: RUNS },
        );
      },
    );
  },
  bookKeepers,
);

interface World {
  readonly at: PlainProject;
  readonly workers: readonly WorkerContext[];
  /** What the provider charged for. */
  readonly paid: PlainUsage[];
  held: boolean;
}

async function live(kind: DatabaseKind, { notes, maxRequests, validates, actions }: Story): Promise<void> {
  const paid: PlainUsage[] = [];
  const world: { held: boolean } = { held: true };
  const at = await startPlainProject(kind, { answer: answering(paid), hold: () => world.held });
  try {
    await createEqualNotes(at.project, notes);
    const workers: WorkerContext[] = [];
    for (let each = 0; each < WORKERS; each++)
      workers.push(
        await at.worker({
          pipelines: (provider) => ({ notes: equalNotesPipeline({ provider, maxRequests, validates, attempts: 2 }) }),
        }),
      );
    const whole: World = Object.assign(world, { at, workers, paid });
    for (const one of actions) await act(whole, one);
    await end(whole);
    await judge(whole, validates);
  } finally {
    await at.close();
  }
}

/** The same text is answered in two ways, in turn. */
function answering(paid: PlainUsage[]): PlainAnswer {
  let answers = 0;
  return (ask) => {
    const luck = answers++ % 2 === 0 ? "plain" : "lucky";
    const answer = goodAnswer(ask, JSON.stringify({ summary: `${luck} answer to ${ask.prompt}` }));
    if (answer.type === "good") paid.push(answer.usage);
    return answer;
  };
}

async function act(world: World, one: Action): Promise<void> {
  const { project, standIn } = world.at;
  switch (one.kind) {
    case "change":
      await project.run(sql`
        update public.notes set body = ${one.note[0]}, tag = ${one.note[1] ?? null} where id = ${one.row}`);
      return;
    case "vanish":
      await project.run(sql`delete from public.notes where id = ${one.row}`);
      return;
    case "comeBack":
      await project.run(sql`
        insert into public.notes (id, body, tag)
        overriding system value
        values (${one.row}, ${one.note[0]}, ${one.note[1] ?? null})
        on conflict do nothing`);
      return;
    case "answer":
      world.held = false;
      standIn.batches.release();
      world.held = true;
      return;
    case "rounds":
      await Promise.allSettled(
        world.workers.map((worker, place) => project.round(mortal(worker, one.deaths[place] ?? null))),
      );
      await bury(world);
      // Also between what the dead left behind and what others make of it.
      await project.check();
  }
}

/**
 * Not while a create is on its way: this provider's are told by circumstance, and a lost one may ask you. The crash
 * suite kills there.
 */
function mortal(context: WorkerContext, death: Death): WorkerContext {
  if (death === null) return context;
  let left = death.steps;
  let isDead = false;
  const isOfCreate = (name: StepName) => name.startsWith("submit.") || name.startsWith("reconcile.");
  return {
    ...context,
    step: async (name, work) => {
      if (isOfCreate(name)) return context.step(name, work);
      const dies = !isDead && left-- === 0;
      if (dies && death.takesEffect) await context.step(name, work);
      isDead ||= dies;
      if (isDead) throw new Error(`The worker died at ${name}.`);
      return context.step(name, work);
    },
  };
}

/** The leases of the dead are over, and what they waited for is due. */
async function bury({ at: { project } }: World): Promise<void> {
  await project.run(sql`
    update rowmill.batches
    set next_at = now(), failures = 0, trouble = null, trouble_since = null, lease_token = null, lease_until = null
    where settled_at is null`);
}

async function end(world: World): Promise<void> {
  world.held = false;
  world.at.standIn.batches.release();
  await bury(world);
  await world.at.project.drain(...world.workers);
}

async function judge({ at, paid }: World, validates: boolean): Promise<void> {
  const { project, standIn } = at;
  await project.check();
  const open = await project.rows(sql`select key, state from rowmill.requests where state in ('waiting', 'batched')`);
  expect(open).toEqual([]);
  const rows = await project.rows<{
    id: number;
    body: string;
    tag: string | null;
    state: string | null;
    summary: string | null;
  }>(sql`
    select n.id, n.body, n.tag, r.state, s.summary
    from public.notes n
    left join rowmill.requests r on r.key = n.id::text
    left join public.note_summaries s on s.id = n.id`);
  for (const { id, body, tag, state, summary } of rows) {
    const told = `row ${id} (${body}, ${tag}): ${state}, ${summary}`;
    // Only what its own `validate` refuses may fail.
    if (validates && tag !== null && state === "failed") continue;
    expect(state, told).toBe("succeeded");
    expect(summary, told).toContain(`answer to ${body}`);
    if (validates && tag !== null) expect(summary, told).toContain(tag);
  }
  const [sum] = await project.rows<{ lines: number; own: number; input: number; output: number }>(sql`
    select (select coalesce(sum(lines), 0)::int from rowmill.batches where submitted_at is not null) as lines,
      (select count(*)::int
        from rowmill.attempts
        where shared_from is null and input_tokens > 0) as own,
      (select coalesce(sum(input_tokens), 0)::int from rowmill.attempts) as input,
      (select coalesce(sum(output_tokens), 0)::int from rowmill.attempts) as output`);
  const executed = standIn.executions.length;
  expect(sum).toEqual({
    lines: executed,
    own: executed,
    input: paid.reduce((total, { read }) => total + read, 0),
    output: paid.reduce((total, { written }) => total + written, 0),
  });
}
