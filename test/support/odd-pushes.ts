/** Pushes of all kinds, sound ones and broken ones, each with what has to become of it. */
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { oddText, oddTexts } from "./fuzz.js";
import { type ModelRow, type Shape, type Value } from "./pushed-rows.js";

export interface OddPush {
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  /** The rows that count, refused ones included. Null: the body is refused as a whole, with this status. */
  readonly rows: readonly ModelRow[] | null;
  readonly status: number;
}

const string = (text: string): Value => ({ json: JSON.stringify(text), text });
const raw = (json: string): Value => ({ json, text: json });

const escaped = (text: string): Value => ({
  json: `"${[...Array(text.length).keys()].map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, "0")}`).join("")}"`,
  text,
});

const number = fc.constantFrom(
  "0",
  "-0",
  "1.10",
  "9007199254740993",
  "1e999999",
  "-1E-400",
  "3".repeat(2_000),
  `0.${"1".repeat(400)}`,
);

const value: fc.Arbitrary<Value> = fc.oneof(
  { weight: 4, arbitrary: oddText.map(string) },
  { weight: 1, arbitrary: fc.string({ maxLength: 10, unit: "binary" }).map(escaped) },
  { weight: 2, arbitrary: number.map(raw) },
  { weight: 1, arbitrary: fc.constantFrom("true", "false", "[]", "{}", '{ "a" : [1, null] }').map(raw) },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 1, max: 400 }).map((levels) => raw("[".repeat(levels) + "]".repeat(levels))),
  },
  { weight: 1, arbitrary: fc.constant({ json: "null", text: null }) },
);

/** Few, so that rows meet. */
const keyText = fc.oneof(
  { weight: 10, arbitrary: fc.integer({ min: 0, max: 40 }).map((id) => string(`key ${id}`)) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 40 }).map((id) => raw(String(id))) },
  { weight: 1, arbitrary: fc.constantFrom(...oddTexts).map(string) },
  { weight: 1, arbitrary: fc.constant(string("k".repeat(1_100))) },
  { weight: 1, arbitrary: value },
);

const version = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom("1", "2", "10", "9.5", "-3", "1.0", "2.00").map(raw) },
  { weight: 3, arbitrary: fc.constantFrom("2026-01-01", "2026-01-02", "10a", "é", "7", "v".repeat(129)).map(string) },
  { weight: 1, arbitrary: value },
);

function fieldsOf({ key, columns, version: versionField }: Shape): fc.Arbitrary<ModelRow["fields"] & {}> {
  const name = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...columns) },
    { weight: 1, arbitrary: fc.constantFrom(...oddTexts, "rn", "data", "rowmill_version") },
  );
  const keys = fc.tuple(...key.map((part) => keyText.map((text) => [part, text] as const)));
  const rest = fc.array(fc.tuple(name, value), { maxLength: 4 });
  const versions = versionField === null ? fc.constant([]) : version.map((one) => [[versionField, one] as const]);
  const dropped = fc.oneof({ weight: 9, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.nat(4) });
  return fc
    .tuple(rest, keys, versions, dropped)
    .map(([others, own, ofVersion, drop]) => [...others, ...own, ...ofVersion].filter((_, index) => index !== drop));
}

const space = fc.constantFrom("", "", " ", "\t ");

function rowOf(shape: Shape): fc.Arbitrary<ModelRow> {
  const object = fc.tuple(fieldsOf(shape), space).map(([fields, gap]) => {
    const members = fields.map(([name, { json }]) => `${JSON.stringify(name)}${gap}:${gap}${json}`);
    return { json: `{${gap}${members.join(`${gap},`)}}`, fields };
  });
  const other = fc
    .constantFrom("5", '"text"', "null", "[]", '["key 1"]', "true")
    .map((json) => ({ json, fields: null }));
  return fc.oneof({ weight: 15, arbitrary: object }, { weight: 1, arbitrary: other });
}

type Plain = Omit<OddPush, "headers"> & { readonly isLines: boolean };

/** As one JSON text. */
function sound(shape: Shape): fc.Arbitrary<Plain> {
  const rows = fc.array(rowOf(shape), { maxLength: 12 });
  const made = (json: string, taken: readonly ModelRow[]): Plain => ({
    body: Buffer.from(json),
    isLines: false,
    rows: taken,
    status: 200,
  });
  return fc.oneof(
    { weight: 6, arbitrary: rows.map((list) => made(`[${list.map(({ json }) => json).join(" , ")}]\n`, list)) },
    {
      weight: 3,
      arbitrary: rows.map((list) =>
        made(`\ufeff{"data":[${list.map(({ json }) => json).join(",")}],"min_id":null,"max_id":1e400}`, list),
      ),
    },
    {
      weight: 1,
      arbitrary: rowOf(shape)
        .filter(({ fields }) => fields !== null && !fields.some(([name]) => name === "data"))
        .map((row) => made(` ${row.json} `, [row])),
    },
    { weight: 1, arbitrary: fc.constantFrom('{"data":null}', "[]", ' {"data" : [ ] } ').map((json) => made(json, [])) },
  );
}

const brokenLine = fc
  .oneof(
    fc.constantFrom("not json", "{", '{"a":1,}', "{'a':1}", "[1]", "5", "[".repeat(3_000), '{"a":\u0001}', "\u0000"),
    fc.integer({ min: 501, max: 9_000 }).map((levels) => `{"id":${"[".repeat(levels)}${"]".repeat(levels)}}`),
  )
  .map((text) => ({ line: Buffer.from(text), row: { json: text, fields: null } }));

const badBytes = fc
  .constantFrom([0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82])
  .map((bytes) => Buffer.from(bytes));

function lines(shape: Shape): fc.Arbitrary<Plain> {
  const good = rowOf(shape).map((row) => ({ line: Buffer.from(row.json), row }));
  const bad = badBytes.map((bytes) => ({
    line: Buffer.concat([Buffer.from('{"id":"'), bytes, Buffer.from('"}')]),
    row: { json: "", fields: null },
  }));
  const empty = fc.constantFrom("", " ", "\t").map((text) => ({ line: Buffer.from(text), row: null }));
  const line = fc.oneof(
    { weight: 8, arbitrary: good },
    { weight: 1, arbitrary: brokenLine },
    { weight: 1, arbitrary: bad },
    { weight: 1, arbitrary: empty },
  );
  return fc.tuple(fc.array(line, { maxLength: 15 }), fc.constantFrom("\n", "\r\n")).map(([all, end]) => ({
    body: Buffer.concat(all.flatMap(({ line: bytes }) => [bytes, Buffer.from(end)])),
    isLines: true,
    rows: all.flatMap(({ row }) => row ?? []),
    status: 200,
  }));
}

/** Refused as a whole. */
function broken(shape: Shape): fc.Arbitrary<Plain> {
  const refused = (body: Buffer): Plain => ({ body, isLines: false, rows: null, status: 400 });
  const torn = fc.tuple(sound(shape), fc.nat(), oddText).map(([{ body }, at, by]) => {
    const text = body.toString().replace(/^\ufeff/, "");
    const cut = text.slice(0, at % (text.length + 1));
    return isJson(cut + by) ? cut : cut + by;
  });
  return fc.oneof(
    torn.filter((text) => !isJson(text)).map((text) => refused(Buffer.from(text))),
    fc
      .constantFrom("", "5", '"x"', "null", "true", "[1] 2", '{"data":5}', '{"data":{}}', "\u0000", "[1,]")
      .map(asBytes)
      .map(refused),
    fc.integer({ min: 501, max: 200_000 }).map((levels) => refused(asBytes("[".repeat(levels) + "]".repeat(levels)))),
    fc.integer({ min: 501, max: 50_000 }).map((levels) => refused(asBytes('[{"a":'.repeat(levels)))),
    badBytes.map((bytes) => refused(Buffer.concat([asBytes('[{"id":"'), bytes, asBytes('"}]')]))),
  );
}

const asBytes = (text: string): Buffer => Buffer.from(text);

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const contentType = fc.constantFrom(
  "application/json",
  "text/plain",
  "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x",
  "application/json; charset=utf-16",
  "nonsense",
);

export function oddPush(shape: Shape): fc.Arbitrary<OddPush> {
  const plain = fc.oneof(
    { weight: 6, arbitrary: sound(shape) },
    { weight: 4, arbitrary: lines(shape) },
    { weight: 3, arbitrary: broken(shape) },
  );
  const packing = fc.oneof(
    { weight: 6, arbitrary: fc.constant("none" as const) },
    { weight: 2, arbitrary: fc.constant("gzip" as const) },
    { weight: 1, arbitrary: fc.constantFrom("cut" as const, "junk" as const, "br" as const) },
  );
  return fc.tuple(plain, packing, contentType).map(([{ isLines, ...push }, how, type]) => {
    const headers = { "content-type": isLines ? "application/x-ndjson" : type };
    if (how === "none") return { ...push, headers };
    if (how === "br")
      return { body: push.body, headers: { ...headers, "content-encoding": "br" }, rows: null, status: 415 };
    const packed = gzipSync(push.body);
    const withGzip = { ...headers, "content-encoding": "gzip" };
    if (how === "gzip") return { ...push, body: packed, headers: withGzip };
    const body = how === "cut" ? packed.subarray(0, Math.max(1, packed.length - 9)) : asBytes("not gzip at all");
    return { body, headers: withGzip, rows: null, status: 400 };
  });
}
