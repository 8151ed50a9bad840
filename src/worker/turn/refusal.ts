/**
 * The provider refused an input file. `judgeRefusal` says what it is about: a limit is learned and smaller batches
 * follow; a bad line fails alone; what every line shares pauses the pipeline, and so does a refusal without a line or a
 * known reason that comes again and again. The errors are kept first: a crash half-way continues from them.
 */
import { asSentence } from "../../model/words/as-sentence.js";
import {
  judgeRefusal,
  REFUSALS_MAX,
  sizeLesson,
  tokenLimit,
  type BatchInputError,
  type RefusalVerdict,
} from "../../model/batch/refusal.js";
import { backoffMs } from "../../model/batch/schedule.js";
import * as attempts from "../../store/requests/attempts.js";
import type { Part } from "../../store/batches/in-flight.js";
import * as money from "../../store/batches/money.js";
import * as batches from "../../store/batches/batches.js";
import { endAll, type EndingFacts } from "./ending.js";
import { pause } from "../guard.js";
import { requestBounds } from "../rounds/estimate.js";
import { DONE, LOST, type BatchIn, type Next, type Turn } from "./turn.js";

type Refused = Turn<BatchIn<"uploading"> | BatchIn<"submitting"> | BatchIn<"running">>;

/** After a token limit: the provider's queue has to drain first. */
const TOKEN_PAUSE_MS = 30_000;
const ERRORS_KEPT = 1_000;

const UNSAID: BatchInputError = {
  code: null,
  line: null,
  message: "The provider gave no reason.",
  param: null,
  about: "other",
  limit: null,
};

export async function refuse(turn: Refused, errors: readonly BatchInputError[]): Promise<Next> {
  const { context, batch, lease } = turn;
  // Otherwise the same file could be tried again after a crash, with some of its requests gone.
  const kept = errors.slice(0, ERRORS_KEPT).map((error) => ({ ...error }));
  const noted = await context.step("refuse.note", () =>
    batches.update(context.database, lease, { providerErrors: kept }),
  );
  if (!noted) return LOST;
  const [first = UNSAID] = errors;
  const verdict = judgeRefusal(errors, {
    lines: batch.lines,
    isOthers: batch.adoptedPattern !== null,
    isRecovered: batch.recovered,
  });
  const facts = await actOn(turn, verdict, first);
  context.log.warn(
    { pipeline: batch.pipeline, batch: batch.id, errors: errors.slice(0, 5) },
    "the provider refused the batch",
  );
  const reason = `the provider refused the file: ${first.message}`;
  const ended = await endAll(context, { ...turn, facts, event: "refused", reason });
  return ended === "lost" ? LOST : DONE;
}

type FactsOf = (request: Part["requests"][number]) => EndingFacts;

/** Learns and pauses as the verdict says. Returns how each request of the batch ends. */
async function actOn(turn: Refused, verdict: RefusalVerdict, first: BatchInputError): Promise<FactsOf> {
  const noRoom = (detail: string, delayMs = 0): FactsOf => {
    return () => ({ outcome: "noRoom", detail, delayMs });
  };
  switch (verdict.kind) {
    case "othersFile":
      return noRoom(first.message);
    case "tokens":
      return noRoom(verdict.tokens.message, await learnTokens(turn, verdict.tokens));
    case "shared": {
      const { size, definition, account } = verdict;
      if (size !== null) await learnBytes(turn, size);
      if (definition !== null) await pauseForDefinition(turn, definition);
      if (account !== null)
        await pauseUntilFixed(turn, "account", `${asSentence(account.message)} Make room in the account`);
      return noRoom((size ?? definition ?? account ?? first).message);
    }
    case "lines":
      return ({ line, contentHash }) => lineFacts(line === null ? undefined : verdict.lines.get(line), contentHash);
    case "unexplained":
      return unexplained(turn, first);
  }
}

function lineFacts(error: BatchInputError | undefined, hash: string | null): EndingFacts {
  return error === undefined
    ? { outcome: "noRoom", detail: "The provider refused the file because of another line." }
    : { outcome: "permanent", detail: refusalText(error), hash };
}

/** With the field that the provider names, where its words do not. */
export function refusalText({ code, message, param }: BatchInputError): string {
  const field = param === null || message.includes(param) ? "" : ` (field: ${param})`;
  return `${code ?? "refused"}: ${message}${field}`;
}

/** All rows wait equally long, or they would come back one by one, each with a batch and an upload of its own. */
async function unexplained(turn: Refused, { message }: BatchInputError): Promise<FactsOf> {
  const { context, pipeline, batch } = turn;
  const before = await attempts.unexplainedRefusals(context.read, batch, REFUSALS_MAX - 1);
  if (before + 1 >= REFUSALS_MAX) {
    const why = `The provider refused ${before + 1} files and named no line: ${asSentence(message)} Fix what it says`;
    await pauseUntilFixed(turn, "provider", why);
  }
  const delayMs = backoffMs(before, pipeline.config.polling.minMs, context.random());
  return () => ({ outcome: "batchRefused", detail: message, delayMs });
}

/** Returns the wait before the requests are sent again. */
async function learnTokens(turn: Refused, { limit: named, message }: BatchInputError): Promise<number> {
  const { context, pipeline, batch } = turn;
  const bounds = await requestBounds(context, pipeline, batch.rates);
  const { enqueuedTokens, waits } = tokenLimit({
    named,
    inFlight: await money.reservedTokens(context.read, batch.account, batch.model),
    ofBatch: batch.reservedTokens,
    ofRequest: bounds.tokensEach,
  });
  await learn(turn, { enqueuedTokens, message });
  return waits ? Math.min(TOKEN_PAUSE_MS, pipeline.config.polling.maxMs) : 0;
}

async function learnBytes(turn: Refused, { limit: named, message }: BatchInputError): Promise<void> {
  const { context, batch } = turn;
  const { spoolBytes: bytes, lines } = batch;
  const known = await money.learnedLimits(context.read, batch.account, batch.model);
  const lesson = sizeLesson({ named, bytes, lines, known });
  switch (lesson.kind) {
    case "known":
      return;
    case "limit":
      return learn(turn, { inputBytes: lesson.inputBytes, message });
    case "guess": {
      const guess = { count: lesson.count, refusedBytes: bytes };
      return learn(turn, { inputBytes: lesson.inputBytes, guess, message });
    }
    case "hopeless": {
      await context.step("refuse.learn", () => money.forgetGuess(context.database, batch));
      const tried = `a file of ${bytes} bytes with ${lines === 1 ? "one request" : `${lines} requests`}`;
      const why = `The provider refuses even ${tried}: ${asSentence(message)} Raise its limit`;
      return pauseUntilFixed(turn, "provider", why);
    }
  }
}

function learn({ context, batch }: Refused, limit: Parameters<typeof money.learnLimit>[2]): Promise<void> {
  const { account, model } = batch;
  return context.step("refuse.learn", () => money.learnLimit(context.database, { account, model }, limit));
}

function pauseForDefinition(turn: Refused, { message }: BatchInputError): Promise<void> {
  const { name } = turn.pipeline.config;
  const refused = `The provider refuses every request: ${asSentence(message)}`;
  return pauseUntilFixed(turn, "provider", `${refused} Fix pipelines.${name}.request`);
}

/** `why` may end without a full stop, with what to do. */
async function pauseUntilFixed(turn: Refused, kind: "provider" | "account", why: string): Promise<void> {
  const end = /[.!?]$/.test(why) ? " Then:" : ", then:";
  await pause(turn, { kind, reason: `${why}${end} rowmill resume ${turn.pipeline.config.name}` });
}
