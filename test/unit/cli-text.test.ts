import { FAILED_REASONS, fixOf } from "../../src/model/words/failure-fixes.js";
import { failureLines, type ShownFailure } from "../../src/cli/commands/inspect/failures.js";
import { describe, expect, it } from "vitest";
import { renderStory, rowTryJson, tryLines } from "../../src/cli/commands/inspect/show.js";
import type { RowTry } from "../../src/store/tries/tries.js";
import type { RowStory } from "../../src/app/story/row-story.js";
import { exitStatusOf } from "../../src/cli/screen/exit-status.js";
import { Interrupted } from "../../src/cli/screen/interruption.js";
import { listUnwatchable } from "../../src/cli/commands/start/init-questions.js";
import { pausedText } from "../../src/cli/screen/text.js";
import { renderStatus, type StatusFacts } from "../../src/cli/reports/status-text.js";
import { layOut, wrap } from "../../src/cli/screen/lay-out.js";
import { renderTable, type TableColumn } from "../../src/cli/screen/lay-out.js";
import {
  counted,
  fit,
  formatAgo,
  formatCount,
  formatDuration,
  formatWait,
  readEstimate,
} from "../../src/cli/screen/text.js";
import { RowmillError } from "../../src/model/errors.js";
import type { AttemptStory } from "../../src/store/ledger/overview.js";

const header: readonly TableColumn[] = [
  { title: "name", align: "left" },
  { title: "rows", align: "right" },
];

describe("A table", () => {
  it("aligns words to the left and numbers to the right", () => {
    const rows = [
      ["films", "1,000"],
      ["a", "5"],
    ];
    expect(renderTable(header, rows, 80)).toEqual(["name    rows", "films  1,000", "a          5"]);
  });

  it("becomes one block a row where it does not fit, without empty cells", () => {
    const rows = [
      ["films", "1,000"],
      ["others", ""],
    ];
    expect(renderTable(header, rows, 12)).toEqual(["films", "  rows  1,000", "others"]);
  });

  it("is as wide as what it shows of names that hold control characters", () => {
    expect(renderTable(header, [["a\nb", "5"]], 80)).toEqual(["name  rows", "a\\nb     5"]);
  });

  it("indents all but the first line of what others wrote", () => {
    expect(layOut("error: no evil: 3 done\nx", 12)).toEqual(["error: no", "  evil: 3", "  done\\nx"]);
  });

  it("breaks text at spaces and keeps long words whole", () => {
    expect(wrap("one two three", 9, "  ")).toEqual(["  one two", "  three"]);
    expect(wrap("abcdefghijkl mn", 5, "")).toEqual(["abcdefghijkl", "mn"]);
    expect(wrap("any length", Infinity, "")).toEqual(["any length"]);
  });
});

describe("Texts", () => {
  it.each([
    [0, "now"],
    [499, "now"],
    [900, "1 s"],
    [89_000, "89 s"],
    [119_999, "120 s"],
    [120_000, "2 min"],
    [3 * 3_600_000, "3 h"],
    [3 * 86_400_000, "3 d"],
  ])("say %i ms as %s", (ms, text) => {
    expect(formatWait(ms)).toBe(text);
  });

  it.each([
    [0, "1 s", "just now"],
    [499, "1 s", "just now"],
    [999, "1 s", "just now"],
    [2_400, "2 s", "2 s ago"],
    [600_000, "10 min", "10 min ago"],
  ])("shows %s ms that have passed as %s, and as %s", (ms, duration, ago) => {
    expect(formatDuration(ms)).toBe(duration);
    expect(formatAgo(ms)).toBe(ago);
  });

  it("count things", () => {
    expect([counted(1, "row"), counted(2_000, "row"), counted(2, "batch"), formatCount(1_234_567)]).toEqual([
      "1 row",
      "2,000 rows",
      "2 batches",
      "1,234,567",
    ]);
  });

  it("fit into one line", () => {
    expect(fit("12345", 5)).toBe("12345");
    expect(fit("123456", 5)).toBe("1234…");
    expect(fit("1\n34", 5)).toBe("1\\n34");
    expect(fit("1\n345", 5)).toBe("1\\n3…");
  });
});

describe("Exit statuses", () => {
  it.each([
    [new RowmillError("usage", ""), 2],
    [new RowmillError("config_invalid", ""), 2],
    [new RowmillError("not_found", ""), 2],
    [new RowmillError("refused", ""), 4],
    [new RowmillError("embedded_in_use", ""), 1],
    [new RowmillError("database_unreachable", ""), 1],
    [new Interrupted("SIGINT"), 130],
    [new Interrupted("SIGTERM"), 143],
    [new Error("a mistake of ours"), 1],
  ])("follow from the error: %s", (error, status) => {
    expect(exitStatusOf(error)).toBe(status);
  });
});

const estimate = {
  rows: 3,
  tries: 2,
  inputTokens: 40,
  outputTokens: 600,
  answersCounted: 20,
  likelyNanoUsd: 2e9,
  capNanoUsd: 6e9,
  liveNanoUsd: 4e9,
};

describe("Why a pipeline does not continue", () => {
  const pipeline = {
    name: "films",
    waiting: 3,
    pauseKind: null,
    pauseReason: null,
    definitionHash: "new",
    approvedHash: "old",
    estimate,
    uninstalledAt: null,
  };

  it("is its approval, once an estimate says that you have to give it", () => {
    expect(pausedText(pipeline, undefined)).toBe(
      "waits for approval: 3 rows, about 40 input and 600 output tokens; estimated $2.00 (cap $6.00 with up to 2 tries per row; live requests: $4.00). Approve it: rowmill approve films",
    );
    expect(pausedText({ ...pipeline, estimate: { ...estimate, likelyNanoUsd: null } }, undefined)).toContain(
      "the price of its model is unknown",
    );
    const arrived = { ...estimate, rows: 1_234, arrived: 1_000 };
    expect(pausedText({ ...pipeline, estimate: arrived }, undefined)).toContain(": up to 1,234 rows, ");
  });

  it("is no approval that is needed only if all that has arrived is to be asked about", () => {
    const user = { kind: "template", text: "" } as const;
    const request = { model: "m", parameters: {}, system: null, user, maxOutputTokens: 100, price: null };
    const config = { approveAboveUsd: 1, budget: null, request };
    const paused = (arrived: number) =>
      pausedText({ ...pipeline, estimate: { ...estimate, rows: 4, arrived } }, config);
    expect(paused(2)).toBeNull();
    expect(paused(1)).toContain("waits for approval: up to 4 rows, ");
  });

  it("is nothing while no row waits, before an estimate, and after an approval", () => {
    expect(pausedText({ ...pipeline, waiting: 0 }, undefined)).toBeNull();
    expect(pausedText({ ...pipeline, estimate: null }, undefined)).toBeNull();
    expect(pausedText({ ...pipeline, approvedHash: "new" }, undefined)).toBeNull();
  });

  it("is a pause before anything else, and the uninstallation before that", () => {
    const paused = { ...pipeline, pauseReason: "no money" };
    expect(pausedText(paused, undefined)).toBe("no money. To try now: rowmill resume films");
    expect(pausedText({ ...paused, pauseKind: "budget" }, undefined)).toBe("no money. Then start it again: rowmill up");
    const typed = { ...paused, pauseKind: "person", pauseReason: "see rowmill show films 1" } as const;
    expect(pausedText(typed, undefined)).toBe("see rowmill show films 1. Resume it: rowmill resume films");
    const known = { ...paused, pauseKind: "account", pauseReason: "No key. Then: rowmill resume films" } as const;
    expect(pausedText(known, undefined)).toBe("No key. Then: rowmill resume films");
    expect(pausedText({ ...pipeline, pauseReason: "no money", uninstalledAt: new Date() }, undefined)).toMatch(
      /^uninstalled\. /,
    );
  });

  it("does not come from an estimate that is none", () => {
    expect([readEstimate(null), readEstimate({ rows: "3" }), readEstimate([])]).toEqual([null, null, null]);
  });
});

describe("The story of a row", () => {
  it.each([
    ["invalid", "unusable answer"],
    ["stale", "answer to an earlier version of the row or config"],
    ["gone", "answer for a deleted row"],
    ["unwritable", "answer that could not be written"],
  ])("calls an answer with the outcome %s: %s", (outcome, name) => {
    const attempt: AttemptStory = {
      attempt: 1,
      batchId: "b",
      version: 2,
      provider: "openai",
      providerBatchId: null,
      batchState: "settled",
      ending: "returned",
      outcome,
      detail: null,
      answer: "A fine film.",
      model: null,
      inputTokens: 0,
      cachedInputTokens: 0,
      outputTokens: 0,
      costNanoUsd: null,
      sharedWith: null,
      at: new Date(),
      writtenAt: null,
    };
    const story: RowStory = {
      pipeline: "films",
      key: "1",
      row: { state: "absent" },
      request: null,
      refused: null,
      attempts: [attempt],
      events: [],
      tries: [],
      triesMore: 0,
      result: { state: "absent" },
      delivery: null,
    };
    const lines = renderStory(story, { bold: (text) => text, ago: () => null, accountText: String });
    expect(lines).toContain(`  ${name}:  A fine film.`);
  });

  it("lists the tries of a row, accepted or not, with what others wrote escaped", () => {
    const tried: RowTry = {
      try: 3,
      outcome: "answered",
      detail: null,
      answer: '{"genre":"war"}',
      cells: { genre: "war", notes: null },
      inputTokens: 1_200,
      cachedInputTokens: 0,
      outputTokens: 22,
      costNanoUsd: 27_000,
      reservedNanoUsd: 0,
      latencyMs: 394,
      acceptedAt: new Date("2026-11-27T05:00:00Z"),
      askedAt: new Date("2026-11-27T04:54:00Z"),
      provider: "openai",
      model: "gpt-4o-mini",
      overridden: {},
      isCurrent: true,
      batchId: "3473fe9e",
    };
    const cut: RowTry = {
      ...tried,
      try: 2,
      outcome: "truncated",
      detail: "It was cut off.",
      answer: '{"genre":\n"w',
      cells: null,
      acceptedAt: null,
      batchId: null,
      overridden: { model: true, prompt: "a\u202eb.txt" },
    };
    const lost: RowTry = {
      ...cut,
      try: 1,
      outcome: null,
      detail: null,
      answer: null,
      overridden: {},
      isCurrent: false,
      costNanoUsd: null,
      reservedNanoUsd: 90_000,
    };
    expect([tried, cut, lost].map(tryLines)).toEqual([
      [
        "answered 2026-11-27 04:54:00 UTC",
        "genre  war",
        "notes  null",
        "gpt-4o-mini: 1,200 input and 22 output tokens, $0.000027 live, 394 ms",
        "accepted 2026-11-27 05:00:00 UTC, in batch 3473fe9e",
      ],
      [
        "truncated 2026-11-27 04:54:00 UTC, with another model and a\\u202eb.txt",
        "It was cut off.",
        'answer cut off:  {"genre":',
        '                 "w',
        "gpt-4o-mini: 1,200 input and 22 output tokens, $0.000027 live, 394 ms",
      ],
      [
        "unknown: its call was not finished 2026-11-27 04:54:00 UTC, by another config",
        "gpt-4o-mini: counted at up to $0.00009",
      ],
    ]);
    expect(rowTryJson(lost)).toMatchObject({ try: 1, text: null, costUsd: null, reservedUsd: 0.00009 });
    expect(rowTryJson(tried)).toMatchObject({ answer: { genre: "war", notes: null }, costUsd: 0.000027 });
  });

  it("keeps the lines of a cell below its first one, and the names of columns in one line each", () => {
    const story: RowStory = {
      pipeline: "films",
      key: "1",
      row: { state: "present", matchesWhere: true, cells: { "a\nresult": "x\nattempt 2", bc: null } },
      request: null,
      refused: null,
      attempts: [],
      events: [],
      tries: [],
      triesMore: 0,
      result: { state: "absent" },
      delivery: null,
    };
    const lines = renderStory(story, { bold: (text) => text, ago: () => null, accountText: String });
    expect(lines).toContain("  a\\nresult  x");
    expect(lines).toContain("             attempt 2");
  });
});

describe("A failure", () => {
  const failure: ShownFailure = {
    pipeline: "films",
    reason: "unwritable",
    rows: 1_200,
    kept: 1_200,
    key: "-it's",
    message: "The database refused: bad\nfilms: 9 succeeded\u001b[2K.",
    retryNanoUsd: 0,
    fix: fixOf("unwritable", { name: "films" }),
  };
  const style = { bold: (text: string) => text };

  it("names its reason, a row as the shell takes it, and the command that fixes it; nothing forges a line", () => {
    expect(failureLines(failure, style)).toEqual([
      "films: 1,200 rows unwritable, 1,200 answers kept",
      "  The database refused: bad\\nfilms: 9 succeeded\\x1b[2K.",
      "  Example: -it's: rowmill show films -- '-it'\\''s'",
      "  Hint: Change the target so that it accepts the answer. Then write the kept answer, at no cost: rowmill retry films --reason unwritable",
      "  To retry: no cost",
    ]);
  });

  it("fits a narrow terminal, each further line indented", () => {
    const [first, ...further] = failureLines(failure, style).flatMap((line) => layOut(line, 40));
    expect(first).toBe("films: 1,200 rows unwritable, 1,200");
    expect(further.every((line) => line.startsWith("  ") && line.length <= 40)).toBe(true);
  });

  it.each([...FAILED_REASONS, "refusedKey", "ofANewerVersion"])("as %s has something that fixes it", (reason) => {
    expect(fixOf(reason, { name: "films" })).toMatch(/films/);
  });
});

describe("The status", () => {
  const facts: StatusFacts = {
    place: "db:5432/app",
    syncs: [],
    promises: [{ title: "OpenAI", short: "nothing is paid twice" }],
    pipelines: [
      {
        id: 1,
        name: "films",
        waiting: 12,
        batched: 0,
        succeeded: 1_000,
        undecided: 0,
        failed: 3,
        refused: 1,
        unnamed: [{ rows: 1, example: "long\nkey", reason: "A key may have at most 1024 bytes." }],
        cancelled: 0,
        gone: 0,
        pauseKind: "person",
        pauseReason: "new prompt",
        definitionHash: "a",
        approvedHash: "a",
        estimate: null,
        uninstalledAt: null,
        targetTable: "labels",
        batches: {},
        failing: 0,
        deadlineMs: 1_000,
        isFlushed: false,
        nextLookMs: null,
        arrivals: 2,
        paused: "new prompt. Resume it: rowmill resume films",
        heldBack: null,
        topFailure: null,
      },
    ],
    money: [
      {
        pipelineId: 1,
        inputTokens: 1,
        cachedInputTokens: 0,
        outputTokens: 1,
        spentNanoUsd: 1.5e9,
        liveNanoUsd: 3e9,
        reservedNanoUsd: 0,
        unpriced: 0,
      },
    ],
    batches: [],
    progress: [],
    held: [],
    overdue: [],
    waits: [],
    deliveries: [],
    refusedPushes: [
      {
        pipeline: "films",
        reason: "503: The database does not answer now. Send the call again later.",
        pushes: 2,
        rows: 0,
        isRead: false,
        example: null,
        lastAt: new Date("2026-11-27T09:00:00Z"),
      },
    ],
    events: [],
    workers: [],
  };
  const same = (text: string) => text;
  const style = { columns: () => 60, bold: same, dim: same, ago: () => "3 min ago" };

  it("says for each pipeline what holds it back and what to do", () => {
    const lines = renderStatus(facts, style);
    expect(lines).toContain("! films: paused: new prompt. Resume it: rowmill resume films");
    expect(lines.join(" ")).toContain("films: 1 failed row cannot be sent because of the key,");
    expect(lines).toContain("films: 2 changed rows not processed yet");
    expect(lines.join(" ")).toMatch(
      /films: 2 pushes refused with status 503: .* Last at .* Check the database with rowmill doctor, then send/,
    );
    expect(lines.join(" ")).toContain("No worker is running, so nothing moves. Start one: rowmill up");
  });

  it.each([20, 40, 60, 80, 200])("never exceeds %i columns but by single words", (columns) => {
    const rendered = renderStatus(facts, { ...style, columns: () => columns });
    const lines = rendered.flatMap((line) => layOut(line, columns));
    const tooLong = lines.filter((line) => line.length > columns && line.trim().includes(" "));
    expect(tooLong).toEqual([]);
  });
});

describe("the tables that init does not offer", () => {
  const table = (name: string, problem: string | null) => ({
    name,
    qualified: name,
    columns: [],
    keys: [],
    problem,
  });

  it("are named in one line for each reason, the first of them", () => {
    const keyless = Array.from({ length: 9 }, (_, index) => table(`t${index + 1}`, "no key"));
    expect(listUnwatchable([table("films", null), ...keyless, table("v", "a view")])).toEqual([
      "t1, t2, t3, t4, t5, t6, … and 3 more cannot be watched: no key",
      "v cannot be watched: a view",
    ]);
  });
});
