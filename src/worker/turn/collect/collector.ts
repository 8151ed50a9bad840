/**
 * collecting → settled: reads the results as one stream and ends every request of the batch, chunk by chunk
 * (`end-answers.ts`). After a crash they are read again from the start; lines whose requests have left the batch change
 * nothing. Answers whose target rows another transaction holds are kept in the ledger. Once only those are open, the
 * batch records `resultsRead`: later turns write what is kept, and do not read the results again.
 */
import * as outputSizes from "../../../store/batches/output-sizes.js";
import * as batches from "../../../store/batches/batches.js";
import * as changes from "../../../store/pipelines/changes.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import * as sweeps from "../../../store/requests/sweeps.js";
import { matchesContent, parseCustomId } from "../../../model/request/custom-id.js";
import type { AnswerOutcome } from "../../../model/provider/outcome.js";
import { ProviderError, type ResultsEnd } from "../../../model/provider/provider.js";
import { pollDelayMs } from "../../../model/batch/schedule.js";
import type { Queryable, Reader } from "../../../postgres/database.js";
import * as inFlight from "../../../store/batches/in-flight.js";
import * as keptAnswers from "../../../store/batches/kept-answers.js";
import type { Collecting } from "./answer-chunk.js";
import { askedBy } from "./asked.js";
import { endAnswers, type Waits } from "./end-answers.js";
import { endAll } from "../ending.js";
import { pauseWhenFailing } from "../../guard.js";
import type { Outcomes } from "./judge-answer.js";
import { DOWNLOAD_PAUSE_MS, DOWNLOADS_MAX, lookAgain, lookForResults } from "./missing-results.js";
import { refute } from "../reconciler.js";
import { eachStep } from "../../step.js";
import { DONE, LOST, type BatchIn, type Next, type Turn } from "../turn.js";
import * as adoption from "../../../store/batches/adoption.js";

/** Lines in one transaction: bounded in number, because it writes to a user's table, and in size. */
const CHUNK_LINES = 2_000;
const CHUNK_BYTES = 8 * 1024 * 1024;
const FOREIGN = "its results name none of our requests";

interface Tally extends batches.ResultsRead {
  /** How the results ended; those read in an earlier turn were complete. */
  readonly end: ResultsEnd;
  /** The batch is still presumed to be ours: no line named any request. */
  readonly isUnproved: boolean;
}

export async function collect(claimed: Turn<BatchIn<"collecting">>): Promise<Next> {
  const turn = { ...claimed, asked: await askedBy(claimed) };
  const waits: Waits = { alone: 0 };
  if (turn.batch.keepsAnswers && !(await collectKept(turn, waits))) return LOST;
  const { resultsRead } = turn.batch;
  if (resultsRead !== null)
    return settle(turn, { ...resultsRead, end: wholeEnd(turn, resultsRead.lines), isUnproved: false });
  const read = await collectResults(turn, waits);
  if (read === "lost") return LOST;
  if (read === "foreign") return refute(turn, FOREIGN);
  return (await lookForResults(turn, read.end)) ?? (await doubt(turn, read)) ?? settle(turn, read);
}

/** Null: the batch is ours, or you decided that its answers are lost. Otherwise it may be another batch. */
async function doubt(turn: Collecting, { isUnproved, end, lines }: Tally): Promise<Next | null> {
  if (!isUnproved || (turn.batch.told && !end.complete)) return null;
  return isShort(turn, lines) ? lookOnceMore(turn) : refute(turn, FOREIGN);
}

/** Fewer lines than the provider counts: they may be late, and are read again a few times. */
function isShort({ batch: { providerCounts: counts, downloads } }: Collecting, lines: number): boolean {
  return counts !== null && lines < counts.completed + counts.failed && downloads + 1 < DOWNLOADS_MAX;
}

function lookOnceMore(turn: Collecting): Promise<Next> {
  return lookAgain(turn, DOWNLOAD_PAUSE_MS, { downloads: turn.batch.downloads + 1 });
}

function wholeEnd({ batch }: Collecting, lines: number): ResultsEnd {
  return { complete: true, lines, gone: [], unread: null, pending: null, refs: batch.data.refs };
}

/** "foreign": the presumed batch is another one. */
async function collectResults(turn: Collecting, waits: Waits): Promise<Tally | "lost" | "foreign"> {
  let { presumed } = turn.batch;
  const tally = { lines: 0, unknown: 0, missing: 0 };
  const chunks = resultChunks(turn);
  try {
    for (let next = chunks.next(); ;) {
      const chunk = await next;
      if (chunk.done === true) {
        const end = chunk.value;
        return { ...tally, lines: end.lines, end, isUnproved: presumed };
      }
      // Read while this one is written. Its error is thrown where it is awaited.
      next = chunks.next();
      next.catch(() => undefined);
      const proof = presumed ? await proofIn(turn, chunk.value) : null;
      if (proof === "foreign") return proof;
      if (proof === "ours" && !(await noteProof(turn))) return "lost";
      presumed &&= proof === null;
      const { outcomes, unknown } = await attributeLines(turn.context.read, turn.batch, chunk.value);
      tally.unknown += unknown;
      for (const part of partsOf(outcomes)) if (!(await endAnswers(turn, part, waits))) return "lost";
    }
  } finally {
    await chunks.return(wholeEnd(turn, 0));
  }
}

/** Ours, if most lines with a name name a request as it was sent in this batch. Null: no line has a name. */
async function proofIn(
  { context, batch }: Collecting,
  read: readonly AnswerOutcome[],
): Promise<"ours" | "foreign" | null> {
  const named = read.flatMap(({ customId }) => (customId === null ? [] : [parseCustomId(customId)]));
  if (named.length === 0) return null;
  const ids = named.flatMap((name) => name?.requestId ?? []);
  const sent = await inFlight.inFlightOf(context.read, batch.no, ids);
  const ours = named.filter((name) => {
    const request = name === null ? undefined : sent.get(name.requestId);
    if (name === null || request?.attempt !== name.attempt) return false;
    return request.contentHash === null || matchesContent(name, request.contentHash);
  });
  return ours.length * 2 > named.length ? "ours" : "foreign";
}

function noteProof({ context, lease }: Collecting): Promise<boolean> {
  return context.step("collect.prove", () => batches.update(context.database, lease, { presumed: false }));
}

/** After you decided that missing results are lost, a missing batch counts as lost results too. */
async function* resultChunks(turn: Collecting): AsyncGenerator<AnswerOutcome[], ResultsEnd> {
  const { context, pipeline, batch, signal } = turn;
  const { providerBatchId: id, providerCounts: counts, lines } = batch;
  const ended = { id, refs: batch.data.refs, counts };
  const options = { signal, requests: lines };
  try {
    return yield* eachStep(context.step, "collect.read", chunked(pipeline.provider.results(ended, options)));
  } catch (error) {
    const isGone = error instanceof ProviderError && error.kind === "notFound";
    if (!isGone || !batch.told) throw error;
    return { ...wholeEnd(turn, 0), complete: false, gone: [`batch ${id}`] };
  }
}

async function* chunked(
  results: AsyncGenerator<AnswerOutcome, ResultsEnd>,
): AsyncGenerator<AnswerOutcome[], ResultsEnd> {
  let chunk: AnswerOutcome[] = [];
  let bytes = 0;
  for (let next = await results.next(); ; next = await results.next()) {
    if (next.done === true) {
      if (chunk.length > 0) yield chunk;
      return next.value;
    }
    chunk.push(next.value);
    bytes += sizeOf(next.value);
    if (chunk.length < CHUNK_LINES && bytes < CHUNK_BYTES) continue;
    yield chunk;
    chunk = [];
    bytes = 0;
  }
}

/** Approximate: apart from its texts a line holds little. */
function sizeOf(outcome: AnswerOutcome): number {
  const calls = "calls" in outcome ? (outcome.calls ?? []) : [];
  const texts = ["text" in outcome ? outcome.text : null, "reasoning" in outcome ? outcome.reasoning : null];
  return [...calls, ...texts].reduce((sum, text) => sum + (text?.length ?? 0), 0);
}

/** Retries the answers that earlier turns could not write. False: the lease is lost. */
async function collectKept(turn: Collecting, waits: Waits): Promise<boolean> {
  const { context, batch } = turn;
  const before = await keptAnswers.passStart(context.read);
  for (let after: keptAnswers.KeptAnswer | null = null; ;) {
    const pass = { before, after };
    const kept = await keptAnswers.nextKept(context.read, batch.no, {
      pass,
      max: CHUNK_LINES,
      bytesMax: CHUNK_BYTES,
    });
    after = kept.at(-1) ?? null;
    if (after === null) return true;
    const outcomes = new Map(kept.map(({ requestId, outcome }) => [requestId, [outcome]]));
    if (!(await endAnswers(turn, outcomes, waits))) return false;
  }
}

async function settle(turn: Collecting, tally: Tally): Promise<Next> {
  const { context, batch } = turn;
  const left = await inFlight.countUnanswered(context.read, batch.no);
  if (left > 0 && !batch.told && isShort(turn, tally.lines)) return lookOnceMore(turn);
  const { outcome, detail } = unnamed(batch, tally.end);
  const chance = context.random();
  const read = { lines: tally.lines, unknown: tally.unknown, missing: tally.missing + left };
  const ended = await endAll(context, {
    ...turn,
    // Together, so that those that share a line share the next one too.
    facts: () => ({ outcome, detail, chance }),
    event: "allEnded",
    reason:
      read.missing === 0
        ? "the results name every request"
        : `the results do not name ${read.missing} requests: ${outcome}`,
    detail: read,
    fields: { providerData: { refs: tally.end.refs } },
    first: (tx) => lookAtAnswers(tx, turn),
  });
  if (ended === "lost") return LOST;
  if (ended === "kept") return waitForRows(turn, read, tally.end);
  context.log.info({ pipeline: batch.pipeline, batch: batch.id, requests: batch.requests }, "batch settled");
  return DONE;
}

/** The results are not read again. */
function waitForRows(turn: Collecting, read: batches.ResultsRead, { refs }: ResultsEnd): Promise<Next> {
  const { context, pipeline, batch } = turn;
  context.log.info(
    { pipeline: batch.pipeline, batch: batch.id },
    "answers are kept until their rows can be written: other transactions hold them",
  );
  const delayMs = pollDelayMs(batch.polls, pipeline.config.polling, context.random());
  return lookAgain(turn, delayMs, { polls: batch.polls + 1, resultsRead: read, providerData: { refs } });
}

/** Before the batch ends, so that a waiting command sees the pause. Locks the pipeline before the batch. */
async function lookAtAnswers(tx: Queryable, { pipeline, batch, asked }: Collecting): Promise<void> {
  const row = await pipelines.lock(tx, pipeline.id);
  // Its rows wait for a decision too: the next sweep counts them.
  if (asked.changed && (await changes.changeOf(tx, pipeline.id))?.decision === "undecided")
    await sweeps.sweepAgain(tx, pipeline.id);
  const { definitionHash } = batch;
  await outputSizes.learn(tx, { pipeline: pipeline.config.name, definitionHash });
  if (row?.definitionHash === pipeline.definitionHash) await pauseWhenFailing(tx, pipeline);
}

/** The ending of requests that no line names. */
function unnamed(
  { providerStatus }: Collecting["batch"],
  { gone }: ResultsEnd,
): { outcome: "expired" | "cancelled" | "missing"; detail: string } {
  if (gone.length > 0)
    return { outcome: "missing", detail: `The provider no longer has ${gone.join(" and ")} of the batch.` };
  const outcome = providerStatus === "expired" || providerStatus === "cancelled" ? providerStatus : "missing";
  const detail = `The provider's results do not name this request; the batch was ${providerStatus ?? "done"}.`;
  return { outcome, detail };
}

interface Attributed {
  /** By request: all lines that name it or that it shares, in the file's order; attempt and content decide. */
  readonly outcomes: Outcomes;
  /** Lines about no request of the batch. */
  readonly unknown: number;
}

/** A line may be shared by many requests. */
function partsOf(outcomes: Outcomes): readonly Outcomes[] {
  if (outcomes.size <= CHUNK_LINES) return [outcomes];
  const all = [...outcomes];
  return Array.from(
    { length: Math.ceil(all.length / CHUNK_LINES) },
    (_, part) => new Map(all.slice(part * CHUNK_LINES, (part + 1) * CHUNK_LINES)),
  );
}

/**
 * Finds each line's requests: by our own names, or by those of the code that created an adopted batch; and those that
 * share the line.
 */
async function attributeLines(
  client: Reader,
  batch: Pick<batches.Batch, "no" | "adoptedPattern" | "recovered" | "sharing">,
  read: readonly AnswerOutcome[],
): Promise<Attributed> {
  const noted = batch.adoptedPattern !== null || batch.recovered;
  const names = () => read.flatMap((outcome) => outcome.customId ?? []);
  const adopted = noted ? await adoption.requestsByCustomId(client, batch.no, names()) : null;
  const sharers = batch.sharing > 0 ? await inFlight.sharersOf(client, batch.no, names()) : null;
  const outcomes = new Map<string, AnswerOutcome[]>();
  const add = (id: string, outcome: AnswerOutcome) => {
    const said = outcomes.get(id);
    if (said === undefined) outcomes.set(id, [outcome]);
    else said.push(outcome);
  };
  let unknown = 0;
  for (const outcome of read) {
    const name = outcome.customId ?? "";
    const id = adopted === null ? parseCustomId(name)?.requestId : adopted.get(name);
    if (id === undefined) unknown++;
    else add(id, outcome);
    for (const sharer of sharers?.get(name) ?? []) add(sharer, outcome);
  }
  return { outcomes, unknown };
}
