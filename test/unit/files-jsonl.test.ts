import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { lookAtFile } from "../../src/files/look-at-file.js";
import { RECORD_BYTES_MAX } from "../../src/files/record-cutter.js";
import {
  column,
  readTable,
  recordsIn,
  shown,
  writeAnswers,
  written,
  type WriteAnswers,
} from "../support/file-tables.js";

async function labelled(content: string, options: WriteAnswers & { out?: string } = {}): Promise<string> {
  const { out: name = "out.jsonl", ...rest } = options;
  const path = await written(content, "rows.jsonl");
  const out = join(dirname(path), name);
  await writeAnswers(await lookAtFile(path), out, rest);
  return readFile(out, "utf8");
}

test("values become texts as they stand: numbers keep their digits, objects and lists are JSON", async () => {
  const read = await readTable(
    '{"id":12345678901234567890,"price":1.10,"big":1e400,"yes":true,"none":null,' +
      '"text":"a\\n\\"b\\" \\u00e4","list":[1, 2.0],"more":{"a": [ {} ]}}\n',
    "rows.jsonl",
  );
  expect(shown(read)).toEqual([
    ["12345678901234567890", "1.10", "1e400", "true", null, 'a\n"b" ä', "[1, 2.0]", '{"a": [ {} ]}'],
  ]);
});

test("a line that is no object fails alone, with its line number", async () => {
  const text = '{"a":1}\n[1]\n"x"\n12\nnull\nnot json\n{"a":}\n{"a":1} {"a":2}\n{"a":1,}\n{"a":"\\x"}\n{"a":2}\n';
  const bad = 'It is not a JSON object, such as {"title": "…"}. Write one object on each line.';
  expect(shown(await readTable(text, "rows.jsonl"))).toEqual([
    ["1"],
    `2: ${bad}`,
    `3: ${bad}`,
    `4: ${bad}`,
    `5: ${bad}`,
    `6: ${bad}`,
    "7: It is not valid JSON: the first mistake is at character 6.",
    "8: Text follows the JSON object. Write one object on each line.",
    "9: It is not valid JSON: the first mistake is at character 8.",
    "10: It is not valid JSON: the first mistake is at character 7.",
    ["2"],
  ]);
});

test("a key that is there twice has its last value, and both stay in the output", async () => {
  expect(shown(await readTable('{"a":1,"b":2,"a":3}\n', "rows.jsonl"))).toEqual([["3", "2"]]);
  expect(await labelled('{"a":1,"b":2,"a":3}\n')).toBe('{"a":1,"b":2,"a":3,"label":"answer 0"}\n');
});

test("a key that is written with escapes, or called __proto__, is read", async () => {
  const read = await readTable('{"\\u0061 b":1,"__proto__":{"x":1},"":2}\n', "rows.jsonl");
  expect(read.look.columns).toEqual(["a b", "__proto__", ""]);
  expect(shown(read)).toEqual([["1", '{"x":1}', "2"]]);
});

test("blank lines are passed over, Windows line ends and a byte order mark are read, lines are counted", async () => {
  const read = await readTable('\ufeff{"a":1}\r\n\r\n\n{"a":2}', "rows.jsonl");
  expect(read.records.map(({ line }) => line)).toEqual([1, 4]);
  expect(read.look).toMatchObject({ bom: true, lineEnd: "\r\n" });
});

test("U+0000 and half surrogate pairs, also in escapes, fail alone", async () => {
  const text = '{"a":"x"}\n{"a":"\\u0000"}\n{"a":{"b":"\\u0000"}}\n{"a":"\\ud800"}\n{"a":"\\ud83d\\ude00"}\n';
  expect(shown(await readTable(text, "rows.jsonl"))).toEqual([
    ["x"],
    "2: It holds the character U+0000, which a table cannot store. Remove it.",
    "3: It holds the character U+0000, which a table cannot store. Remove it.",
    "4: It holds half of a surrogate pair, which is no character.",
    ["😀"],
  ]);
});

test("deeply nested JSON fails alone", async () => {
  const deep = `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  const read = await readTable(`{"a":1}\n${deep}\n{"a":2}\n`, "rows.jsonl");
  expect(read.records.map((record) => "problem" in record)).toEqual([false, true, false]);
});

test("a line above 16 MiB fails alone", async () => {
  const path = await written(`{"a":1}\n{"a":"${"x".repeat(RECORD_BYTES_MAX)}"}\n{"a":2}\n`, "rows.jsonl");
  const records = await recordsIn(await lookAtFile(path));
  expect(records.map((record) => [record.line, "problem" in record])).toEqual([
    [1, false],
    [2, true],
    [3, false],
  ]);
});

test("a JSON list, and JSON that spans lines, are refused with the command that converts them", async () => {
  await expect(readTable('[\n  {"a":1}\n]\n', "rows.json")).rejects.toMatchObject({
    hints: ["Convert it: jq -c '.[]' FILE > FILE.jsonl"],
  });
  await expect(readTable('{\n  "a":1\n}\n', "rows.json")).rejects.toThrow("has no line that is a JSON object");
});

test("JSON on each line is recognised without the name", async () => {
  expect((await readTable('{"a":1}\n', "rows.txt")).look.format).toBe("jsonl");
  expect((await readTable("{a},b\n1,2\n", "rows.txt")).look.format).toBe("csv");
});

test("a line keeps its bytes, and fields are added before its closing brace", async () => {
  expect(await labelled('{ "a": 1.10 , "b":{"c":2} }  \n{}\n { } \n')).toBe(
    '{ "a": 1.10 , "b":{"c":2} ,"label":"answer 0"}  \n{"label":"answer 1"}\n {"label":"answer 2" } \n',
  );
});

test("answers are typed: numbers with their digits, lists, objects, and null where there is none", async () => {
  const columns = [column("count", "bigint"), column("tags", "text[]"), column("more", "jsonb"), column("text")];
  const output = await labelled('{"a":1}\n{"a":2}\n', {
    answer: columns,
    errors: true,
    answerTo: (index) =>
      index === 0 ? { count: "9007199254740993", tags: ["a", "b"], more: { c: 1 }, text: "=1" } : null,
  });
  expect(output).toBe(
    '{"a":1,"count":9007199254740993,"tags":["a","b"],"more":{"c":1},"text":"=1","error":null}\n' +
      '{"a":2,"count":null,"tags":null,"more":null,"text":null,"error":null}\n',
  );
});

test("a name that only a later line has gives the added field a number", async () => {
  const filler = `{"a":"${"x".repeat(1000)}"}\n`.repeat(1200);
  const output = await labelled(`${filler}{"a":1,"l\\u0061bel":"mine"}\n`);
  expect(output.endsWith('{"a":1,"l\\u0061bel":"mine","label_2":"answer 1200"}\n')).toBe(true);
  expect(output.slice(0, 1100)).toContain('"label_2":"answer 0"');
});

test("a line that failed is written as a text, with its error", async () => {
  expect(await labelled('{"line":1}\nnot "json\n', { errors: true })).toBe(
    '{"line":1,"label":"answer 0","error":null}\n' +
      '{"line_2":"not \\"json","label":null,"error":' +
      '"It is not a JSON object, such as {\\"title\\": \\"…\\"}. Write one object on each line."}\n',
  );
});

test("JSONL becomes CSV with all names of the file, also those of its last line", async () => {
  const filler = `{"a":"${"x".repeat(1000)}"}\n`.repeat(1200);
  const output = await labelled(`${filler}{"b":{"c":[1]},"a":null}\n`, { out: "out.csv" });
  expect(output.split("\n")[0]).toBe("a,b,label");
  expect(output.split("\n").at(-2)).toBe(',"{""c"":[1]}",answer 1200');
});

test("CSV becomes JSONL with texts", async () => {
  const path = await written('n,"a ""b"""\n007,"x\ny"\n1\n', "rows.csv");
  const out = join(dirname(path), "out");
  await writeAnswers(await lookAtFile(path), out, { format: "jsonl", errors: true });
  expect(await readFile(out, "utf8")).toBe(
    '{"n":"007","a \\"b\\"":"x\\ny","label":"answer 0","error":null}\n' +
      '{"line":"1","label":null,"error":"It has 1 cell, and the header has 2. Add the missing separators."}\n',
  );
});
