/** Reads the names of tables, columns and pipelines. Names are quoted as given when they reach SQL. */
import { parseTableName } from "../../model/table-name.js";
import { refuse, text, type Place, type Reader } from "./readers.js";

/** PostgreSQL cuts longer names (NAMEDATALEN - 1), so two different names could become one. */
const NAME_BYTES_MAX = 63;

const PIPELINE_NAME_PATTERN = /^[a-z][a-z0-9_-]{0,39}$/;

/** A column's name as the database has it. */
export const columnName: Reader<string> = (place) => {
  const name = text("the name of a column")(place);
  if (place.problems.clean(place.path) && /^".*"$/s.test(name))
    refuse(place, "a column name without quotes, which Rowmill adds itself");
  checkLength(place, [name], "a column");
  return name;
};

/** `table` or `schema.table`; either part may stand in double quotes, as SQL has it. */
export const tableName: Reader<string> = (place) => {
  const written = text('the name of a table, "movies" or "schema.movies"')(place);
  const parsed = parseTableName(written);
  if (parsed !== null) checkLength(place, [parsed.schema ?? "", parsed.name], "a table");
  else if (place.problems.clean(place.path)) {
    refuse(
      place,
      '"table" or "schema.table", with a name that has a dot or a double quote in double quotes, as in SQL',
    );
  }
  return written;
};

function checkLength(place: Place, names: readonly string[], what: string): void {
  if (!place.problems.clean(place.path)) return;
  if (names.some((name) => Buffer.byteLength(name) > NAME_BYTES_MAX))
    refuse(place, `the name of ${what} with at most ${NAME_BYTES_MAX} bytes, the limit of PostgreSQL`);
}

/** Notes what is wrong with a pipeline's name, which is the key at `place`. */
export function checkPipelineName(place: Place, name: string): void {
  const expected = pipelineNameProblem(name);
  if (expected === null) return;
  place.problems.add(place.path, expected, { found: JSON.stringify(name.slice(0, 60)) });
}

/** What was expected, or null if the name is good. */
export function pipelineNameProblem(name: string): string | null {
  if (PIPELINE_NAME_PATTERN.test(name)) return null;
  return "a lower-case letter, then at most 39 lower-case letters, digits, _ or -";
}
