/** How an attempt ends, by what was decided about it, and how a batch ends with all its requests. */
import type { Json } from "../../model/pipeline.js";
import type { TokenUsage } from "../../model/provider/outcome.js";
import { sharedFrom } from "../../model/request/custom-id.js";
import { costNanoUsd } from "../../model/provider/pricing.js";
import { storableText } from "../../model/words/storable-text.js";
import { whatNext, type AttemptOutcome } from "../../model/words/what-next.js";
import * as batches from "../../store/batches/batches.js";
import type { Batch, BatchFields, Lease } from "../../store/batches/batches.js";
import type { BatchEvent } from "../../model/batch/batch-transitions.js";
import type { Queryable } from "../../postgres/database.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as requests from "../../store/requests/requests.js";
import * as attempts from "../../store/requests/attempts.js";
import type { AttemptEnding } from "../../store/requests/attempts.js";
import * as inFlight from "../../store/batches/in-flight.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { DONE, LOST, type BatchIn, type Next, type Turn } from "./turn.js";

const DETAIL_CHARACTERS_MAX = 2_000;
const TOKENS_MAX = 2_147_483_647;
/** The output limit of a request whose answer was cut off, with each attempt, up to `request.maxOutputTokens`. */
const ROOM_GROWTH = 2;

export interface EndingFacts {
  readonly outcome: AttemptOutcome;
  readonly detail?: string | null;
  /** Text that was paid for and cannot be used. */
  readonly answer?: string | null;
  readonly model?: string | null;
  readonly usage?: TokenUsage;
  /** The demo model answered. */
  readonly demo?: boolean;
  /** The row was gone, and its answer is kept. */
  readonly rowGone?: boolean;
  /** The row's content now; null: gone. Undefined: not looked at. */
  readonly hash?: string | null;
  readonly fingerprint?: string | null;
  /** Drawn once for requests that should wait equally long and be sent together again. */
  readonly chance?: number;
  /** Of the definition that asked, where it is known; otherwise of the present one. */
  readonly triesMax?: number;
  /** Overrides the wait before the next attempt. */
  readonly delayMs?: number;
}

const NO_USAGE = { input: 0, cached: 0, output: 0, cost: 0 };

/** What `endingOf` needs of a turn: no database. */
export interface Deciding {
  readonly context: Pick<WorkerContext, "random">;
  readonly pipeline: Pick<Pipeline, "config">;
  readonly batch: Pick<Batch, "rates" | "cancel">;
}

export function endingOf(
  { context, pipeline, batch }: Deciding,
  request: Pick<inFlight.InFlight, "requestId" | "attempt" | "tries" | "returns" | "room"> &
    Partial<Pick<inFlight.InFlight, "isSharing" | "customId" | "isForgotten">>,
  facts: EndingFacts,
): AttemptEnding {
  const { config } = pipeline;
  const policy = {
    triesMax: facts.triesMax ?? config.attempts,
    baseDelayMs: config.polling.minMs,
    // Null: unknown, of a request by other code or by an older version.
    moreRoom: request.room === null || request.room < config.request.maxOutputTokens,
  };
  const from = sharedFrom(request);
  const used = facts.usage === undefined ? NO_USAGE : countedUsage(batch, facts.usage);
  // It is no fault of the provider that it did what you asked.
  const outcome = facts.outcome === "cancelled" && batch.cancel !== null ? "withdrawn" : facts.outcome;
  const next = whatNext(outcome, request, policy, facts.chance ?? context.random());
  const isForgotten = request.isForgotten === true;
  return {
    id: request.requestId,
    attempt: request.attempt,
    ending: next.ending,
    outcome,
    detail: isForgotten ? null : storable(facts.detail?.slice(0, DETAIL_CHARACTERS_MAX)),
    answer: isForgotten ? null : storable(facts.answer),
    model: storable(facts.model),
    // The attempt that has the line bears its tokens and its cost.
    ...(from === null ? used : NO_USAGE),
    sharedFrom: from,
    // What did not fit is asked alone, and paid then.
    sharingSaved: from === null || outcome === "unshared" ? 0 : (used.cost ?? 0),
    room: request.room,
    nextRoom: nextRoom(outcome, request.room, config.request.maxOutputTokens),
    demo: facts.demo ?? false,
    rowGone: facts.rowGone ?? false,
    to: isForgotten ? "gone" : nextState(outcome, next.ending, batch.cancel?.drops === true),
    hash: isForgotten ? null : (facts.hash ?? null),
    fingerprint: isForgotten ? null : (facts.fingerprint ?? null),
    tries: next.tries,
    returns: next.returns,
    delayMs: facts.delayMs ?? next.delayMs,
  };
}

/** What was cut off gets twice the room; at the user's own limit it keeps that, in case someone sends it again. */
function nextRoom(outcome: AttemptOutcome, room: number | null, roomMax: number): number | null {
  const isCut = outcome === "cutShort" || outcome === "truncated";
  return isCut && room !== null ? Math.min(room * ROOM_GROWTH, roomMax) : null;
}

/** A model may write what PostgreSQL cannot store; the attempt must be recorded all the same. */
export function storable(text: string | null | undefined): string | null {
  return text === null || text === undefined ? null : storableText(text);
}

/** Tokens as an attempt records them, and their cost by the batch's own price. */
export function countedUsage(
  { rates }: Pick<Batch, "rates">,
  usage: TokenUsage,
): Pick<AttemptEnding, "input" | "cached" | "output" | "cost"> {
  const input = countable(usage.inputTokens);
  const cached = countable(usage.cachedInputTokens);
  const output = countable(usage.outputTokens);
  const bounded = { inputTokens: input, cachedInputTokens: Math.min(cached, input), outputTokens: output };
  return { input, cached, output, cost: costNanoUsd(bounded, rates, "batch") };
}

/** A provider may report anything: cut to what an integer column holds. */
function countable(tokens: number): number {
  return Math.min(TOKENS_MAX, Math.max(0, Math.trunc(tokens) || 0));
}

function nextState(outcome: AttemptOutcome, ending: AttemptEnding["ending"], drops: boolean): AttemptEnding["to"] {
  if (outcome === "gone") return "gone";
  if (outcome === "alreadyAnswered") return "succeeded";
  if (ending !== "returned") return ending;
  // You dropped the content that was asked, and not the one that the row has since.
  return drops && outcome !== "stale" ? "cancelled" : "waiting";
}

export interface EndAll {
  readonly pipeline: Pipeline;
  readonly batch: Batch;
  readonly lease: Lease;
  readonly facts: (request: inFlight.Part["requests"][number]) => EndingFacts;
  readonly event: BatchEvent;
  readonly reason: string;
  readonly fields?: BatchFields;
  readonly detail?: Json;
  /** In the transaction that ends the batch, before anything is locked. */
  readonly first?: (tx: Queryable) => Promise<void>;
}

/** Ends every request in flight without a kept answer, part by part; then the batch itself, unless answers are kept. */
export async function endAll(context: WorkerContext, end: EndAll): Promise<"ended" | "kept" | "lost"> {
  let more = (await inFlight.countUnanswered(context.read, end.batch.no)) > 0;
  for (let part = 0; more; part++) {
    const ended = await context.step("end.chunk", () =>
      context.database.transaction((tx) => endPart(context, tx, { end, part })),
    );
    if (ended === "lost") return "lost";
    more = ended === "more";
  }
  const { batch, lease, event, reason, fields = {} } = end;
  const detail = end.detail === undefined ? {} : { detail: end.detail };
  return context.step("end.chunk", () =>
    context.database.transaction(async (tx) => {
      await end.first?.(tx);
      if (!(await batches.holds(tx, lease))) return "lost";
      if ((await inFlight.countOpen(tx, batch.no)).inFlight > 0) return "kept";
      return (await batches.move(tx, lease, { batch, event, reason, fields, ...detail })) ? "ended" : "lost";
    }),
  );
}

async function endPart(
  context: WorkerContext,
  tx: Queryable,
  { end, part }: { end: EndAll; part: number },
): Promise<"more" | "last" | "lost"> {
  const { pipeline, batch, lease } = end;
  // Compared with the ledger's definition, not this worker's: a superseded worker still handles refused files.
  const isChanged = (await pipelines.keepDefinition(tx, pipeline.id)) !== batch.definitionHash;
  if (!(await batches.holds(tx, lease))) return "lost";
  const unanswered = await inFlight.lockUnanswered(tx, batch.no, part);
  const endings = unanswered.requests.map((request) =>
    endingOf({ context, pipeline, batch }, request, end.facts(request)),
  );
  await attempts.endMany(tx, batch, endings);
  // A row fails for good only under the definition that asked; the next one's sweep left out what was in flight.
  const failed = endings.filter(({ ending }) => isChanged && ending === "failed").map(({ id }) => id);
  await requests.reopenMany(tx, pipeline.id, failed);
  return unanswered.isLast ? "last" : "more";
}

/** Ends a batch that is not sent and will not be: its requests wait again, or are dropped; nothing was spent. */
export async function withdraw(
  turn: Turn<BatchIn<"planned"> | BatchIn<"uploading"> | BatchIn<"submitting">>,
  reason: string,
  how: { delayMs?: number; outcome?: "withdrawn" } = {},
): Promise<Next> {
  const facts = () => ({ outcome: "noRoom" as const, detail: reason, ...how });
  const event = turn.batch.state === "planned" ? "nothingToSend" : "refused";
  const ended = await endAll(turn.context, { ...turn, facts, event, reason });
  return ended === "lost" ? LOST : DONE;
}

/** Takes out what an interrupted rendering put into the batch: it was not sent. False: the lease is lost. */
export async function undoRendering({ context, batch, lease }: Turn<BatchIn<"planned">>): Promise<boolean> {
  for (;;) {
    const undone = await context.step("render.undo", () =>
      context.database.transaction(async (tx) =>
        (await batches.holds(tx, lease)) ? inFlight.undoPart(tx, batch) : "lost",
      ),
    );
    if (undone === "lost") return false;
    if (!undone) return true;
  }
}
