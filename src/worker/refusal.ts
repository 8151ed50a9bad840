/**
 * The provider refused an input file. What follows depends on why: a limit is learned and smaller batches go out; a bad line
 * fails alone; a mistake that every line shares pauses the pipeline; anything else goes out again, a bounded number of times.
 */
import { RETURNS_MAX } from "../model/what-next.js";
import type { BatchInputError } from "../providers/provider.js";
import type { InFlight } from "../store/in-flight.js";
import { learnLimit, reservedTokens } from "../store/money.js";
import * as batches from "../store/batches.js";
import * as pipelines from "../store/pipelines.js";
import { endAll, type EndingFacts } from "./ending.js";
import { requestBounds } from "./estimate.js";
import { done, lost, type BatchIn, type Next, type Turn } from "./turn.js";

type Refused = Turn<BatchIn<"uploading"> | BatchIn<"submitting"> | BatchIn<"running">>;

/** Codes that say something about the definition, not about one row. */
const definitionCodes = new Set([
  "model_not_found",
  "invalid_url",
  "url_mismatch",
  "mismatched_model",
  "model_mismatch",
  "streaming_unsupported",
]);
/** After a token limit: the queue at the provider has to drain first. */
const TOKEN_PAUSE_MS = 30_000;
const ERRORS_KEPT = 1_000;

export async function refuse(turn: Refused, errors: readonly BatchInputError[]): Promise<Next> {
  // Kept first: after a crash half way through, the same file must not be tried again with some of its requests gone.
  const kept = errors.slice(0, ERRORS_KEPT).map((error) => ({ ...error }));
  const { context, lease } = turn;
  const noted = await context.step("refuse.note", () =>
    batches.update(context.database, lease, { provider_errors: kept }),
  );
  if (!noted) return lost;
  const judged = await judge(turn, errors);
  const first = errors[0]?.message ?? "no reason was given";
  turn.context.log.warn(
    { pipeline: turn.batch.pipeline, batch: turn.batch.id, errors: errors.slice(0, 5) },
    "the provider refused the batch",
  );
  const ended = await endAll(turn.context, {
    ...turn,
    facts: judged,
    event: "refused",
    reason: `the provider refused the file: ${first}`,
  });
  return ended === "lost" ? lost : done;
}

/** What becomes of each request of the refused batch. */
async function judge(
  turn: Refused,
  errors: readonly BatchInputError[],
): Promise<(request: InFlight) => EndingFacts> {
  // Other code wrote that file: its mistakes are not this pipeline's, and its size teaches nothing about ours.
  if (turn.batch.adoptedPattern !== null)
    return () => ({
      outcome: "noRoom",
      detail: errors[0]?.message ?? "The provider refused the adopted batch.",
    });
  const tokenError = errors.find((error) => error.code === "token_limit_exceeded");
  if (tokenError) {
    const delayMs = await learnTokens(turn, tokenError);
    return () => ({ outcome: "noRoom", detail: tokenError.message, delayMs });
  }
  const bytes = errors.map(fileLimit).find((limit) => limit !== null);
  if (bytes !== undefined && bytes !== null) {
    await learnBytes(turn, bytes, errors[0]?.message ?? "");
    return () => ({ outcome: "noRoom", detail: errors[0]?.message ?? null });
  }
  const shared = errors.find((error) => error.code !== null && definitionCodes.has(error.code));
  if (shared) {
    await pausePipeline(turn, shared);
    return () => ({ outcome: "noRoom", detail: shared.message });
  }
  // A line that the file does not have names nobody.
  const inFile = (line: number | null): line is number =>
    line !== null && line >= 1 && line <= turn.batch.lines;
  const byLine = new Map(
    errors.flatMap((error) => (inFile(error.line) ? [[error.line, error] as const] : [])),
  );
  const guilty = (request: InFlight) => (request.line === null ? undefined : byLine.get(request.line));
  // With a culprit named, the others lose nothing by it and go out again at once.
  const innocent: EndingFacts =
    byLine.size > 0
      ? { outcome: "noRoom", detail: "The provider refused the file because of another line." }
      : {
          outcome: "batchRefused",
          // Else they come back one by one, and each of them is a batch and an upload of its own.
          chance: turn.context.random(),
          detail:
            errors[0]?.message ?? `The provider refused the file; after ${RETURNS_MAX} times the row fails.`,
        };
  return (request) => {
    const error = guilty(request);
    return error
      ? {
          outcome: "permanent",
          detail: `${error.code ?? "refused"}: ${error.message}`,
          hash: request.contentHash,
        }
      : innocent;
  };
}

/**
 * The limit that the message names, when this batch and those in flight were over it; else somebody outside our sight uses the
 * room, and half of this batch is tried: the same size is never sent again. Returns the pause before it goes out.
 */
async function learnTokens({ context, pipeline, batch }: Refused, error: BatchInputError): Promise<number> {
  const named = pipeline.provider.enqueuedTokenLimit(error);
  const bounds = await requestBounds(context, pipeline, batch.rates);
  const inFlight = await reservedTokens(context.read, batch.account, batch.model);
  const half = Math.floor(batch.reservedTokens / 2);
  const learned = named !== null && named < inFlight ? named : half;
  const enqueuedTokens = Math.ceil(Math.max(1, learned, Math.min(bounds.tokensEach, named ?? Infinity)));
  await learn(context, batch, { enqueuedTokens, message: error.message });
  return inFlight > batch.reservedTokens || learned !== named
    ? Math.min(TOKEN_PAUSE_MS, pipeline.config.polling.maxMs)
    : 0;
}

/** "larger than the 209715200 maximum for the … model"; null too for a maximum that no file could keep. */
function fileLimit(error: BatchInputError): number | null {
  const match = /larger than the (\d[\d,]*) maximum/i.exec(error.message);
  const bytesMax = match?.[1] ? Number(match[1].replaceAll(",", "")) : 0;
  return bytesMax > 0 ? bytesMax : null;
}

async function learnBytes({ context, batch }: Refused, named: number, message: string): Promise<void> {
  const inputBytes = named < batch.spoolBytes ? named : Math.floor(batch.spoolBytes / 2);
  await learn(context, batch, { inputBytes, message });
}

function learn(
  context: Refused["context"],
  { account, model }: Refused["batch"],
  limit: Parameters<typeof learnLimit>[2],
): Promise<void> {
  return context.step("refuse.learn", () => learnLimit(context.database, { account, model }, limit));
}

async function pausePipeline({ context, pipeline }: Refused, error: BatchInputError): Promise<void> {
  const reason = `The provider refuses every request of this pipeline: ${error.message} Mend pipelines.${pipeline.config.name}.request, then: rowmill resume ${pipeline.config.name}`;
  await context.step("turn.pause", () =>
    pipelines.pause(context.database, pipeline.id, { kind: "provider", reason }),
  );
}
