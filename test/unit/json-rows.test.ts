import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutRows, textProblem } from "../../src/model/json/json-rows.js";

describe("The body of a push", () => {
  it.each<[string, string[]]>([
    ["[]", []],
    [' [ {"a": 1} , {"b":[1,{"c":"]"}]},5, null, "x" ] ', ['{"a": 1}', '{"b":[1,{"c":"]"}]}', "5", "null", '"x"']],
    ['{"data":[{"n":9007199254740993}],"min_id":0}', ['{"n":9007199254740993}']],
    ['{"min_id":null,"data" : null}', []],
    ['{"data":[1],"d\\u0061ta":[{"x":2}]}', ['{"x":2}']],
    ['\uFEFF{"id": 1, "rows": "data"}', ['{"id": 1, "rows": "data"}']],
    ['{"x":{"data":[1]}}', ['{"x":{"data":[1]}}']],
  ])("is cut into the texts of its rows: %s", (body, rows) => {
    expect(cutRows(body)).toEqual({ rows });
  });

  it.each<[string, number]>([
    ["", 0],
    [" \n", 2],
    ["[1,]", 3],
    ['[{"a":1}', 8],
    ['{"data": 5}', 9],
    ["5", 0],
    ["[] []", 3],
    ['{"a": 01}', 7],
  ])("is refused with the place where it breaks off: %s", (body, at) => {
    expect(cutRows(body)).toEqual({ problem: expect.stringMatching(/\.$/), at });
  });

  it("is refused at once where it is nested too deeply", () => {
    expect(cutRows("[".repeat(10_000_000))).toEqual({
      problem: "The body is not JSON, or is nested too deeply.",
      at: 500,
    });
  });

  it("gives what JSON.parse finds in it", () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), fc.boolean(), (rows, isWrapped) => {
        const body = JSON.stringify(isWrapped ? { data: rows, min_id: 1 } : rows, null, isWrapped ? 1 : 0);
        const cut = cutRows(body);
        expect("rows" in cut && cut.rows.map((row) => JSON.parse(row) as unknown)).toEqual(
          JSON.parse(JSON.stringify(rows)),
        );
      }),
    );
  });
});

describe("Text that PostgreSQL cannot hold", () => {
  const half = "its text has half of a surrogate pair, which PostgreSQL cannot hold";
  it.each<[string, string | null]>([
    ['{"a":"x"}', null],
    ['{"a":"\\u0000"}', "its text has \\u0000, which PostgreSQL cannot hold"],
    ['{"a":"\\\\u0000"}', null],
    ['{"a":"\\\\\\u0000"}', "its text has \\u0000, which PostgreSQL cannot hold"],
    ['{"a":"\\ud83d\\ude00"}', null],
    ['{"a":"\\uD83D\\uDE00\\ud83d\\ude00"}', null],
    ['{"a":"\\ud83d"}', half],
    ['{"a":"\\ude00"}', half],
    ['{"a":"\\ud83dx\\ude00"}', half],
    ['{"a":"\\ud83d\\ud83d\\ude00"}', half],
    ['{"a":"\\ud83d\\n"}', half],
    ['{"a":"\\ud83d","b":"\\ud83d\\ude00"}', half],
  ])("is found in %s", (row, problem) => {
    expect(textProblem(row)).toBe(problem);
  });
});
