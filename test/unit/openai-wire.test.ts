import { describe, expect, test } from "vitest";
import {
  readBatch,
  readFile,
  readListedBatch,
  readListedFile,
  readPage,
  untoldReason,
} from "../../src/providers/openai/wire.js";

const batch = {
  id: "batch_1",
  object: "batch",
  status: "completed",
  created_at: 1_790_000_000,
  input_file_id: "file-1",
};

describe("a batch", () => {
  test.each([
    ["validating", false],
    ["failed", true],
    ["in_progress", false],
    ["finalizing", false],
    ["completed", true],
    ["expired", true],
    ["cancelling", false],
    ["cancelled", true],
  ])("that is %s has ended: %s", (status, terminal) => {
    expect(readBatch({ ...batch, status })).toMatchObject({ status, statusText: status, terminal });
  });

  test.each([
    ["paused", "paused"],
    ["constructor", "constructor"],
    ["unknown", "unknown"],
    [null, "null"],
    [undefined, "absent"],
    ["", '""'],
    [{ a: 1 }, '{"a":1}'],
  ])("in a status %j that we do not know has not ended, and is called %s", (status, statusText) => {
    expect(readBatch({ ...batch, status })).toMatchObject({ status: "unknown", statusText, terminal: false });
  });

  test.each([
    ["COMPLETED", "completed"],
    ["In Progress", "in_progress"],
    ["in-progress", "in_progress"],
    [" Failed ", "failed"],
    ["CANCELED", "cancelled"],
    ["canceling", "cancelling"],
    ["queued", "validating"],
    ["running", "in_progress"],
  ])("in the status %j is %s", (word, status) => {
    expect(readBatch({ ...batch, status: word })).toMatchObject({ status, statusText: status });
  });

  test.each([
    [1_790_000_000, 1_790_000_000],
    [1_790_000_000.53, 1_790_000_000],
    ["1790000000", 1_790_000_000],
    [1_790_000_000_530, 1_790_000_000],
    ["2026-09-21T13:33:20Z", 1_789_997_600],
    ["2026-09-21T13:33:20.123456+00:00", 1_789_997_600],
    ["2026-09-21T13:33:20", 1_789_997_600],
    ["2026-09-21T15:33:20+02:00", 1_789_997_600],
    ["2026-09-21", 1_789_948_800],
    [0, null],
    ["0", null],
    ["1970-01-01T00:00:00Z", null],
    ["0001-01-01T00:00:00Z", null],
    [null, null],
    [undefined, null],
    ["now", null],
    [-1, null],
    [1e17, null],
    [{}, null],
  ])("of %j was created at %j", (created_at, createdAt) => {
    expect(readBatch({ ...batch, created_at }).createdAt).toBe(createdAt);
  });

  test.each<[unknown, string[]]>([
    [null, []],
    [{}, []],
    [{ data: null }, []],
    [{ object: "list", data: [] }, []],
    ["No room.", ["No room."]],
    [{ message: "No room.", code: "x" }, ["No room."]],
    [
      ["One.", { message: "Two." }, null, ""],
      ["One.", "Two."],
    ],
    [{ data: { message: "No room." } }, ["No room."]],
    [{ data: "No room." }, ["No room."]],
    [42, []],
  ])("whose errors are %j has these: %j", (errors, messages) => {
    expect(readBatch({ ...batch, errors }).errors.map(({ message }) => message)).toEqual(messages);
  });

  test("whose numbers are text is read", () => {
    const read = readBatch({
      ...batch,
      id: 17,
      input_file_id: 4,
      request_counts: { total: "3", completed: 2.0, failed: "1" },
      errors: [{ line: "2", message: "wrong" }],
    });
    expect(read).toMatchObject({ id: "17", inputFileId: "4", counts: { total: 3, completed: 2, failed: 1 } });
    expect(read.errors).toMatchObject([{ line: 2, about: "line" }]);
  });

  test("that shows no input file and no metadata may be anybody's", () => {
    const untold = (json: unknown) => untoldReason(json, readListedBatch(json));
    expect(untold(batch)).toBeNull();
    expect(untold({ ...batch, input_file_id: null, metadata: { other: "x" } })).toBeNull();
    expect(untold({ input_file_id: "file-2" })).toBeNull();
    expect(untold({ id: "b", metadata: null })).toBe(
      'an entry whose id is "b", input_file_id is absent and metadata is null',
    );
    expect(untold({ id: "b", input_file_id: "", metadata: [1] })).toContain("metadata is [1]");
    expect(untold(null)).toBe("an entry that is null");
    expect(untold("x\u001b")).toBe('an entry that is "x\\u001b"');
  });

  test.each([null, undefined, ""])("without files may say so by %j", (absent) => {
    const read = readBatch({ ...batch, output_file_id: absent, error_file_id: absent });
    expect(read).toMatchObject({ outputFileId: null, errorFileId: null });
  });

  test("keeps its counts, errors and metadata", () => {
    const read = readBatch({
      ...batch,
      output_file_id: "file-2",
      request_counts: { total: 3, completed: 2, failed: 1 },
      errors: {
        object: "list",
        data: [
          { code: "invalid_url", line: 2, message: "wrong", param: "url" },
          { code: null, line: null, message: null, param: null },
          { line: 0 },
          { nonsense: true },
        ],
      },
      metadata: { rowmill_batch: "b", tags: ["not a string"] },
    });
    expect(read).toEqual({
      id: "batch_1",
      status: "completed",
      statusText: "completed",
      terminal: true,
      inputFileId: "file-1",
      outputFileId: "file-2",
      errorFileId: null,
      createdAt: 1_790_000_000,
      counts: { total: 3, completed: 2, failed: 1 },
      errors: [
        { code: "invalid_url", line: 2, message: "wrong", param: "url", about: "definition", limit: null },
        ...Array.from({ length: 3 }, () => ({
          code: null,
          line: null,
          message: "the provider gave no reason",
          param: null,
          about: "other",
          limit: null,
        })),
      ],
      metadata: { rowmill_batch: "b" },
    });
  });

  test("may lack whatever we can do without", () => {
    const read = readBatch({
      ...batch,
      input_file_id: null,
      request_counts: null,
      errors: null,
      metadata: null,
    });
    expect(read).toMatchObject({ inputFileId: "", counts: null, errors: [], metadata: {} });
    expect(readBatch({ ...batch, request_counts: { total: 1 } }).counts).toBeNull();
  });

  test.each([
    [null, "a batch whose id is missing from null"],
    ["text", 'a batch whose id is missing from "text"'],
    [[], "a batch whose id is missing from []"],
    [{}, "a batch whose id is absent"],
    [{ ...batch, id: "" }, 'a batch whose id is ""'],
    [{ ...batch, id: { a: "x".repeat(200) } }, /^a batch whose id is \{"a":"x{74}…$/],
  ])("that is %j cannot be read, and the reason names field and value", (json, reason) => {
    expect(() => readBatch(json)).toThrow(reason);
  });
});

test("a file needs an id; the rest has defaults", () => {
  expect(readFile({ id: "file-1", filename: "a.jsonl", bytes: 5, created_at: 7 })).toEqual({
    id: "file-1",
    filename: "a.jsonl",
    bytes: 5,
    createdAt: 7,
    readiness: "ready",
    details: null,
  });
  expect(readFile({ id: "file-1", bytes: null })).toEqual({
    id: "file-1",
    filename: "",
    bytes: null,
    createdAt: null,
    readiness: "ready",
    details: null,
  });
  expect(() => readFile({ filename: "a" })).toThrow("a file whose id is absent");
  expect(readListedFile(null)).toMatchObject({ id: "", filename: "" });
});

test.each([
  ["processed", "ready"],
  ["Succeeded", "ready"],
  [null, "ready"],
  [undefined, "ready"],
  ["uploaded", "staged"],
  ["Pending", "pending"],
  ["running", "pending"],
  ["error", "failed"],
])("a file whose status is %j is %s", (status, readiness) => {
  expect(readFile({ id: "file-1", status })).toMatchObject({ readiness });
});

test("a page without data is no empty page", () => {
  expect(readPage({ data: [], has_more: false })).toEqual({ data: [], hasMore: false });
  expect(readPage({ data: [1], has_more: true })).toEqual({ data: [1], hasMore: true });
  expect(readPage({ data: [1] })).toEqual({ data: [1], hasMore: null });
  expect(readPage({ data: [1], has_more: null })).toEqual({ data: [1], hasMore: null });
  expect(readPage([1])).toEqual({ data: [1], hasMore: null });
  expect(readPage({ object: "list", data: null })).toEqual({ data: [], hasMore: null });
  for (const data of [[], null])
    expect(() => readPage({ object: "list", data, has_more: true })).toThrow("an empty page that promises more");
  for (const json of [{}, null, "<html>", { data: null }]) expect(() => readPage(json)).toThrow("a list whose data is");
});
