/** What one line of an answer file means for its request, given the row as it is now. Pure as far as the user's `validate` is. */
import type { CompiledAnswer } from "../../../model/answer/answer.js";
import { matchesContent, readCustomId, type CustomId } from "../../../model/request/custom-id.js";
import type { AnswerOutcome, Said } from "../../../model/provider/outcome.js";
import type { Json, RowCells } from "../../../model/pipeline.js";
import { thrownMessage } from "../../../model/words/thrown-message.js";
import { nameWrongValue } from "../../../model/words/wrong-value.js";
import { tooLargeText, type SourceRow } from "../../../sources/source.js";
import type { InFlight } from "../../../store/batches/in-flight.js";
import type { Asked } from "./asked.js";
import { currentFingerprint, type Pipeline } from "../../context.js";
import type { EndingFacts } from "../ending.js";

export interface Judged {
  readonly facts: EndingFacts;
  /** The result to write; null: none. */
  readonly cells: Readonly<Record<string, Json>> | null;
}

export interface Case {
  readonly request: InFlight;
  /** Those that name the request. */
  readonly lines: readonly AnswerOutcome[];
  /** As it is now, with the content that was asked about, */
  readonly row: SourceRow | undefined;
  /** and with that of the present definition. */
  readonly present: SourceRow | undefined;
  readonly asked: Asked;
}

/** Null: none of the lines is about this attempt of the request and the content that it asked. */
export function judgeAnswer(
  pipeline: Pipeline,
  { request, lines, row, present, asked }: Case,
): Judged | null {
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
      detail: "The definition changed while the row was being answered, and the former one is not known.",
      hash: row.hash,
    });
  }
  const { triesMax } = asked;
  const known = { ...paid, hash: row.hash, fingerprint: request.fingerprint, triesMax };
  if (outcome.kind !== "text")
    return ended({
      ...known,
      answer: textOf(outcome),
      outcome: outcome.kind,
      detail: detailOf(pipeline, outcome),
    });
  if (present.cells === null && pipeline.config.validate !== null)
    return ended({
      ...known,
      answer: textOf(outcome),
      outcome: "tooLarge",
      detail: tooLargeText(present.hash),
    });
  const { cells } = present;
  const checked = check(pipeline, asked.answer ?? pipeline.answer, {
    said: outcome,
    cells: cells ?? {},
  });
  if ("message" in checked)
    return ended({ ...known, answer: textOf(outcome), outcome: "invalid", detail: checked.message });
  if (typeof asked.target === "string") {
    const kept = JSON.stringify(checked.cells);
    return ended({ ...known, answer: kept, outcome: "unwritable", detail: asked.target });
  }
  return { facts: { ...known, outcome: "answered" }, cells: checked.cells };
}

/**
 * The row cannot be compared with what was asked any more, nor be asked again. So an answer that is to be kept stands for the content
 * that was asked, and one that is no use is dropped.
 */
function judgeGone(
  pipeline: Pipeline,
  { request, asked, outcome }: Pick<Case, "request" | "asked"> & { outcome: NamedOutcome },
): Judged {
  const { source } = pipeline.config;
  const { contentHash: hash, fingerprint } = request;
  const paid = paidFacts(outcome);
  const dropped = (detail: string | null) =>
    ended({ ...paid, answer: textOf(outcome), outcome: "gone", detail });
  if (source.onGone === "drop" || hash === null || asked.answer === null) return dropped(null);
  if (outcome.kind !== "text") return dropped(detailOf(pipeline, outcome));
  const cells = Object.fromEntries(source.columns.map((name) => [name, null]));
  const checked = check(pipeline, asked.answer, { said: outcome, cells });
  if ("message" in checked) return dropped(checked.message);
  const known = { ...paid, hash, fingerprint, rowGone: true };
  if (typeof asked.target !== "string")
    return { facts: { ...known, outcome: "answeredGone" }, cells: checked.cells };
  return ended({
    ...known,
    answer: JSON.stringify(checked.cells),
    outcome: "unwritable",
    detail: asked.target,
  });
}

type NamedOutcome = Exclude<AnswerOutcome, { kind: "unknownId" }>;

/** The first line about this very attempt; nothing that we can see paid for further ones. */
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

function detailOf({ config }: Pipeline, outcome: NamedOutcome): string | null {
  if (outcome.kind === "text") return null;
  if (outcome.kind !== "truncated") return outcome.message;
  return `${outcome.message}; raise pipelines.${config.name}.request.maxOutputTokens`;
}

/** What was paid for, for the person who looks at it. */
function textOf(outcome: AnswerOutcome): string | null {
  if (outcome.kind !== "text") return "text" in outcome ? outcome.text : null;
  const { text, calls = [], reasoning } = outcome;
  if (calls.length > 0) return [text, ...calls].filter((part) => part.trim() !== "").join("\n");
  return text.trim() === "" ? (reasoning ?? text) : text;
}

function check(
  pipeline: Pipeline,
  answer: CompiledAnswer,
  { said, cells }: { said: Said; cells: RowCells },
): { cells: Readonly<Record<string, Json>> } | { message: string } {
  const parsed = answer.parse(said.text, said);
  if (!parsed.ok) return { message: parsed.message };
  const problem = validate(pipeline, parsed.value, cells);
  return problem === null ? { cells: parsed.cells } : { message: problem };
}

function validate(pipeline: Pipeline, value: unknown, cells: RowCells): string | null {
  if (pipeline.config.validate === null) return null;
  let found: unknown;
  try {
    found = pipeline.config.validate(value, cells);
  } catch (error) {
    return `validate threw: ${thrownMessage(error)}`;
  }
  if (found === null || (typeof found === "string" && found !== "")) return found;
  return `validate gave ${nameWrongValue(found)}; it must give null, or what is wrong as text`;
}
