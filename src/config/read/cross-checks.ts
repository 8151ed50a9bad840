/** Mistakes that show only between two sections of a pipeline. Judges nothing that was misread already. */
import { compileAnswer } from "../../model/answer/answer.js";
import { nearMatch } from "../../model/words/near-match.js";
import { formatDuration } from "../../model/duration.js";
import { hasWord, isFreeJson } from "../../model/json/free-json.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { parseTableName } from "../../model/table-name.js";
import { childPath, describe } from "./problems.js";
import { answerFields } from "./read-answer.js";
import type { Place } from "./readers.js";

/** Columns of our own in every target. */
const OWN_COLUMNS = ["rowmill_at", "rowmill_model"] as const;

/** `place`: the pipeline's. */
export function checkAcrossSections(place: Place, config: PipelineConfig): void {
  checkPolling(place, config);
  checkSchema(place, config);
  checkJsonWord(place, config);
  const { path, problems } = place;
  if (problems.clean(`${path}.source`, `${path}.target`)) checkOnGone(place, config);
  if (problems.clean(`${path}.source`, `${path}.answer`, `${path}.target`)) checkTargetColumns(place, config);
}

/** What a function says is seen only when it renders: `render-request.ts` looks again, before anything is sent. */
function checkJsonWord({ path, problems }: Place, { answer, provider, request }: PipelineConfig): void {
  const { freeJsonWord: word, title } = provider.dialect;
  if (word === null || !isFreeJson(answer) || !problems.clean(`${path}.request`)) return;
  const said = [request.system, request.user].filter((message) => message !== null);
  if (said.some((message) => message.kind === "function" || hasWord(word, message.text))) return;
  problems.add(
    `${path}.request`,
    `the word "${word}" in \`system\` or \`user\`: ${title} refuses an answer of json() without it; add a sentence such as "Answer as a JSON object."`,
  );
}

/** What can be written as a schema, and is refused where it is sent. */
function checkSchema({ path, problems }: Place, { answer, provider }: PipelineConfig): void {
  if (answer === null || isFreeJson(answer) || !problems.clean(`${path}.provider`)) return;
  const { schema } = compileAnswer(answer);
  if (schema === null) return;
  for (const problem of provider.dialect.schemaProblems(schema.schema))
    problems.add(`${path}.answer`, problem);
}

function checkPolling(place: Place, { polling }: PipelineConfig): void {
  const path = `${place.path}.polling`;
  if (!place.problems.clean(path) || polling.minMs <= polling.maxMs) return;
  const found = `min ${JSON.stringify(formatDuration(polling.minMs))} and max ${JSON.stringify(formatDuration(polling.maxMs))}`;
  place.problems.add(path, "min to be at most max; a key that is absent has its default (min 15s, max 5m)", {
    found,
  });
}

/** A row that is gone has no place for its answer. */
function checkOnGone({ path, problems }: Place, { source, target }: PipelineConfig): void {
  if (source.onGone === "drop" || !sameTable(source.table, target.table)) return;
  problems.add(`${path}.source.onGone`, `"drop" where the target is the source's own table`, {
    found: describe(source.onGone),
  });
}

function checkTargetColumns(place: Place, config: PipelineConfig): void {
  const fields = answerFields(config.answer);
  const mapping = config.target.columns ?? {};
  for (const field of Object.keys(mapping)) {
    if (fields.includes(field)) continue;
    const path = childPath(`${place.path}.target.columns`, field);
    const expected = `no such field in the answer; its fields: ${fields.join(", ")}`;
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
      `the column "${column}" for the answer's field "${field}" ${reason}; map the field to another column in target.columns`,
    );
  }
}

function reservedBecause(column: string, { source, target }: PipelineConfig): string | null {
  if (OWN_COLUMNS.some((own) => own === column)) return "is one that Rowmill fills itself";
  if (source.key.includes(column)) return "is a key column, which the target has too";
  // The answer would change the content that it was made from, and be asked again without end.
  const isOwnSource = sameTable(source.table, target.table);
  return isOwnSource && source.columns.includes(column)
    ? "is a declared column of the source, which is also the target"
    : null;
}

/** As far as names can tell: `movies` is most often `public.movies`. The target looks again, in the database. */
export function sameTable(a: string, b: string): boolean {
  return withSchema(a) === withSchema(b);
}

function withSchema(table: string): string {
  const { schema, name } = parseTableName(table) ?? { schema: null, name: table };
  return JSON.stringify([schema ?? "public", name]);
}
