import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findJsonMistake } from "../../src/config/load/json-position.js";

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("findJsonMistake", () => {
  test.each([
    ["", 1, 1, "a value"],
    ['{"a":1,}', 1, 8, "a key in double quotes"],
    ['{\n  "a" 1\n}', 2, 7, "a colon"],
    ['{\n  "a": 1\n  "b": 2\n}', 3, 3, "a comma or }"],
    ["[1 2]", 1, 4, "a comma or ]"],
    ["[1,]", 1, 4, "a value"],
    ["{} {}", 1, 4, "the end of the file"],
    ['{"a": tru}', 1, 7, "a value"],
    ["// comment\n{}", 1, 1, "a value"],
    ["{'a': 1}", 1, 2, "a key in double quotes"],
    ["[01]", 1, 2, "a value"],
    ['["\n"]', 1, 2, "a value"],
    ["[", 1, 2, "a value"],
    ["{\r\n", 2, 1, "a key in double quotes"],
  ])("in %j points at line %i, column %i", (text, line, column, expected) => {
    expect(isJson(text)).toBe(false);
    expect(findJsonMistake(text)).toEqual({ line, column, expected });
  });

  test("agrees with JSON.parse on what is JSON, for JSON with one character changed", () => {
    const characters = Array.from('{}[]:,"\\0123-.eEtfn \n\t\u0001\u007f\u00a0\u2028\ufeff');
    const change = fc.tuple(fc.json(), fc.nat(), fc.constantFrom(...characters));
    fc.assert(
      fc.property(change, ([json, at, character]) => {
        const index = at % (json.length + 1);
        const changed = json.slice(0, index) + character + json.slice(index + 1);
        expect(findJsonMistake(json)).toBeNull();
        expect(findJsonMistake(changed) === null).toBe(isJson(changed));
      }),
      { numRuns: 2_000 },
    );
  });

  test("is not exhausted by deep nesting and long strings", () => {
    expect(findJsonMistake(JSON.stringify("x".repeat(3_000_000)))).toBeNull();
    expect(findJsonMistake("[".repeat(200_000))).toMatchObject({ column: 200_001 });
  });
});
