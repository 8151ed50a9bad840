/**
 * The rows that are moved, the question about each, and the answer that all of them get: the same for Rowmill and for
 * the floor.
 */

/** Bytes of a row's key and text, when nothing else is said. */
export const ROW_BYTES = 250;
const KEY_AND_TITLE_BYTES = 30;
const SENTENCE = "The story of a weary detective who hunts a killer in rainy Lisbon, falls in love and loses. ";

export const system = "Extract the categories of the film and a one-sentence summary.";
export const model = "gpt-4o-mini";

/** `content` of the stand-in, with a summary of about this many bytes. */
export function answerOf(summaryBytes = 90): string {
  const summary = SENTENCE.repeat(Math.ceil(summaryBytes / SENTENCE.length)).slice(0, summaryBytes);
  return JSON.stringify({ categories: ["drama", "crime"], summary });
}

export const createFilms =
  "create table public.films (id bigint primary key, title text not null, description text not null)";

/** Of `$1` rows with `$2` characters of description, and `$4` titles. */
export const insertFilms = `insert into public.films
  select n, 'Film number ' || 1 + (n - 1) % $4::int, left(repeat($3, 1 + $2 / length($3)), $2)
  from generate_series(1, $1::int) n`;

export function filmValues(rows: number, rowBytes: number, titles = rows): readonly (number | string)[] {
  return [rows, Math.max(1, rowBytes - KEY_AND_TITLE_BYTES), SENTENCE, titles];
}

/** As Rowmill makes it. */
export const createLabels = "create table public.film_labels (id bigint primary key, categories text[], summary text)";
