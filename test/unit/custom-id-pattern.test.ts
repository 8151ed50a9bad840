import { describe, expect, it } from "vitest";
import { compileCustomIdPattern } from "../../src/model/custom-id-pattern.js";

const id = { name: "imdb_id", type: "bigint" };
const day = { name: "day", type: "date" };
const region = { name: "region", type: "text" };
const city = { name: "city", type: "text" };

describe("A pattern of custom ids", () => {
  it("reads the key's parts in the key's own order, and fits the whole name only", () => {
    expect(compileCustomIdPattern("task-{imdb_id}", [id]).read("task-42")).toEqual(["42"]);
    expect(compileCustomIdPattern("task-{imdb_id}", [id]).read("a task-42")).toBeNull();
    expect(compileCustomIdPattern("task-{imdb_id}", [id]).read("task-42-1")).toBeNull();
    expect(compileCustomIdPattern("a.b*{region}|{day}", [day, region]).read("a.b*eu|2026-11-22")).toEqual([
      "2026-11-22",
      "eu",
    ]);
  });

  it("cuts by the types of the columns, and refuses a name that can be read in two ways", () => {
    const byDay = compileCustomIdPattern("{day}-{region}", [day, region]);
    expect(byDay.read("2026-11-22-eu-7")).toEqual(["2026-11-22", "eu-7"]);
    const byCity = compileCustomIdPattern("{region}-{city}", [region, city]);
    expect(byCity.read("eu-paris")).toEqual(["eu", "paris"]);
    expect(byCity.read("eu-aix-les-bains")).toBeNull();
  });

  it.each([
    ["task", 'The pattern "task" does not say where {imdb_id} stands.'],
    ["task-{imdbid}", "names {imdbid}, which is no column of the key; did you mean {imdb_id}?"],
    ["{imdb_id}-{imdb_id}", "names a column twice."],
  ])("says what is wrong with %s", (text, problem) => {
    expect(() => compileCustomIdPattern(text, [id])).toThrow(problem);
  });

  it("wants something between two columns", () => {
    expect(() => compileCustomIdPattern("{day}{region}", [day, region])).toThrow("nothing between them");
  });
});
