import { describe, expect, test } from "vitest";
import { compileMessage, templateProblems, TEMPLATE_LENGTH_MAX } from "../../src/model/request/template.js";
import { nearMatch } from "../../src/model/words/near-match.js";

const render = (text: string, row: Record<string, string | null>, role?: "user" | "system") =>
  compileMessage({ kind: "template", text }, role)(row);

describe("a template over a row", () => {
  const row = { Title: "Heat", "My Column": "x y", "1st": "one", ünï: "u", note: null };

  test.each([
    ["{{ Title }}", "Heat"],
    ["{{Title}} and {{ row.Title }}", "Heat and Heat"],
    ['{{ ["My Column"] }}', "x y"],
    ['{{ row["My Column"] }}', "x y"],
    ["{{ 1st }} {{ ünï }}", "one u"],
    ["{{ Title | upcase }}", "HEAT"],
    ["{{ Title }}{{ note }}.", "Heat."],
    ["{{ Title }}{% if note %} has a note{% endif %}", "Heat"],
    ['{{ note | default: "none" }} {{ Title }}', "none Heat"],
    ["{% for cell in row %}{{ cell[0] }} {% endfor %}", "Title My Column 1st ünï note "],
    ["no cell at all", "no cell at all"],
  ])("%s gives %s", (text, expected) => {
    expect(render(text, row)).toBe(expected);
  });

  test("formats dates in UTC, whatever the machine's time zone", () => {
    expect(render('{{ at | date: "%Y-%m-%d %H:%M %A" }}', { at: "2026-01-01T23:30:00-05:00" })).toBe(
      "2026-01-02 04:30 Friday",
    );
  });

  test("gives the same words again for the same row", () => {
    const message = compileMessage({
      kind: "template",
      text: "{% increment n %}{% cycle 'a','b' %}{{ Title }}",
    });
    expect(message(row)).toBe(message(row));
  });
});

describe("nothing to ask", () => {
  test.each([
    ["{{ a }} {{ b }}", { a: null, b: "  \n" }, null],
    ["Movie: {{ a }} {{ row.b }}", { a: null, b: "" }, null],
    ["Movie: {{ a }} {{ b }}", { a: null, b: "x" }, "Movie:  x"],
    ["{{ row | json }}", { a: null, b: " " }, null],
    ["   ", { a: "x" }, null],
    ["{% if a %}{% endif %}", { a: "x" }, null],
  ])("user message %j over %j is %j", (text, row, expected) => {
    expect(render(text, row)).toBe(expected);
  });

  test("a system message keeps its constant part where the cells are empty", () => {
    expect(render("You label films. {{ hint }}", { hint: null }, "system")).toBe("You label films. ");
    expect(render("{{ hint }}", { hint: null }, "system")).toBeNull();
  });

  test("a function's answer is taken as it is", () => {
    expect(compileMessage({ kind: "function", render: (row) => row["a"] ?? null })({ a: null })).toBeNull();
  });
});

describe("problems of a template", () => {
  test.each([
    ["{{ Title }} {{ row.Title }} {{ row['My Column'] }} {{ [\"My Column\"] }}", []],
    ["{% assign x = Title %}{{ x }}{% for i in (1..2) %}{{ forloop.index }}{{ i }}{% endfor %}", []],
    ["{{ row[Title] }}", []],
    ["{{ Titel }}", ['names "Titel", which is not a declared column; did you mean "Title"?']],
    ["{{ row.zzz }}", ['names "zzz", which is not a declared column; the columns are: "Title", "My Column"']],
    ["{% if Titl %}{{ Title | append: mycolumn }}{% endif %}", ['"Titl"', '"mycolumn"']],
    ["{{ Title", ["cannot be read", "not closed"]],
    ["{% nonsense %}", ['tag "nonsense" not found']],
    ["{{ Title | shout }}", ["undefined filter: shout"]],
    ["{{ Title | sample }}", ["undefined filter: sample"]],
    ["{% include 'x' %}", ["cannot read other files"]],
    ["{% render '/etc/passwd' %}", ["cannot read other files"]],
    ["{% layout 'x' %}", ["cannot read other files"]],
  ])("%s", (text, parts) => {
    const problems = templateProblems(text, ["Title", "My Column"]).join("\n");
    if (parts.length === 0) expect(problems).toBe("");
    for (const part of parts) expect(problems).toContain(part);
  });

  test("a template that is too long is refused", () => {
    expect(templateProblems("x".repeat(TEMPLATE_LENGTH_MAX + 1), [])).toEqual([
      `the template is longer than ${TEMPLATE_LENGTH_MAX} characters`,
    ]);
  });

  test("compiling a template that cannot be read throws what the config says of it", () => {
    expect(() => compileMessage({ kind: "template", text: "{{ a" })).toThrow(
      expect.objectContaining({ code: "config_invalid" }),
    );
  });
});

describe("the sandbox", () => {
  test.each([
    "{{ row.constructor }}",
    "{{ row.__proto__ }}",
    "{{ missing }}",
    "{{ row[a] }}",
    "{% for i in (1..1000000000) %}x{% endfor %}",
    '{{ "now" | date: "%s" }}',
    '{{ "today" | date_to_xmlschema }}',
  ])("%s throws", (text) => {
    expect(() => render(text, { a: "x" })).toThrow();
  });
});

test.each([
  ["Titel", "Title"],
  ["descriptoin", "Description"],
  ["TITLE", "Title"],
  ["xyz", null],
  ["a", null],
])("the near match of %s is %s", (word, expected) => {
  expect(nearMatch(word, ["Title", "Description", "imdb_id"])).toBe(expected);
});
