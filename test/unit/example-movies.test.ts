/** The films of examples/movies are whole, plausible, and described in words of our own. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { films } from "../support/films.js";

const text = readFileSync(join(import.meta.dirname, "../../examples/movies/movies.csv"), "utf8");

const movies = z
  .array(
    z.strictObject({
      id: z.string(),
      title: z.string(),
      year: z.string(),
      genres: z.string(),
      director: z.string(),
      description: z.string(),
    }),
  )
  .parse(parse(text, { columns: true }));

/** A run this long in two descriptions of one film is a copy; shorter ones are everyday English. */
const runWords = 6;

function words(description: string): string[] {
  return description
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s]/gu, "")
    .split(/\s+/)
    .filter((word) => word !== "");
}

function runs(description: string): string[] {
  const all = words(description);
  return all.slice(runWords - 1).map((_, start) => all.slice(start, start + runWords).join(" "));
}

function sentences(description: string): number {
  return description.match(/[.!?]+["”’]?(?=\s|$)/g)?.length ?? 0;
}

function titlesWhere(isWrong: (movie: (typeof movies)[number]) => boolean): string[] {
  return movies.filter(isWrong).map((movie) => movie.title);
}

describe("examples/movies/movies.csv", () => {
  it("has a header, one line ending, and at least 250 films with running ids", () => {
    expect(text.split("\n", 1)).toEqual(["id,title,year,genres,director,description"]);
    expect(text).not.toMatch(/[\r\uFEFF\uFFFD]/);
    expect(movies.length).toBeGreaterThanOrEqual(250);
    expect(movies.map((movie) => movie.id)).toEqual(movies.map((_, index) => String(index + 1)));
  });

  it("names no film twice", () => {
    const names = movies.map((movie) => `${movie.title.toLowerCase()} (${movie.year})`);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  it("gives each film a title, a year, one to three genres and a director", () => {
    expect(titlesWhere(({ title }) => title.trim() === "" || title !== title.trim())).toEqual([]);
    expect(titlesWhere(({ year }) => !/^\d{4}$/.test(year) || +year < 1900 || +year > 2026)).toEqual([]);
    expect(titlesWhere(({ genres }) => !/^[a-z]+( [a-z]+)*(\|[a-z]+( [a-z]+)*){0,2}$/.test(genres))).toEqual([]);
    expect(titlesWhere(({ director }) => !/^[^&]*\S[^&]*( & [^&]+)?$/.test(director))).toEqual([]);
  });

  it("describes each film in one to three sentences of 10 to 80 words", () => {
    const lengths = (description: string) => words(description).length;
    expect(titlesWhere(({ description: d }) => lengths(d) < 10 || lengths(d) > 80)).toEqual([]);
    expect(titlesWhere(({ description: d }) => sentences(d) < 1 || sentences(d) > 3)).toEqual([]);
  });

  it("shares no six words in a row with the descriptions of ROWMILL_TEST_FILMS", ({ skip }) => {
    if (!process.env["ROWMILL_TEST_FILMS"]) skip("ROWMILL_TEST_FILMS names no file of real films");
    const theirs = new Set(films().flatMap((film) => runs(film.description)));
    expect(theirs.size).toBeGreaterThan(films().length);
    const shared = movies.flatMap(({ title, description }) =>
      runs(description)
        .filter((run) => theirs.has(run))
        .map((run) => `${title}: ${run}`),
    );
    expect(shared).toEqual([]);
  });
});
