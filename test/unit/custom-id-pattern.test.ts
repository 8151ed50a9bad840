import { describe, expect, it } from "vitest";
import { compileCustomIdPattern } from "../../src/model/request/custom-id-pattern.js";

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

  it("takes no digit for a number's that may be the separator's", () => {
    const row = { name: "row", type: "integer" };
    const pattern = compileCustomIdPattern("{imdb_id}0{row}", [id, row]);
    expect(pattern.read("5102")).toEqual(["51", "2"]);
    expect(pattern.read("5002")).toBeNull();
    expect(compileCustomIdPattern("{imdb_id}-{row}", [id, row]).read("-5--2")).toEqual(["-5", "-2"]);
  });

  it("reads a uuid with its hyphens or without, and nothing that follows it", () => {
    const pattern = compileCustomIdPattern("{part}-{region}", [{ name: "part", type: "uuid" }, region]);
    for (const part of ["00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff"])
      expect(pattern.read(`${part}-ab-c`)).toEqual([part, "ab-c"]);
  });

  it.each([
    ["task", 'The pattern "task" does not name {imdb_id}.'],
    ["task-{imdbid}", "names {imdbid}, which is no column of the key; did you mean {imdb_id}?"],
    ["{imdb_id}-{imdb_id}", "names a column twice."],
  ])("says what is wrong with %s", (text, problem) => {
    expect(() => compileCustomIdPattern(text, [id])).toThrow(problem);
  });

  it("wants something between two columns", () => {
    expect(() => compileCustomIdPattern("{day}{region}", [day, region])).toThrow("nothing between them");
  });
});
