/** Owns the mistakes that show only between two sections of a pipeline. Skips sections that have mistakes. */
import { compileAnswer } from "../../model/answer/answer.js";
import { nearMatch } from "../../model/words/near-match.js";
import { formatDuration } from "../../model/duration.js";
import { hasWord, isFreeJson } from "../../model/json/free-json.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { tableIdentity } from "../../model/table-name.js";
import { writesBack } from "../../model/write-back.js";
import { childPath, describe } from "./problems.js";
import { answerFields } from "./read-answer.js";
import type { Place } from "./readers.js";

/** Columns of our own in every target. */
const OWN_COLUMNS = ["rowmill_at", "rowmill_model", "rowmill_version"] as const;

/** `place`: the pipeline's. */
export function checkAcrossSections(place: Place, config: PipelineConfig): void {
  checkPolling(place, config);
  checkSchema(place, config);
  checkJsonWord(place, config);
  const { path, problems } = place;
  if (problems.clean(`${path}.source`, `${path}.target`)) checkOnGone(place, config);
  if (problems.clean(`${path}.source`, `${path}.answer`, `${path}.target`)) checkTargetColumns(place, config);
}

/** A function's text is known only when it renders; `render-request.ts` checks again before anything is sent. */
function checkJsonWord({ path, problems }: Place, { answer, provider, request }: PipelineConfig): void {
  const { freeJsonWord: word, title } = provider.dialect;
  if (word === null || !isFreeJson(answer) || !problems.clean(`${path}.request`)) return;
  const said = [request.system, request.user].filter((message) => message !== null);
  if (said.some((message) => message.kind === "function" || hasWord(word, message.text))) return;
  problems.add(
    `${path}.request`,
    `for an answer of json(), ${title} needs the word "${word}" in \`system\` or \`user\`. ` +
      `Add a sentence such as "Answer as a JSON object."`,
  );
}

/** What zod can write as a schema, but the provider refuses. */
function checkSchema({ path, problems }: Place, { answer, provider }: PipelineConfig): void {
  if (answer === null || isFreeJson(answer) || !problems.clean(`${path}.provider`)) return;
  const { schema } = compileAnswer(answer);
  if (schema === null) return;
  for (const problem of provider.dialect.schemaProblems(schema.schema)) problems.add(`${path}.answer`, problem);
}

function checkPolling(place: Place, { polling }: PipelineConfig): void {
  const path = `${place.path}.polling`;
  if (!place.problems.clean(path) || polling.minMs <= polling.maxMs) return;
  const [min, max] = [polling.minMs, polling.maxMs].map((ms) => JSON.stringify(formatDuration(ms)));
  place.problems.add(path, 'a min that is not above max (defaults: min "15s", max "5m")', {
    found: `min ${min} and max ${max}`,
  });
}

/** In its own table, a deleted row has no place for its answer. */
function checkOnGone({ path, problems }: Place, { source, target }: PipelineConfig): void {
  const isSame = writesBack({ source, target }) || sameTable(source.table, target.table);
  if (source.onGone === "drop" || !isSame) return;
  problems.add(`${path}.source.onGone`, `"drop", because the target is the source table`, {
    found: describe(source.onGone),
  });
}

function checkTargetColumns(place: Place, config: PipelineConfig): void {
  const fields = answerFields(config.answer);
  const mapping = config.target.columns ?? {};
  for (const field of Object.keys(mapping)) {
    if (fields.includes(field)) continue;
    const path = childPath(`${place.path}.target.columns`, field);
    const expected = `the answer has no such field. Its fields: ${fields.join(", ")}`;
    place.problems.add(path, expected, { nearMatch: nearMatch(field, fields) });
  }
  const taken = new Map<string, string>();
  for (const field of fields) {
    const column = Object.hasOwn(mapping, field) ? (mapping[field] ?? field) : field;
    const reason = taken.has(column)
      ? `is also the column of the field "${taken.get(column)}"`
      : reservedBecause(column, config);
    taken.set(column, field);
    if (reason === null) continue;
    const path = Object.hasOwn(mapping, field)
      ? childPath(`${place.path}.target.columns`, field)
      : `${place.path}.target`;
    place.problems.add(
      path,
      `the column "${column}" of the answer's field "${field}" ${reason}. ` +
        "Map the field to another column in target.columns",
    );
  }
}

function reservedBecause(column: string, { source, target }: PipelineConfig): string | null {
  if (OWN_COLUMNS.some((own) => own === column)) return "is reserved for Rowmill";
  if (source.key.includes(column)) return "is also a key column of the source, which the target has too";
  // The answer would change the content that it was made from, and so be sent again without end.
  const isOwnSource = sameTable(source.table, target.table);
  return isOwnSource && source.columns.includes(column)
    ? "is also in source.columns, and the target is the source table"
    : null;
}

/** By name only. The target checks again in the database. */
export function sameTable(a: string, b: string): boolean {
  return tableIdentity(a) === tableIdentity(b);
}
