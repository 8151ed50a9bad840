/** Paths into columns of json and jsonb. */
import { describe, expect, test } from "vitest";
import { compileMessage, pathProblems } from "../../src/model/request/template.js";

const meta = `{"title": "Heat", "price": 1.10, "big": 12345678901234567890, "huge": 1e400, "year": 1995, "seen": true, "none": null,
  "tags": ["crime", "LA"], "cast": [{"name": "Pacino"}, {"name": "De Niro"}], "odd key": {"a.b": "x"}, "": "nothing", "size": 7,
  "toString": "own", "constructor": "own too", "__proto__": "and this", "blank": " ", "deep": {"list": [1.50, {"n": -0}]}}`;
const list = '[10, 9007199254740993, ["x"]]';
const jsonColumns = new Set(["meta", "list", "text"]);

const render = (text: string, row: Record<string, string | null> = { meta, list, Title: "T" }) =>
  compileMessage({ kind: "template", text }, "user", jsonColumns)(row);

describe("a path into a column of JSON", () => {
  test.each([
    ["{{ meta.title }}", "Heat"],
    ["{{ row.meta.title }} {{ row['meta']['title'] }}", "Heat Heat"],
    ["{{ meta.tags.0 }} {{ meta.tags[1] }} {{ meta.tags[-1] }}", "crime LA LA"],
    ["{{ meta.cast[1].name }} {{ meta.cast.0.name }}", "De Niro Pacino"],
    ['{{ meta["odd key"]["a.b"] }}{{ meta[""] }}', "xnothing"],
    ["{{ meta.price }} {{ meta.big }} {{ meta.huge }} {{ meta.year }}", "1.10 12345678901234567890 1e400 1995"],
    ["{{ list[1] }} {{ list.0 }} {{ list[2][0] }}", "9007199254740993 10 x"],
    ["{{ meta.seen }}{{ meta.none }}{{ meta.missing }}{{ meta.missing.further[3] }}{{ meta.title.x }}.", "true."],
    ["{{ meta.size }} {{ meta.tags.size }} {{ meta.tags.first }} {{ list.last }}", '7 2 crime ["x"]'],
    ["{{ meta.tags }} {{ meta.deep }}", '["crime", "LA"] {"list": [1.50, {"n": -0}]}'],
    [
      '{{ meta.tags | join: ", " }} {{ meta.title | upcase }} {{ meta.deep | upcase }}',
      'crime, LA HEAT {"LIST": [1.50, {"N": -0}]}',
    ],
    ["{% for one in meta.cast %}{{ one.name }}{{ one.role }};{% endfor %}", "Pacino;De Niro;"],
    ["{% for one in meta.deep %}{{ one[0] }}={{ one[1] }}{% endfor %}", 'list=[1.50, {"n": -0}]'],
    ["{% if meta.price > 1 and meta.big > 5 and meta.price == 1.1 %}dear{% endif %}", "dear"],
    ["{{ meta.price | times: 2 }} {{ meta.year | plus: 1 }}", "2.2 1996"],
    ["{{ meta.toString }} {{ meta.constructor }} {{ meta.__proto__ }}", "own own too and this"],
    ["{{ Title }}{{ list.toString }}{{ list.constructor }}{{ meta.deep.constructor }}{{ list[0].toFixed }}", "T"],
    ["{% assign key = 'title' %}{{ meta[key] }} {{ meta.year }}", "Heat 1995"],
    ["{{ Title }} {{ Title.size }} {{ meta.year }}", "T 1 1995"],
  ])("%s gives %s", (text, expected) => {
    expect(render(text)).toBe(expected);
  });

  test("leaves the whole column its exact text, with such a path beside it and without", () => {
    expect(render("{{ meta }}")).toBe(meta);
    expect(render("{{ meta }}{{ meta.missing }}{{ row.meta }}")).toBe(`${meta}${meta}`);
    expect(render("{{ list }}{{ list[9] }}")).toBe(list);
    expect(render("{{ text }}{{ text.x }}", { text: ' "a\\u0062" ' })).toBe(' "a\\u0062" ');
  });

  test("prints a list of a template's own as ever", () => {
    expect(render('{{ "a,b" | split: "," }}')).toBe("ab");
  });

  test.each<[string, Record<string, string | null>, string | null]>([
    ["{{ meta.title }}", { meta: null }, null],
    ["{{ meta.missing }} {{ meta.none }} {{ meta.blank }} {{ meta.tags[7] }}", { meta }, null],
    ["Film: {{ meta.missing }} {{ Title }}", { meta, Title: " " }, null],
    ["Film: {{ meta.missing }} {{ Title }}", { meta: "null", Title: "T" }, "Film:  T"],
    ["{{ meta.year }}", { meta: '{"year": 0}' }, "0"],
    ["{{ meta.tags }}", { meta: '{"tags": []}' }, "[]"],
    ["{{ meta[Title].x }}", { meta: "{}", Title: null }, "nothing inside"],
  ])("%s over %j has something to ask: %j", (text, row, expected) => {
    const words = render(text, row);
    if (expected === "nothing inside") expect(words).toBeNull();
    else expect(words).toBe(expected);
  });

  test("fails the row whose cell has no such field to read", () => {
    expect(() => render("{{ meta.a }}", { meta: "no JSON" })).toThrow();
    expect(() => render("{{ meta.a }}", { meta: `${"[".repeat(600)}${"]".repeat(600)}` })).toThrow("deeper");
    expect(() => render("{{ meta.a }}", { meta: `[${"1,".repeat(250_001)}1]` })).toThrow("more than");
  });
});

describe("a path into a column of another type", () => {
  const types = new Map([
    ["Title", "text"],
    ["meta", "jsonb"],
    ["raw", "json"],
    ["a.b", "text"],
    ["tags", "text[]"],
  ]);

  test.each([
    ["{{ Title }} {{ meta.a.b }} {{ raw[0] }} {{ row.meta }}", []],
    ['{{ row["a.b"] }} {{ ["a.b"] }} {{ Title.size }} {{ Title[0] }} {{ row[Title] }}', []],
    ["{{ Title.x }} {{ Title.y }}", ['the template has a path into "Title", which is of type text: only json']],
    ["{{ row.tags.first }}{% for x in Title.list %}{% endfor %}", ['"tags", which is of type text[]', '"Title"']],
    ['{{ ["a.b"].c }}', ['has a path into "a.b"']],
  ])("%s", (text, parts) => {
    const problems = pathProblems(text, types);
    expect(problems.length).toBe(parts.length);
    for (const [index, part] of parts.entries()) expect(problems[index]).toContain(part);
  });
});
