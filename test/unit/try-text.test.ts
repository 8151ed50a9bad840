import { describe, expect, it } from "vitest";
import { compareTries, differing } from "../../src/app/try/comparing.js";
import type { Tried } from "../../src/app/try/run-try.js";
import { cellLines, shownValue, rowLines, rowTitle } from "../../src/cli/try/row-text.js";
import { comparedLines, listLines, rowLinesOf, rowTitleOf } from "../../src/cli/try/history.js";
import { summaryLines, type Ended } from "../../src/cli/try/summary-text.js";
import { ProviderError } from "../../src/model/provider/provider.js";
import type { ListedTry, TryAnswer } from "../../src/store/tries/tries.js";

function answer(changes: Partial<TryAnswer> = {}): TryAnswer {
  return {
    try: 4,
    key: "42",
    contentHash: "00",
    fingerprint: "11",
    room: 300,
    reservedNanoUsd: 0,
    outcome: "answered",
    detail: null,
    answer: '{"genre":"drama"}',
    reply: null,
    cells: { genre: "drama", tags: ["a", "b"] },
    inputTokens: 1_412,
    cachedInputTokens: 0,
    outputTokens: 31,
    costNanoUsd: 81_000,
    latencyMs: 812,
    acceptedAt: null,
    ...changes,
  };
}

const PRICE = { model: "m", steps: [] };

const LISTED: ListedTry = {
  no: 4,
  pipeline: "films",
  definitionHash: "aa",
  overridden: {},
  system: null,
  prompt: "{{ title }}",
  provider: "openai",
  account: "x",
  model: "gpt-4o-mini",
  endpoint: "/v1",
  price: PRICE,
  rows: 5,
  askedAt: new Date("2026-11-27T04:46:24Z"),
  asked: 5,
  answered: 4,
  accepted: 0,
  costNanoUsd: 410_000,
};

describe("Two answers to a row", () => {
  it("differ field by field, whatever the order of keys in an object", () => {
    expect(differing({ a: { x: 1, y: 2 }, b: "old", d: 1 }, { b: "new", a: { y: 2, x: 1 }, c: null })).toEqual([
      { field: "b", before: "old", after: "new" },
      { field: "d", before: 1, after: null },
    ]);
  });

  it("do not differ where one lacks a field that is null in the other", () => {
    expect(differing({ a: null }, {})).toEqual([]);
  });

  it("are compared in the rows of both tries only", () => {
    const compared = compareTries(
      [answer({ try: 3, key: "1" }), answer({ try: 3, key: "2", latencyMs: 1_000 })],
      [answer({ key: "2", cells: null, outcome: "invalid", latencyMs: 500 }), answer({ key: "3" })],
    );
    expect(compared).toMatchObject({
      rows: [{ key: "2", differences: null }],
      same: 0,
      onlyA: 1,
      onlyB: 1,
      a: { failed: 0, meanLatencyMs: 1_000 },
      b: { failed: 1, meanLatencyMs: 500, costNanoUsd: 81_000 },
    });
  });
});

describe("A row of a try", () => {
  it("shows its outcome, tokens, cost and time in one line", () => {
    expect(rowTitle({ answer: answer() })).toBe("✓ 42: answered, 1,412 + 31 tokens, $0.000081, 812 ms");
    expect(rowTitle({ answer: answer({ outcome: "invalid", costNanoUsd: null, latencyMs: 12_340 }) })).toBe(
      "✗ 42: invalid, 1,412 + 31 tokens, unknown price, 12.3 s",
    );
    const lost = { outcome: null, inputTokens: 0, outputTokens: 0, costNanoUsd: null, latencyMs: null } as const;
    expect(rowTitle({ answer: answer({ ...lost, reservedNanoUsd: 210_000 }) })).toBe(
      "✗ 42: unknown, counted at $0.00021",
    );
  });

  it("shows what a field was before, and that an answer is the same", () => {
    const before = { from: 3, cells: { genre: "war", tags: ["a", "b"] } };
    expect(rowLines({ answer: answer(), cells: { title: "Up" }, before }, 80)).toEqual([
      "    input     title  Up",
      '    answer    genre  "drama"',
      '              tags   ["a", "b"]',
      '    try 3     genre  "war"',
    ]);
    const same = { from: "target" as const, cells: { genre: "drama", tags: ["a", "b"] } };
    expect(rowLines({ answer: answer(), cells: null, before: same }, 80).at(-1)).toBe("    target    the same answer");
  });

  it("shows the problem of a failed row, and what the model said", () => {
    const failed = answer({ outcome: "invalid", cells: null, detail: "genre: expected text", answer: "Sure!\nIt is" });
    expect(rowLines({ answer: failed, cells: { title: null }, before: null }, 80)).toEqual([
      "    input     title  null",
      "    problem   genre: expected text",
      "    answer    Sure!\\nIt is",
    ]);
  });

  it.each([60, 80])("fits %i columns, and text of rows cannot begin a line", (columns) => {
    const long = `${"word ".repeat(200)}\u001b[2J\n✓ forged ${"x".repeat(500)}`;
    const row = {
      answer: answer({ cells: { [long]: long, "a long name of a field": [long, long] }, detail: long }),
      cells: { title: long, [long]: null },
      before: { from: 3, cells: { genre: long } },
    };
    const lines = rowLines(row, columns);
    expect(lines.every((line) => line.length <= columns && line.startsWith("    "))).toBe(true);
    expect(lines.join("")).not.toMatch(/[\u0000-\u001f]/);
    expect(lines.length).toBeLessThan(30);
  });

  it("marks a value that is cut", () => {
    const cells = [{ name: "a", value: "one two three four five six seven eight nine ten eleven twelve" }];
    expect(cellLines("input", cells, { columns: 40, linesMax: 2 })).toEqual([
      "    input     a  one two three four five",
      "                 six seven eight nine …",
    ]);
  });

  it("shows JSON on one line with spaces, and texts as they are", () => {
    expect(shownValue({ a: [1, "x\n y", []], b: {} })).toBe('{"a": [1, "x\\n y", []], "b": {}}');
  });
});

describe("The summary of a try", () => {
  const tried: Tried = { no: 4, answers: [answer(), answer({ key: "43" })], notAsked: 0, stop: null };
  const ended: Ended = {
    pipeline: "films",
    model: "gpt-4o",
    price: PRICE,
    overridden: {},
    tried,
    all: { rows: 1_000, answersCounted: 2, likelyNanoUsdEach: 40_500, likelyNanoUsd: 40_500_000 },
    registered: "same",
  };

  it("says what all rows would cost by batch, and how to use the answers", () => {
    expect(summaryLines(ended)).toEqual([
      "✓ Try 4: 2 rows ok, 0 failed, $0.00016 with gpt-4o",
      "  All 1,000 rows by batch: estimated $0.041 (from these 2 answers)",
      "  To use these answers without paying again, where their rows wait: rowmill try films --accept",
    ]);
  });

  it("says what to change in the config where options were other than it", () => {
    const overridden = { model: true, prompt: "new.txt" } as const;
    expect(summaryLines({ ...ended, overridden, all: null, registered: null })).toEqual([
      "✓ Try 4: 2 rows ok, 0 failed, $0.00016 with gpt-4o",
      '  To use it, set pipelines.films.request.model to "gpt-4o" and request.user to the text of new.txt. Then, for all rows: rowmill up',
    ]);
  });

  it("names the failed rows, and why others were not asked", () => {
    const stop = { kind: "budget", needNanoUsd: 210_000, leftNanoUsd: 100_000 } as const;
    const some = { ...tried, answers: [answer(), answer({ key: "43", outcome: "refused" })], notAsked: 3, stop };
    expect(summaryLines({ ...ended, tried: some, all: { ...ended.all!, rows: null, likelyNanoUsd: null } })).toEqual([
      "! Try 4: 1 row ok, 1 failed, $0.00016 with gpt-4o",
      "! 3 rows were not asked: the budget has $0.0001 left, and the next row may cost $0.00021",
      "  Every 1,000 rows by batch: estimated $0.041 (from these 2 answers)",
      "  Change what is wrong, then try again: rowmill try films --key 43",
    ]);
  });

  it("leaves it to the error where the provider answered no row", () => {
    const stop = { kind: "provider", error: new ProviderError("account", "no such key") } as const;
    const none = {
      ...tried,
      answers: [answer({ outcome: "failed", costNanoUsd: null, cells: null })],
      notAsked: 3,
      stop,
    };
    expect(summaryLines({ ...ended, tried: none, all: null })).toEqual([
      "! Try 4: 0 rows ok, 1 failed, $0.00 with gpt-4o",
    ]);
  });
});

describe("Earlier tries", () => {
  const tries = [
    { listed: { ...LISTED, accepted: 2 }, differs: [] },
    { listed: { ...LISTED, no: 3, price: null, costNanoUsd: null, accepted: 0 }, differs: ["model", "new.txt"] },
    { listed: { ...LISTED, no: 2, accepted: 0 }, differs: null },
  ];

  it("are listed with what differs from the config of now, in 80 columns", () => {
    expect(listLines(tries, 80)).toEqual([
      "try  when (UTC)        model        differs in      rows  ok  accepted      cost",
      "  4  2026-11-27 04:46  gpt-4o-mini  nothing            5   4         2  $0.00041",
      "  3  2026-11-27 04:46  gpt-4o-mini  model, new.txt     5   4             unknown",
      "  2  2026-11-27 04:46  gpt-4o-mini  not in config      5   4            $0.00041",
    ]);
  });

  it("are compared row by row, with totals", () => {
    const a = { ...LISTED, no: 3 };
    const compared = compareTries(
      [answer({ try: 3, cells: { genre: "war" } })],
      [answer({ cells: { genre: "drama" } }), answer({ key: "43" })],
    );
    const [row] = compared.rows;
    if (row === undefined) throw new Error("no row");
    expect([rowTitleOf(row), ...rowLinesOf(row, 80), ...comparedLines(compared, { a, b: LISTED })]).toEqual([
      "42: 1 field differs",
      "    try 3     answered, 1,412 + 31 tokens, $0.000081, 812 ms",
      '              genre  "war"',
      "    try 4     answered, 1,412 + 31 tokens, $0.000081, 812 ms",
      '              genre  "drama"',
      "1 row in both, 0 with the same answer, 1 row only in try 4",
      "  try 3 (gpt-4o-mini): 0 failed, 1,412 + 31 tokens, $0.000081, 812 ms each",
      "  try 4 (gpt-4o-mini): 0 failed, 1,412 + 31 tokens, $0.000081, 812 ms each",
    ]);
  });
});
