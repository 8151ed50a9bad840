/**
 * The provider refused an input file. What follows depends on what it is about, as the provider's adapter says: a limit is learned and
 * smaller batches go out; a bad line fails alone; what every line shares, and what waiting cannot fix, pauses the pipeline. A refusal that
 * names no line and no known reason costs no row anything: the rows go out again a few times, then a person is told.
 */
import { asSentence } from "../../model/words/as-sentence.js";
import type { BatchInputError } from "../../model/batch/refusal.js";
import { backoffMs } from "../../model/batch/schedule.js";
import * as attempts from "../../store/requests/attempts.js";
import { type Part } from "../../store/batches/in-flight.js";
import * as money from "../../store/batches/money.js";
import * as batches from "../../store/batches/batches.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { endAll, type EndingFacts } from "./ending.js";
import { requestBounds } from "../rounds/estimate.js";
import { DONE, LOST, type BatchIn, type Next, type Turn } from "./turn.js";

type Refused = Turn<BatchIn<"uploading"> | BatchIn<"submitting"> | BatchIn<"running">>;

/** After a token limit: the queue at the provider has to drain first. */
const TOKEN_PAUSE_MS = 30_000;
const ERRORS_KEPT = 1_000;
/** Files that are refused for the same reason before a person has to look. */
export const REFUSALS_MAX = 3;
/** By how much a file is made smaller whose size is refused without naming a limit: 200 MB come below the usual 1 MB in two steps. */
const SIZE_STEP = 16;

const UNSAID: BatchInputError = {
  code: null,
  line: null,
  message: "The provider gave no reason.",
  param: null,
  about: "other",
  limit: null,
};

export async function refuse(turn: Refused, errors: readonly BatchInputError[]): Promise<Next> {
  // Kept first: after a crash half way through, the same file must not be tried again with some of its requests gone.
  const kept = errors.slice(0, ERRORS_KEPT).map((error) => ({ ...error }));
  const { context, lease } = turn;
  const noted = await context.step("refuse.note", () =>
    batches.update(context.database, lease, { providerErrors: kept }),
  );
  if (!noted) return LOST;
  const [first = UNSAID] = errors;
  const judged = await judge(turn, errors, first);
  turn.context.log.warn(
    { pipeline: turn.batch.pipeline, batch: turn.batch.id, errors: errors.slice(0, 5) },
    "the provider refused the batch",
  );
  const ended = await endAll(turn.context, {
    ...turn,
    facts: judged,
    event: "refused",
    reason: `the provider refused the file: ${first.message}`,
  });
  return ended === "lost" ? LOST : DONE;
}

type Judged = (request: Part["requests"][number]) => EndingFacts;

/** What becomes of each request of the refused batch. */
async function judge(
  turn: Refused,
  errors: readonly BatchInputError[],
  first: BatchInputError,
): Promise<Judged> {
  const noRoom = (detail: string, delayMs = 0): EndingFacts => ({ outcome: "noRoom", detail, delayMs });
  // Other code wrote that file: its mistakes are not this pipeline's, and its size teaches nothing about ours.
  if (turn.batch.adoptedPattern !== null) return () => noRoom(first.message);
  const about = (what: BatchInputError["about"]) => errors.find((error) => error.about === what);
  const tokens = about("tokens");
  if (tokens) {
    const delayMs = await learnTokens(turn, tokens);
    return () => noRoom(tokens.message, delayMs);
  }
  const size = about("size");
  if (size) await learnBytes(turn, size);
  const definition = about("definition");
  if (definition) {
    const why = `The provider refuses every request of this pipeline: ${asSentence(definition.message)} Fix pipelines.${turn.pipeline.config.name}.request`;
    await pause(turn, "provider", why);
  }
  const account = about("account");
  if (account) await pause(turn, "account", `${asSentence(account.message)} Make room in the account`);
  const shared = size ?? definition ?? account;
  if (shared) return () => noRoom(shared.message);
  return byLine(turn, errors) ?? unexplained(turn, first);
}

/** Null: no line is named. With a culprit named, the others lose nothing by it and go out again at once. */
function byLine({ batch }: Refused, errors: readonly BatchInputError[]): Judged | null {
  // Of its file only the lines are known whose rows still wait.
  if (batch.recovered) return null;
  // A line that the file does not have names nobody.
  const inFile = (line: number | null): line is number => line !== null && line >= 1 && line <= batch.lines;
  const lines = new Map(
    errors.flatMap((error) => (inFile(error.line) ? [[error.line, error] as const] : [])),
  );
  if (lines.size === 0) return null;
  return ({ line, contentHash }) => {
    const error = lines.get(line);
    return error
      ? {
          outcome: "permanent",
          detail: `${error.code ?? "refused"}: ${error.message}`,
          hash: contentHash,
        }
      : { outcome: "noRoom", detail: "The provider refused the file because of another line." };
  };
}

/** The rows wait equally long, or they would come back one by one, each of them a batch and an upload of its own. */
async function unexplained(turn: Refused, { message }: BatchInputError): Promise<Judged> {
  const { context, pipeline, batch } = turn;
  const before = await attempts.unexplainedRefusals(context.read, batch, REFUSALS_MAX - 1);
  if (before + 1 >= REFUSALS_MAX)
    await pause(
      turn,
      "provider",
      `The provider refused ${before + 1} files and named no line: ${asSentence(message)} Fix what it says`,
    );
  const delayMs = backoffMs(before, pipeline.config.polling.minMs, context.random());
  return () => ({ outcome: "batchRefused", detail: message, delayMs });
}

/**
 * The limit that the message names, when this batch and those in flight were over it; else somebody outside our sight uses the
 * room, and half of this batch is tried: the same size is never sent again. Returns the pause before it goes out.
 */
async function learnTokens(
  { context, pipeline, batch }: Refused,
  { limit: named, message }: BatchInputError,
): Promise<number> {
  const bounds = await requestBounds(context, pipeline, batch.rates);
  const inFlight = await money.reservedTokens(context.read, batch.account, batch.model);
  const half = Math.floor(batch.reservedTokens / 2);
  const learned = named !== null && named < inFlight ? named : half;
  const enqueuedTokens = Math.ceil(Math.max(1, learned, Math.min(bounds.tokensEach, named ?? Infinity)));
  await learn(context, batch, { enqueuedTokens, message });
  return inFlight > batch.reservedTokens || learned !== named
    ? Math.min(TOKEN_PAUSE_MS, pipeline.config.polling.maxMs)
    : 0;
}

/** The limit that the message names, or a guess; where no guess helps, a person is told. */
async function learnBytes(turn: Refused, { limit, message }: BatchInputError): Promise<void> {
  const { context, batch } = turn;
  if (limit !== null && limit < batch.spoolBytes)
    return learn(context, batch, { inputBytes: limit, message });
  const known = await money.learnedLimits(context.read, batch.account, batch.model);
  // Rendered before the last refusal: this one says nothing new.
  if (known.inputBytes !== null && batch.spoolBytes > known.inputBytes && batch.lines > 1) return;
  const guess = { count: known.sizeGuesses + 1, refusedBytes: batch.spoolBytes };
  if (batch.lines > 1 && guess.count < REFUSALS_MAX) {
    const inputBytes = Math.max(1, Math.floor(batch.spoolBytes / SIZE_STEP));
    return learn(context, batch, { inputBytes, guess, message });
  }
  await context.step("refuse.learn", () => money.forgetGuess(context.database, batch));
  const tried = `a file of ${batch.spoolBytes} bytes with ${batch.lines === 1 ? "one request" : `${batch.lines} requests`}`;
  await pause(turn, "provider", `The provider refuses even ${tried}: ${asSentence(message)} Raise its limit`);
}

function learn(
  context: Refused["context"],
  { account, model }: Refused["batch"],
  limit: Parameters<typeof money.learnLimit>[2],
): Promise<void> {
  return context.step("refuse.learn", () => money.learnLimit(context.database, { account, model }, limit));
}

/** `why` ends without a full stop where it ends with what to do. */
async function pause(
  { context, pipeline }: Refused,
  kind: "provider" | "account",
  why: string,
): Promise<void> {
  const end = /[.!?]$/.test(why) ? " Then:" : ", then:";
  const reason = `${why}${end} rowmill resume ${pipeline.config.name}`;
  await context.step("turn.pause", () => pipelines.pause(context.database, pipeline.id, { kind, reason }));
}
