import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RowmillError } from "../../src/model/errors.js";
import { canonicalJson } from "../../src/model/json/canonical-json.js";
import type { Json, MessageSource, PipelineConfig, RowCells } from "../../src/model/pipeline.js";
import { compileRequest } from "../../src/model/request/render-request.js";
import { textProblem } from "../../src/model/words/storable-text.js";
import { compileMessage, templateProblems } from "../../src/model/request/template.js";
import { fingerprintOfBody, openaiEncoder } from "../../src/providers/openai/encoder.js";
import { asRecord } from "../../src/providers/openai/wire.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { fuzz, oddText, unhandledDuring } from "../support/fuzz.js";

const columns = ["body", "My Column", "__proto__", "{{"] as const;
const cells: fc.Arbitrary<RowCells> = fc
  .tuple(...columns.map(() => fc.option(oddText)))
  .map((values) => Object.fromEntries(columns.map((column, index) => [column, values[index] ?? null])));

const piece = fc.oneof(
  oddText,
  fc.constantFrom(
    "{{ body }}",
    '{{ row["My Column"] }}',
    '{{ ["{{"] }}',
    "{{ row.__proto__ }}",
    "{{ body | upcase | split: '' | join: ',' }}",
    "{{ body | date: '%Y' }}",
    "{{ body | no_such_filter }}",
    "{{ constructor }}",
    "{% for i in (1..1000000000) %}{{ i }}{% endfor %}",
    "{% for letter in body %}{{ letter }}{% endfor %}",
    "{% if body %}",
    "{% endif %}",
    "{% assign body = row %}",
    "{% include 'x' %}",
    "{% increment body %}",
    "{% capture body %}{{ body }}{% endcapture %}",
    "{{ body | slice: -5, 3 | json }}",
    "}}",
    "%}",
  ),
);
const template = fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join(""));

const [pipeline] = validateConfig(
  {
    database: "embedded",
    pipelines: {
      notes: {
        source: { table: "notes", key: "id", columns: ["body"] },
        request: { model: "gpt-4o-mini", user: "{{ body }}" },
        target: { table: "answers" },
      },
    },
  },
  { file: "/project/rowmill.config.json", language: "json", databaseUrl: null },
).pipelines;
if (pipeline === undefined) throw new Error("no pipeline");
const notes: PipelineConfig = pipeline;

/** Either there is a request that can be sent as one line, or nothing to ask, or a reason that can be stored. */
function expectRendered(user: MessageSource, row: RowCells): void {
  const render = compileRequest({ ...notes, request: { ...notes.request, user, system: user } });
  const rendered = render(row);
  if (rendered.kind === "failed") {
    expect(rendered.message.length).toBeLessThanOrEqual(500);
    expect(rendered.message).toMatch(/^request\.(user|system) ./);
    expect(textProblem(rendered.message)).toBeNull();
  }
  if (rendered.kind !== "request") return;
  const { request } = rendered;
  const attempt = { maxOutputTokens: request.maxOutputTokens, told: null, model: request.model };
  const { line, fingerprint } = openaiEncoder({ ...request, tokensPerByte: 1 })("1-1-0123456789ab", request, attempt);
  expect(textProblem(line)).toBeNull();
  expect(line).not.toContain("\n");
  const body = asRecord((JSON.parse(line) as { body: Json }).body) ?? {};
  const system = request.system === null ? [] : [{ role: "system", content: request.system }];
  expect(body).toMatchObject({ messages: [...system, { role: "user", content: request.user }] });
  expect(fingerprint).toMatch(/^[0-9a-f]{32}$/);
  expect(fingerprintOfBody(body)).toBe(fingerprint);
  expect(JSON.parse(canonicalJson(body as Json))).toEqual(body);
}

/** What functions of users do. */
const misdeeds: Readonly<Record<string, (row: RowCells) => unknown>> = {
  words: (row) => `About: ${row["body"]}`,
  nul: (row) => `${row["body"]}\u0000`,
  half: (row) => `${row["body"]}\ud800`,
  cutPair: () => "😀".repeat(10).slice(0, 5),
  long: () => "x".repeat(100_000),
  nothing: () => undefined,
  number: () => 3,
  list: () => ["a"],
  promise: () => Promise.resolve("later"),
  failing: () => Promise.reject(new Error("no one waits for this")),
  error: (row) => {
    throw new Error(`${"😀".repeat(238)} ${row["body"]}`);
  },
  bare: () => {
    throw Object.create(null);
  },
  spiteful: () => {
    // eslint-disable-next-line typescript/only-throw-error -- that is the misdeed
    throw {
      toString() {
        throw new Error("no words");
      },
    };
  },
  oddMessage: () => {
    throw Object.assign(new Error("x"), { message: Object.create(null) as string });
  },
};

describe("Whatever stands in a row", () => {
  it("a template renders it, or fails that row with a reason; a bad template is reported before", () => {
    fc.assert(
      fc.property(template, cells, (text, row) => {
        const problems = templateProblems(text, columns);
        for (const problem of problems) expect(problem).toMatch(/template/);
        try {
          compileMessage({ kind: "template", text });
        } catch (error) {
          if (!(error instanceof RowmillError)) throw error;
          expect(problems).not.toEqual([]);
          return;
        }
        expectRendered({ kind: "template", text }, row);
      }),
      fuzz("templates"),
    );
  });

  it("a function asks about it, or fails that row with a reason, and no promise is left to fail alone", async () => {
    const unhandled = await unhandledDuring(() =>
      fc.assert(
        fc.property(fc.constantFrom(...Object.keys(misdeeds)), cells, (name, row) => {
          const misdeed = misdeeds[name];
          if (misdeed === undefined) throw new Error(name);
          // As JavaScript has it: nothing checks what such a function gives.
          const source: MessageSource = {
            kind: "function",
            render: misdeed as (row: RowCells) => string | null,
          };
          expectRendered(source, row);
        }),
        fuzz("messages"),
      ),
    );
    expect(unhandled).toEqual([]);
  });
});
