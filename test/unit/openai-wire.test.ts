import { describe, expect, test } from "vitest";
import { readBatch, readFile, readPage } from "../../src/providers/openai-wire.js";

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

  test.each(["paused", "COMPLETED", "constructor", "unknown"])(
    "in a status %s that we do not know has not ended",
    (status) => {
      expect(readBatch({ ...batch, status })).toMatchObject({
        status: "unknown",
        statusText: status,
        terminal: false,
      });
    },
  );

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
          "nonsense",
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
        { code: "invalid_url", line: 2, message: "wrong", param: "url" },
        ...Array.from({ length: 3 }, () => ({
          code: null,
          line: null,
          message: "the provider gave no reason",
          param: null,
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
    null,
    "text",
    [],
    {},
    { ...batch, id: "" },
    { ...batch, status: null },
    { ...batch, created_at: "now" },
  ])("that is %j cannot be read", (json) => {
    expect(() => readBatch(json)).toThrow("a batch without");
  });
});

test("a file needs an id; the rest has defaults", () => {
  expect(readFile({ id: "file-1", filename: "a.jsonl", bytes: 5, created_at: 7 })).toEqual({
    id: "file-1",
    filename: "a.jsonl",
    bytes: 5,
    createdAt: 7,
  });
  expect(readFile({ id: "file-1", bytes: null })).toEqual({
    id: "file-1",
    filename: "",
    bytes: 0,
    createdAt: 0,
  });
  expect(() => readFile({ filename: "a" })).toThrow("a file without id");
});

test("a page without data is no empty page", () => {
  expect(readPage({ data: [], has_more: false })).toEqual({ data: [], hasMore: false });
  expect(readPage({ data: [1], has_more: true })).toEqual({ data: [1], hasMore: true });
  expect(readPage({ data: [1] })).toEqual({ data: [1], hasMore: null });
  expect(readPage({ data: [1], has_more: null })).toEqual({ data: [1], hasMore: null });
  expect(() => readPage({ data: [], has_more: true })).toThrow("a page without data, and more after it");
  for (const json of [{}, null, "<html>", { data: null }])
    expect(() => readPage(json)).toThrow("a list without data");
});
