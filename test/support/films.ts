/**
 * Rows for tests: the real films of `ROWMILL_TEST_FILMS` (a CSV with the columns of the IMDB list and an empty first
 * header) where it is set, else as many made up ones. Either way 1,000 with distinct descriptions.
 */
import { readFileSync } from "node:fs";
import { parse } from "csv-parse/sync";

export interface Film {
  readonly id: number;
  readonly title: string;
  readonly description: string;
}

const FILMS = 1_000;

export function films(): readonly Film[] {
  const file = process.env["ROWMILL_TEST_FILMS"];
  return file === undefined || file === "" ? madeUp() : fromCsv(file);
}

function fromCsv(file: string): Film[] {
  const rows: unknown = parse(readFileSync(file, "utf8"), { columns: true, skip_empty_lines: true });
  if (!Array.isArray(rows) || rows.length < FILMS) throw new Error(`${file} should hold at least ${FILMS} films.`);
  return rows.slice(0, FILMS).map((row: Record<string, string>, index) => ({
    id: Number(row[""] ?? index),
    title: row["Title"] ?? "",
    description: row["Description"] ?? "",
  }));
}

const heroes = [
  "a weary detective",
  "a young pilot",
  "two sisters",
  "a retired thief",
  "an orphan",
  "a jazz singer",
  "a small-town doctor",
  "a clumsy wizard",
];
const deeds = [
  "hunts a killer",
  "falls in love",
  "plans a last robbery",
  "survives a war",
  "gets lost in space",
  "haunts an old house",
  "saves a village",
  "wins a hopeless trial",
];
const places = [
  "in rainy Lisbon",
  "on a cargo ship",
  "in the Alps",
  "in 1920s Chicago",
  "on the Moon",
  "in a quiet suburb",
  "in the desert",
  "in a closed hotel",
];

function madeUp(): Film[] {
  return Array.from({ length: FILMS }, (_, index) => {
    const pick = (words: readonly string[], step: number) => words[Math.floor(index / step) % words.length] ?? "";
    return {
      id: index,
      title: `Film number ${index} (${1950 + (index % 70)})`,
      description: `The story of ${pick(heroes, 1)} who ${pick(deeds, 8)} ${pick(places, 64)}, take ${index}.`,
    };
  });
}
