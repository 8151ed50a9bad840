import fc from "fast-check";
import { Liquid } from "liquidjs";
import { expect, test } from "vitest";
import { compileMessage } from "../../src/model/request/template.js";

/** As far as text and cells go, the engine of `template.ts`. */
const liquid = new Liquid({ strictVariables: true, strictFilters: true, ownPropertyOnly: true });

const names = ["a", "B", "1st", "ünï", "a-b", "row", "size", "first", "true", "empty", "__proto__", "x y"];
const cell = fc.option(fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("", " ", "{{ a }}", "\n", "1")));
const row = fc.tuple(...names.map(() => cell)).map((cells) => {
  const entries = names.map((name, index): [string, string | null] => [name, cells[index] ?? null]);
  return Object.fromEntries(entries);
});

const name = fc.constantFrom(...names, "missing", "toString", "5", "-1", "nil");
const whole = name.chain((column) =>
  fc.constantFrom(column, `row.${column}`, `["${column}"]`, `row['${column}']`, `row["${column}"]`),
);
const other = name.chain((column) =>
  fc.constantFrom(
    `${column}.size`,
    `${column}[0]`,
    `row[${column}]`,
    `["a\\"b"]`,
    `row . ${column}`,
    `row`,
    `${column} | upcase`,
    `not ${column}`,
    `${column} == 1`,
    `${column}==1`,
    `${column}, B`,
    `${column} and B`,
    `(1..3)`,
    `"${column}"`,
    `'${column}'`,
    `${column}-`,
    `-${column}`,
    ``,
  ),
);
const written = fc
  .tuple(
    fc.constantFrom("{{", "{{-", "{{ ", "{{- ", "{{\n"),
    fc.oneof({ weight: 4, arbitrary: whole }, { weight: 1, arbitrary: other }),
    fc.constantFrom("}}", "-}}", " }}", " -}}"),
  )
  .map((parts) => parts.join(""));
const tags = fc.constantFrom("{% if a %}", "{%- endif -%}", "{% assign a = 1 %}", "{%- # note -%}");
const text = fc.constantFrom(" ", "\n  ", " is ", "}}", "%}", "'", "{", "€", "\u2028");
const template = fc.array(
  fc.oneof({ weight: 5, arbitrary: written }, { weight: 4, arbitrary: text }, { weight: 1, arbitrary: tags }),
  { maxLength: 6 },
);

/** What it says, or that it fails. */
function outcome(work: () => string | null): string | null {
  try {
    return `said ${work()}`;
  } catch {
    return "failed";
  }
}

test("a template says what liquidjs says, also where it is put together without it", () => {
  fc.assert(
    fc.property(template, row, (parts, cells) => {
      const source = { kind: "template" as const, text: parts.join("") };
      const plainly = outcome(() => compileMessage(source, "system")(cells));
      const liquidly = outcome(() => {
        const words = String(liquid.parseAndRenderSync(source.text, { ...cells, row: cells }));
        return words.trim() === "" ? null : words;
      });
      expect(plainly).toBe(liquidly);
    }),
    { numRuns: 1_000 },
  );
});

test("whole cells and text alone are put together without liquidjs", () => {
  const render = (words: string) => compileMessage({ kind: "template", text: words }, "user");
  const renderSync = Liquid.prototype.renderSync;
  const messages = ["{{ a }}: {{- row.B }}", `x {{ ["x y"] }}{{ row['x y'] -}} .`].map(render);
  try {
    Liquid.prototype.renderSync = () => {
      throw new Error("liquidjs was asked");
    };
    expect(messages.map((message) => message({ a: "1", B: null, "x y": "2" }))).toEqual(["1:", "x 22."]);
  } finally {
    Liquid.prototype.renderSync = renderSync;
  }
});
