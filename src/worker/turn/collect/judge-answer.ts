/** What lines of an answer file mean for their requests, by the rows as they are now. Pure as far as `validate` is. */
import type { CompiledAnswer } from "../../../model/answer/answer.js";
import type { Refusal } from "../../../model/batch/failing.js";
import { matchesContent, readCustomId, type CustomId } from "../../../model/request/custom-id.js";
import type { AnswerOutcome, Said } from "../../../model/provider/outcome.js";
import type { Json, RowCells } from "../../../model/pipeline.js";
import { thrownMessage } from "../../../model/words/thrown-message.js";
import { nameWrongValue } from "../../../model/words/wrong-value.js";
import { tooLargeText, type SourceRow } from "../../../sources/source.js";
import type { Batch } from "../../../store/batches/batches.js";
import type { InFlight } from "../../../store/batches/in-flight.js";
import type { AttemptEnding } from "../../../store/requests/attempts.js";
import type { Result } from "../../../targets/target.js";
import type { Asked } from "./asked.js";
import { currentFingerprint, type Pipeline } from "../../context.js";
import { endingOf, type Deciding, type EndingFacts } from "../ending.js";

/** What lines say, by request. */
export type Outcomes = ReadonlyMap<string, readonly AnswerOutcome[]>;

/** What a chunk is judged with. */
export interface Judging extends Deciding {
  readonly pipeline: Pick<Pipeline, "config" | "answer" | "render" | "encode">;
  readonly batch: Pick<Batch, "rates" | "model" | "version" | "cancel">;
  readonly asked: Pick<Asked, "changed" | "reopens" | "answer" | "triesMax" | "target">;
}

type Judge = Judging["pipeline"];

export interface Case {
  readonly request: InFlight;
  /** Those that name the request. */
  readonly lines: readonly AnswerOutcome[];
  /** The row now, with the content that was asked about, */
  readonly row: SourceRow | undefined;
  /** and with the content of the present definition. */
  readonly present: SourceRow | undefined;
}

export interface ChunkCase extends Case {
  /** The source had no time for the row. */
  readonly isUnread: boolean;
}

export interface JudgedChunk {
  readonly accepted: readonly { readonly ending: AttemptEnding; readonly result: Result }[];
  /** Endings without a result. */
  readonly others: readonly AttemptEnding[];
  /** Key → request: the present definition sends them again. */
  readonly again: ReadonlyMap<string, string>;
  /** Not read or not judged in time. */
  readonly left: Outcomes;
}

/** `lookFirst`: a row seems gone, and `goneBelieved` is false. `refusals`: requests that the target refused alone. */
export function judgeChunk(
  turn: Judging,
  cases: readonly ChunkCase[],
  how: {
    readonly goneBelieved: boolean;
    readonly refusals: ReadonlyMap<string, Refusal>;
    readonly isTimeOver: () => boolean;
  },
): JudgedChunk | "lookFirst" {
  const left = new Map<string, readonly AnswerOutcome[]>();
  const again = new Map<string, string>();
  const accepted: JudgedChunk["accepted"][number][] = [];
  const others: AttemptEnding[] = [];
  for (const one of cases) {
    const { request, lines, row, present } = one;
    if (lines.length === 0) continue;
    if (one.isUnread || how.isTimeOver()) {
      left.set(request.requestId, lines);
      continue;
    }
    const judged = judgeAnswer(turn, one);
    if (judged === null) continue;
    const seemsGone = (row === undefined || present === undefined) && !request.isForgotten;
    if (seemsGone && !how.goneBelieved) return "lookFirst";
    const refusal = judged.cells === null ? undefined : how.refusals.get(request.requestId);
    const decided = endingOf(turn, request, refusal === undefined ? judged.facts : refusedFacts(judged, refusal));
    const isAgain = present !== undefined && isAskedAgain(turn, { request, present, ending: decided });
    if (isAgain) again.set(request.key, request.requestId);
    // The next definition's tries start at zero, whichever state the row is in.
    const ending = isAgain && decided.to === "waiting" ? { ...decided, tries: 0, returns: 0 } : decided;
    const { cells } = judged;
    if (cells === null || refusal !== undefined) others.push(ending);
    else {
      const { model, version } = turn.batch;
      accepted.push({ ending, result: { key: request.key, cells, model: ending.model ?? model, version } });
    }
  }
  return { accepted, others, again, left };
}

function refusedFacts({ facts, cells }: Judged, { detail }: Refusal): EndingFacts {
  return { ...facts, outcome: "unwritable", detail, answer: JSON.stringify(cells) };
}

/** As the sweep of the present definition would decide, which left out what was in flight. */
function isAskedAgain(
  { pipeline, asked }: Judging,
  { request, present, ending }: { request: InFlight; present: SourceRow; ending: AttemptEnding },
): boolean {
  if (!asked.changed || (ending.to === "succeeded" && !asked.reopens)) return false;
  if (present.hash !== request.contentHash) return true;
  if (currentFingerprint(pipeline, present.cells) !== request.fingerprint) return true;
  const isCutShort = ending.to === "failed" && ending.outcome === "truncated";
  return isCutShort && (request.room ?? 0) < pipeline.config.request.maxOutputTokens;
}

interface Judged {
  readonly facts: EndingFacts;
  /** The result to write; null: none. */
  readonly cells: Readonly<Record<string, Json>> | null;
}

/** Null: no line is about this attempt of the request and the content that it asked. */
function judgeAnswer({ pipeline, asked }: Judging, { request, lines, row, present }: Case): Judged | null {
  const about = lineAbout(request, lines);
  if (about === null) return null;
  const { outcome, id } = about;
  const paid = paidFacts(outcome);
  const given = { ...paid, answer: textOf(outcome) };
  if (row === undefined || present === undefined) return judgeGone(pipeline, { request, asked, outcome });
  const sameContent =
    matchesContent(id, row.hash) && (request.contentHash === null || request.contentHash === row.hash);
  if (!sameContent)
    return ended({
      ...given,
      outcome: "stale",
      detail: "The row changed while it was being answered.",
      hash: present.hash,
    });
  if (asked.answer === null && currentFingerprint(pipeline, present.cells) !== request.fingerprint) {
    return ended({
      ...given,
      outcome: "stale",
      detail: "The definition changed while the row was being answered, and the one that asked is not known.",
      hash: row.hash,
    });
  }
  const { triesMax } = asked;
  // Of the present columns where the answer stays, or the next sweep would take the row for a changed one.
  const hash = asked.reopens ? row.hash : present.hash;
  const known = { ...paid, hash, fingerprint: request.fingerprint, triesMax };
  if (outcome.kind !== "text") {
    const isShort = outcome.kind === "truncated" && isShortRoom(pipeline, request);
    return ended({
      ...known,
      answer: textOf(outcome),
      outcome: isShort ? "cutShort" : outcome.kind,
      detail: isShort ? outcome.message : detailOf(pipeline, outcome),
    });
  }
  if (present.cells === null && pipeline.config.validate !== null)
    return ended({ ...known, answer: textOf(outcome), outcome: "tooLarge", detail: tooLargeText(present.hash) });
  const { cells } = present;
  const answer = asked.answer ?? pipeline.answer;
  const checked = checkAnswer(pipeline, answer, { said: outcome, cells: cells ?? {} });
  // Some servers do not say that they cut an answer off, and half a text is still a text.
  const isCut = outcome.usage.outputTokens >= (request.room ?? Infinity) && isShortRoom(pipeline, request);
  if (isCut && answer.schema === null)
    return ended({
      ...known,
      answer: textOf(outcome),
      outcome: "cutShort",
      detail: "the answer fills its output limit",
    });
  if ("message" in checked) {
    const problem = isCut ? "cutShort" : checked.isRows && request.isSharing ? "unshared" : "invalid";
    return ended({ ...known, answer: textOf(outcome), outcome: problem, detail: checked.message });
  }
  if (typeof asked.target === "string") {
    const kept = JSON.stringify(checked.cells);
    return ended({ ...known, answer: kept, outcome: "unwritable", detail: asked.target });
  }
  return { facts: { ...known, outcome: "answered" }, cells: checked.cells };
}

/** Less than the config allows. */
function isShortRoom({ config }: Judge, { room }: InFlight): boolean {
  return room !== null && room < config.request.maxOutputTokens;
}

/** The row is gone: a usable answer may be kept for the content that was asked, any other answer is dropped. */
function judgeGone(
  pipeline: Judge,
  { request, asked, outcome }: { request: InFlight; asked: Judging["asked"]; outcome: NamedOutcome },
): Judged {
  const { source } = pipeline.config;
  const { contentHash: hash, fingerprint } = request;
  const paid = paidFacts(outcome);
  const dropped = (detail: string | null) => ended({ ...paid, answer: textOf(outcome), outcome: "gone", detail });
  if (source.onGone === "drop" || hash === null || asked.answer === null) return dropped(null);
  if (outcome.kind !== "text") return dropped(detailOf(pipeline, outcome));
  const cells = Object.fromEntries(source.columns.map((name) => [name, null]));
  const checked = checkAnswer(pipeline, asked.answer, { said: outcome, cells });
  if ("message" in checked) return dropped(checked.message);
  const known = { ...paid, hash, fingerprint, rowGone: true };
  if (typeof asked.target !== "string") return { facts: { ...known, outcome: "answeredGone" }, cells: checked.cells };
  return ended({ ...known, answer: JSON.stringify(checked.cells), outcome: "unwritable", detail: asked.target });
}

type NamedOutcome = Exclude<AnswerOutcome, { kind: "unknownId" }>;

/** The first line about this very attempt; by all we know further lines were not paid for. */
export function lineAbout(
  request: InFlight,
  lines: readonly AnswerOutcome[],
): { outcome: NamedOutcome; id: CustomId } | null {
  for (const outcome of lines) {
    if (outcome.kind === "unknownId") continue;
    const id = readCustomId(outcome.customId, request);
    if (id === null || id.attempt !== request.attempt) continue;
    if (request.contentHash === null || matchesContent(id, request.contentHash)) return { outcome, id };
  }
  return null;
}

function ended(facts: EndingFacts): Judged {
  return { facts, cells: null };
}

function paidFacts(outcome: NamedOutcome): Pick<EndingFacts, "usage" | "model" | "demo"> {
  const demo = outcome.demo === true;
  return "usage" in outcome ? { usage: outcome.usage, model: outcome.model, demo } : { demo };
}

function detailOf({ config }: Judge, outcome: NamedOutcome): string | null {
  if (outcome.kind === "text") return null;
  if (outcome.kind !== "truncated") return outcome.message;
  return `${outcome.message}; raise pipelines.${config.name}.request.maxOutputTokens`;
}

/** What was paid for, to show to you. */
export function textOf(outcome: AnswerOutcome): string | null {
  if (outcome.kind !== "text") return "text" in outcome ? outcome.text : null;
  const { text, calls = [], reasoning } = outcome;
  if (calls.length > 0) return [text, ...calls].filter((part) => part.trim() !== "").join("\n");
  return text.trim() === "" ? (reasoning ?? text) : text;
}

/** By its schema and `validate`, with the row as it is. `isRows`: it fits the schema, and its own row refuses it. */
export function checkAnswer(
  pipeline: Pick<Pipeline, "config">,
  answer: CompiledAnswer,
  { said, cells }: { said: Said; cells: RowCells },
): { cells: Readonly<Record<string, Json>> } | { message: string; isRows: boolean } {
  const parsed = answer.parse(said.text, said);
  if (!parsed.ok) return { message: parsed.message, isRows: false };
  const problem = validate(pipeline, parsed.value, cells);
  return problem === null ? { cells: parsed.cells } : { message: problem, isRows: true };
}

function validate(pipeline: Pick<Pipeline, "config">, value: unknown, cells: RowCells): string | null {
  if (pipeline.config.validate === null) return null;
  let found: unknown;
  try {
    found = pipeline.config.validate(value, cells);
  } catch (error) {
    return `validate threw: ${thrownMessage(error)}`;
  }
  if (found === null || (typeof found === "string" && found !== "")) return found;
  return `validate returned ${nameWrongValue(found)}; it must return null, or what is wrong as text`;
}
