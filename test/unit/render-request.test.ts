import { describe, expect, test } from "vitest";
import { canonicalJson } from "../../src/model/json/canonical-json.js";
import type { Json, MessageSource, RowCells } from "../../src/model/pipeline.js";
import { compileRequest } from "../../src/model/request/render-request.js";
import { smallPipeline } from "../support/small-pipeline.js";

const template = (text: string): MessageSource => ({ kind: "template", text });
const call = (render: (row: RowCells) => unknown): MessageSource => ({
  kind: "function",
  render: render as (row: RowCells) => string | null,
});

describe("rendering a row", () => {
  test("gives a request with everything that shapes the answer", () => {
    const render = compileRequest(smallPipeline(template("{{ title }}"), template("Label films.")));
    expect(render({ title: "Heat" })).toEqual({
      kind: "request",
      request: {
        model: "gpt-4o-mini",
        system: "Label films.",
        user: "Heat",
        maxOutputTokens: 99,
        parameters: { temperature: 0.1 },
        schema: { name: "answer", schema: expect.objectContaining({ required: ["genre"] }) },
      },
    });
  });

  test.each<[string, MessageSource]>([
    ["an empty cell", template("{{ title }}")],
    ["a function that gives null", call(() => null)],
  ])("is empty for %s", (_, user) => {
    expect(compileRequest(smallPipeline(user))({ title: null })).toEqual({ kind: "empty" });
  });

  test.each<[string, MessageSource, string]>([
    ["throws", call(missing), "no such"],
    ["gives a number", call(() => 5), "returned a value of type number"],
    ["gives nothing", call(() => undefined), "returned undefined"],
    ["is async", call(async () => "x"), "returned a promise"],
    ["gives half a surrogate pair", call(() => "a\ud83d"), "surrogate"],
    ["gives U+0000", call(() => "a\u0000"), "U+0000"],
    ["names a cell that is not there", template("{{ titel }}"), "titel"],
  ])("fails alone when the message %s", (_, user, message) => {
    const failed = { kind: "failed", message: expect.stringContaining(message) };
    expect(compileRequest(smallPipeline(user))({ title: "x" })).toEqual(failed);
    expect(compileRequest(smallPipeline(template("{{ title }}"), user))({ title: "x" })).toEqual(failed);
  });

  test("says which message failed, in few words that can be stored", () => {
    const user = call(() => {
      throw new Error(`${"x".repeat(5_000)}\u0000`);
    });
    const rendered = compileRequest(smallPipeline(user))({ title: "x" });
    const message = rendered.kind === "failed" ? rendered.message : "";
    expect(message).toMatch(/^request\.user failed: x+$/);
    expect(message.length).toBeLessThanOrEqual(500);
  });

  test("leaves an empty system message out", () => {
    const render = compileRequest(
      smallPipeline(
        template("{{ title }}"),
        call(() => null),
      ),
    );
    expect(render({ title: "x" })).toMatchObject({ kind: "request", request: { system: null } });
  });
});

function missing(): never {
  throw new Error("no such column");
}

test.each<[Json, string]>([
  [{ b: 1, a: [{ d: null, c: true }] }, '{"a":[{"c":true,"d":null}],"b":1}'],
  [{ é: 1, z: 2, "10": 3, "9": 4 }, '{"10":3,"9":4,"z":2,"é":1}'],
  ['a\u2028"b', '"a\u2028\\"b"'],
  [-0, "0"],
])("canonical JSON of %j", (value, text) => {
  expect(canonicalJson(value)).toBe(text);
});
