import { describe, expect, it } from "vitest";
import type { Cell } from "../../src/model/connector.js";
import { cellText, rowText } from "../../src/model/request/sync-row.js";

const shape = { key: ["id"], columns: ["id", "title"] };

describe("A row from elsewhere", () => {
  it.each<[string, Cell, string | null]>([
    ["a text", "a", "a"],
    ["a number", 1.5, "1.5"],
    ["a large whole number", 9007199254740993n, "9007199254740993"],
    ["a date", new Date(0), "1970-01-01T00:00:00.000Z"],
    ["bytes", new Uint8Array([0, 255]), "\\x00ff"],
    ["an object, whatever the order of its names", { b: 1, a: { d: 2, c: 3 } }, '{"a":{"c":3,"d":2},"b":1}'],
    ["a list, in its order", [3, 1, "a"], '[3,1,"a"]'],
    ["nothing", undefined, null],
    ["an object that gives no JSON", { toJSON: () => undefined }, null],
  ])("keeps %s as text", (_name, value, text) => {
    expect(cellText(value)).toBe(text);
  });

  const circle: { self?: object } = {};
  circle.self = circle;
  it.each<[string, Cell]>([
    ["a date that is none", new Date(Number.NaN)],
    ["an object that holds itself", circle],
    ["half of a surrogate pair", "\ud800"],
    ["U+0000", "\0"],
  ])("is refused by its key where a value is %s", (_name, title) => {
    expect(rowText({ id: 7, title }, shape)).toMatchObject({ key: "7", keyText: '{"id":"7"}' });
  });

  it("is refused without a key where that is the wrong value, or is missing", () => {
    expect(rowText({ id: "\0" }, shape)).toMatchObject({ key: null, keyText: null });
    expect(rowText({ title: "\0" }, shape)).toMatchObject({ key: null, keyText: null });
  });
});
