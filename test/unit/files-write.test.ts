import { link, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { writeFailure } from "../../src/files/file-failure.js";
import { lookAtFile } from "../../src/files/look-at-file.js";
import { openWriter } from "../../src/files/open-writer.js";
import { column, readFileOf, scratchFolder, shown, WRITER, writeAnswers, written } from "../support/file-tables.js";

/** The output for this input, with an answer `answer N` in the column `label`. */
async function labelled(
  content: string | Uint8Array,
  options: Parameters<typeof writeAnswers>[2] = {},
): Promise<string> {
  const path = await written(content);
  const out = join(dirname(path), "out");
  await writeAnswers(await lookAtFile(path), out, options);
  return readFile(out, "utf8");
}

test("records keep their bytes, and answers follow them", async () => {
  expect(await labelled('a ,b\n"x, 1","y ""z"""\r\n 1 , 2 \n')).toBe(
    'a ,b,label\n"x, 1","y ""z""",answer 0\n 1 , 2 ,answer 1\n',
  );
});

test("the output has the input's separator, line end and byte order mark, and its names as they stand", async () => {
  expect(await labelled("\ufeff;b;b\r\n1;2;3\r\n")).toBe("\ufeff;b;b;label\r\n1;2;3;answer 0\r\n");
  expect(await labelled("sep=;\r\na;b\r\n1;2\r\n")).toBe("sep=;\r\na;b;label\r\n1;2;answer 0\r\n");
});

test("a single column gets a separator, and its cells are quoted where they hold one", async () => {
  expect(await labelled('review\nGood, really\nBad\n"Well, well"\n""\n')).toBe(
    'review,label\n"Good, really",answer 0\nBad,answer 1\n"Well, well",answer 2\n"",answer 3\n',
  );
});

test("texts, numbers, lists and objects of an answer are written, quoted as needed", async () => {
  const columns = [
    column("text"),
    column("count", "bigint"),
    column("share", "double precision"),
    column("yes", "boolean"),
    column("tags", "text[]"),
    column("more", "jsonb"),
  ];
  const answer = {
    text: 'a "b"\nc',
    count: "9007199254740993",
    share: -0.5,
    yes: true,
    tags: ["a", 'b"'],
    more: { c: null },
  };
  const out = await labelled("id,b\n1,2\n3,4\n", {
    answer: columns,
    answerTo: (index) => (index === 0 ? answer : { text: "", count: null, tags: [] }),
  });
  expect(out).toBe(
    'id,b,text,count,share,yes,tags,more\n1,2,"a ""b""\nc",9007199254740993,-0.5,true,"[""a"",""b\\""""]","{""c"":null}"\n' +
      '3,4,"",,,,[],\n',
  );
});

test("texts of a model that a spreadsheet would run are escaped, numbers and input cells are not", async () => {
  const columns = [column("text"), column("number", "bigint"), column("mixed", "jsonb")];
  const texts = ["=1+1", "+1", "-1", "@a", "\tx", "\rx", "a=1", "'=1"];
  const options = {
    answer: columns,
    answerTo: (index: number) => ({ text: texts[index] ?? "", number: "-1", mixed: "=2" }),
  };
  const input = `a,b\n${"=0,-5\n".repeat(texts.length)}`;
  const rows = shown(await readFileOf(await written(await labelled(input, options))));
  expect(rows).toEqual(
    ["'=1+1", "'+1", "'-1", "'@a", "'\tx", "'\rx", "a=1", "'=1"].map((text) => ["=0", "-5", text, "-1", "'=2"]),
  );
  const raw = shown(await readFileOf(await written(await labelled(input, { ...options, escapeFormulas: false }))));
  expect(raw).toEqual(texts.map((text) => ["=0", "-5", text, "-1", "=2"]));
});

test("a name that the file has too gets a number, which is said", async () => {
  const path = await written("label,label_2,error\n1,2,3\n");
  const out = join(dirname(path), "out.csv");
  const notes = await writeAnswers(await lookAtFile(path), out, { errors: true });
  expect(notes).toEqual([
    "The file has a column label, so the answer's is written as label_3.",
    "The file has a column error, so the column for errors is written as error_2.",
  ]);
  expect(await readFile(out, "utf8")).toBe("label,label_2,error,label_3,error_2\n1,2,3,answer 0,\n");
});

test("lines that failed are written so that all others stay readable, with their error", async () => {
  const text = 'a,b,c\n1,2,3\n1\n1,2,3,4\n"open,2,3\n4,5,6\n';
  const path = await written(text);
  const out = join(dirname(path), "out.csv");
  await writeAnswers(await lookAtFile(path), out, { errors: true });
  expect(await readFile(out, "utf8")).toBe(
    "a,b,c,label,error\n" +
      "1,2,3,answer 0,\n" +
      '1,,,,"It has 1 cell, and the header has 3. Add the missing separators."\n' +
      '"1,2,3,4",,,,"It has 4 cells, and the header has 3. Put quotes around a cell that holds the separator."\n' +
      '"""open,2,3",,,,A quote that is opened is never closed. Write each quote inside of a cell twice.\n' +
      "4,5,6,answer 1,\n",
  );
});

test("1,000 films survive the way into each format, packed or not, and their bytes stand in the CSV", async ({
  skip,
}) => {
  const films = process.env["ROWMILL_TEST_FILMS"];
  if (films === undefined) return skip("ROWMILL_TEST_FILMS names no file of real films");
  const { look, records } = await readFileOf(films);
  expect(records).toHaveLength(1000);
  const rows = shown({ look, records });
  const folder = await scratchFolder();
  for (const name of ["out.csv", "out.tsv.gz", "out.jsonl", "out.jsonl.gz", "out.parquet", "out.parquet.gz"]) {
    const out = join(folder, name);
    await writeAnswers(look, out);
    const read = await readFileOf(out);
    expect(read.look.columns.slice(0, -1).slice(1)).toEqual(look.columns.slice(1));
    expect(shown(read)).toEqual(rows.map((row, index) => [...(row as readonly unknown[]), `answer ${index}`]));
  }
  const output = await readFile(join(folder, "out.csv"), "utf8");
  const given = await readFile(films, "utf8");
  expect(
    output
      .replaceAll(/,answer \d+\r\n/g, "\r\n")
      .replace(",label\r\n", "\r\n")
      .trim(),
  ).toBe(given.trim());
});

test("an output ending in .gz is packed, and the same rows give the same bytes", async () => {
  const path = await written("a,b\n1,2\n");
  const look = await lookAtFile(path);
  const [one, two] = [join(dirname(path), "one.csv.gz"), join(dirname(path), "two.csv.gz")];
  await writeAnswers(look, one);
  await writeAnswers(look, two);
  expect(gunzipSync(await readFile(one)).toString()).toBe("a,b,label\n1,2,answer 0\n");
  expect(await readFile(one)).toEqual(await readFile(two));
});

test("the output appears at commit and not before, and discarding leaves nothing", async () => {
  const path = await written("a,b\n1,2\n");
  const folder = dirname(path);
  const look = await lookAtFile(path);
  const writer = await openWriter(join(folder, "out.csv"), look, WRITER);
  const other = await openWriter(join(folder, "out.csv"), look, WRITER);
  expect(await readdir(folder)).toEqual([
    expect.stringMatching(/^\.out\.csv\.rowmill-/),
    expect.stringMatching(/^\.out\.csv\.rowmill-/),
    "rows.csv",
  ]);
  await other.discard();
  await writer.discard();
  expect(await readdir(folder)).toEqual(["rows.csv"]);
  const second = await openWriter(join(folder, "out.csv"), look, WRITER);
  await second.commit();
  await second.discard();
  expect(await readdir(folder)).toEqual(["out.csv", "rows.csv"]);
});

test("what a killed process left is removed, also one of the same number, and what a living one writes is kept", async () => {
  const path = await written("a,b\n1,2\n");
  const folder = dirname(path);
  const child = spawn(process.execPath, ["-e", ""]);
  await once(child, "exit");
  const ofOthers = [`.out.csv.rowmill-${process.ppid}-0123abcd-1`, `.out.csv.gz.rowmill-${child.pid}-0123abcd-1`];
  const left = [`.out.csv.rowmill-${child.pid}-0123abcd-1`, `.out.csv.rowmill-${process.pid}-00000000-1`];
  for (const name of [...ofOthers, ...left]) await writeFile(join(folder, name), "half");
  await writeAnswers(await lookAtFile(path), join(folder, "out.csv"));
  expect(await readdir(folder)).toEqual([...ofOthers, "out.csv", "rows.csv"].sort());
});

test("an output that is there is replaced only if you say so, and keeps its mode", async () => {
  const path = await written("a,b\n1,2\n");
  const out = join(dirname(path), "out.csv");
  await writeFile(out, "mine", { mode: 0o600 });
  const look = await lookAtFile(path);
  await expect(openWriter(out, look, WRITER)).rejects.toMatchObject({
    message: `${out} already exists.`,
    hints: ["Replace it with --force, or name another file: --out"],
  });
  await writeAnswers(look, out, { overwrite: true });
  expect(await readFile(out, "utf8")).toContain("answer 0");
});

test("an output that appeared while it was written is not replaced", async () => {
  const path = await written("a,b\n1,2\n");
  const out = join(dirname(path), "out.csv");
  const writer = await openWriter(out, await lookAtFile(path), WRITER);
  await writeFile(out, "mine");
  await expect(writer.commit()).rejects.toThrow("already exists");
  expect(await readFile(out, "utf8")).toBe("mine");
  expect(await readdir(dirname(path))).toEqual(["out.csv", "rows.csv"]);
});

test("the input cannot be the output, also by another name", async () => {
  const path = await written("a,b\n1,2\n");
  const folder = dirname(path);
  const look = await lookAtFile(path);
  await link(path, join(folder, "hard.csv"));
  await symlink(path, join(folder, "soft.csv"));
  for (const name of ["rows.csv", "hard.csv", "soft.csv"]) {
    const opened = openWriter(join(folder, name), look, { ...WRITER, overwrite: true });
    await expect(opened).rejects.toThrow("is the input");
  }
});

test("an output that is a folder, or in a folder that is not there, is refused", async () => {
  const path = await written("a,b\n1,2\n");
  const look = await lookAtFile(path);
  await mkdir(join(dirname(path), "out"));
  await expect(openWriter(join(dirname(path), "out"), look, WRITER)).rejects.toThrow("is a folder");
  await expect(openWriter("/nowhere/out.csv", look, WRITER)).rejects.toThrow("its folder does not exist");
});

test("a full disk is said", async () => {
  const full = await writeFile("/dev/full", "x").catch((error: unknown) => error);
  expect(writeFailure("out.csv", full)).toMatchObject({
    message: "out.csv cannot be written: there is no space left (ENOSPC). No part of it was kept.",
  });
});

test("a limit on the size of files is said while an output or a pipe is written, and nothing is left", async () => {
  const path = await written(`a,b\n${"1,2\n".repeat(300_000)}`);
  const folder = dirname(path);
  const script = join(import.meta.dirname, "../support/write-until-full.mjs");
  const limited = `ulimit -f 100; exec "$0" "$@"`;
  const child = spawn("/bin/sh", ["-c", limited, process.execPath, script, path, folder]);
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  expect(errors).toBe("");
  const space = "there is no space left (EFBIG). No part of it was kept.";
  expect(output.split("\n")).toEqual([
    `${join(folder, "out.csv")} cannot be written: ${space}`,
    `${join(folder, "out.csv.gz")} cannot be written: ${space}`,
    `${folder} cannot be written: ${space}`,
    "",
  ]);
  expect(await readdir(folder)).toEqual(["rows.csv"]);
});

test("a link to an output is followed", async () => {
  const path = await written("a,b\n1,2\n");
  const other = join(await scratchFolder(), "real.csv");
  await writeFile(other, "old");
  const out = join(dirname(path), "out.csv");
  await symlink(other, out);
  await writeAnswers(await lookAtFile(path), out, { overwrite: true });
  expect(await readFile(other, "utf8")).toContain("answer 0");
});
