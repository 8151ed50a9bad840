/** Reads the names of tables, columns and pipelines. Names are quoted as given when they reach SQL. */
import { refuse, text, type Place, type Reader } from "./readers.js";

/** PostgreSQL cuts longer names (NAMEDATALEN - 1): two names that differ only behind the cut would be one. */
const nameBytesMax = 63;

const pipelineNamePattern = /^[a-z][a-z0-9_-]{0,39}$/;

/** A column's name as the database has it. */
export const columnName: Reader<string> = (place) => {
  const name = text("the name of a column")(place);
  checkIdentifier(place, [name], "a column");
  return name;
};

/** `table` or `schema.table`. A dot is always taken as the separator. */
export const tableName: Reader<string> = (place) => {
  const name = text('the name of a table, "movies" or "schema.movies"')(place);
  const parts = name.split(".");
  if (parts.length > 2 || (name !== "" && parts.includes(""))) {
    refuse(place, '"table" or "schema.table"');
  } else {
    checkIdentifier(place, parts, "a table");
  }
  return name;
};

function checkIdentifier(place: Place, parts: readonly string[], what: string): void {
  if (!place.problems.clean(place.path)) return;
  if (parts.some((part) => /^".*"$/s.test(part))) {
    refuse(place, `the name of ${what} without quotes: Rowmill quotes names itself, mixed case included`);
  } else if (parts.some((part) => Buffer.byteLength(part) > nameBytesMax)) {
    refuse(place, `the name of ${what} of at most ${nameBytesMax} bytes, as PostgreSQL has them`);
  }
}

/** Notes what is wrong with a pipeline's name, which is the key at `place`. */
export function checkPipelineName(place: Place, name: string): void {
  if (pipelineNamePattern.test(name)) return;
  const expected = "a name of a lower-case letter, then at most 39 lower-case letters, digits, _ and -";
  place.problems.add(place.path, expected, { found: JSON.stringify(name.slice(0, 60)) });
}
