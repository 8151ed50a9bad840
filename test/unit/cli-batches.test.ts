import { describe, expect, it } from "vitest";
import { batchTable, logLines, stateWords } from "../../src/cli/reports/batch-text.js";
import { consequences, noteOf, outcomeOf } from "../../src/cli/reports/cancel-text.js";
import { costTable } from "../../src/cli/commands/inspect/costs.js";
import { cancelAction, type CancelAction, type CancelFacts } from "../../src/model/batch/cancelling.js";
import type { BatchStory, ListedBatch } from "../../src/store/batches/batch-list.js";
import type { CancelCandidate } from "../../src/store/batches/cancellation.js";

const at = new Date("2026-11-27T10:00:00Z");
const listed: ListedBatch = {
  id: "3473fe9e-0000-4000-8000-000000000000",
  no: 1,
  pipeline: "movies",
  version: 2,
  state: "running",
  cancelWanted: false,
  provider: "openai",
  providerBatchId: "batch_68a1b2c3",
  providerStatus: "in_progress",
  presumed: false,
  model: "gpt-4o-mini",
  requests: 1_000,
  succeeded: 0,
  failed: 0,
  returned: 0,
  done: 312,
  plannedAt: at,
  submittedAt: at,
  providerDoneAt: null,
  settledAt: null,
  elapsedMs: 240_000,
  costNanoUsd: 0,
  lostNanoUsd: 0,
  reservedNanoUsd: 380_000_000,
  likelyNanoUsd: 12_000_000,
  sharing: 0,
  sharingSavedNanoUsd: 0,
  unpriced: 0,
};
const style = (columns: number) => ({ columns: () => columns, bold: (text: string) => text, ago: () => "4 min ago" });

describe("The list of batches", () => {
  it("leaves columns out where the terminal is narrow, and none in a file", () => {
    expect(batchTable([listed], style(Infinity))).toEqual([
      "batch     pipeline  state    requests  done  failed  returned  submitted   took     cost  provider's ID",
      "3473fe9e  movies    running     1,000   312       0         0  4 min ago  4 min  ≤ $0.38  batch_68a1b2c3",
    ]);
    expect(batchTable([listed], style(80))).toEqual([
      "batch     pipeline  state    requests  done  failed  submitted     cost",
      "3473fe9e  movies    running     1,000   312       0  4 min ago  ≤ $0.38",
    ]);
    expect(batchTable([listed], style(62))).toEqual([
      "batch     pipeline  state    requests  done  failed     cost",
      "3473fe9e  movies    running     1,000   312       0  ≤ $0.38",
    ]);
    expect(batchTable([listed], style(48))).toEqual([
      "batch     pipeline  state    requests     cost",
      "3473fe9e  movies    running     1,000  ≤ $0.38",
    ]);
    expect(batchTable([], style(80))).toEqual([]);
  });

  it.each<[Partial<ListedBatch>, string]>([
    [{}, "running"],
    [{ presumed: true }, "running?"],
    [{ cancelWanted: true }, "canceling"],
    [{ state: "settled", cancelWanted: true }, "canceled"],
    [{ state: "settled", cancelWanted: true, succeeded: 1_000 }, "done"],
    [{ state: "rejected", cancelWanted: true }, "canceled"],
    [{ state: "rejected" }, "refused"],
    [{ state: "cancelled", cancelWanted: true }, "given up"],
    [{ state: "settled" }, "done"],
  ])("says of %o that it is %s", (facts, words) => {
    expect(stateWords({ ...listed, ...facts })).toBe(words);
  });
});

describe("The story of a batch", () => {
  it("accounts for every request, and lets no text of the provider forge a line", () => {
    const story: BatchStory = {
      ...listed,
      account: "https://api.openai.com/v1",
      definitionHash: "d",
      lines: 999,
      spoolBytes: 123_456,
      inFlight: 990,
      failed: 1,
      returned: 9,
      sharing: 300,
      sharingSavedNanoUsd: 4_000_000,
      inputTokens: 10,
      cachedInputTokens: 4,
      outputTokens: 0,
      liveNanoUsd: 0,
      providerCounts: { total: 999, completed: 310, failed: 2 },
      providerErrors: [{ line: 3, message: "bad\nevents" }, { message: "worse" }],
      providerData: {},
      forgottenAt: null,
      creates: 1,
      adopted: false,
      shared: false,
      cancelWantedAt: at,
      cancelWantedBy: "ann on host (rowmill cancel)",
      drops: true,
      trouble: "no reply from\nhttps://api.openai.com/v1",
      troubleSince: at,
      failures: 4,
    };
    const events = [
      { from: null, to: "planned", reason: "flush", at },
      { from: "running", to: "running", reason: "you\u001b[2K", at },
    ] as const;
    expect(logLines({ story, events, outcomes: [], place: "OpenAI" }, style(80))).toEqual([
      "batch 3473fe9e-0000-4000-8000-000000000000 of movies",
      "  state     running",
      "  asked     gpt-4o-mini at openai (OpenAI)",
      "  version   2 of the config (rowmill versions movies)",
      "  provider  batch_68a1b2c3, in_progress, 310 of 999 completed, 2 failed",
      "  cancel    wanted by ann on host (rowmill cancel) at 2026-11-27 10:00:00 UTC; rows without an answer are dropped",
      "  trouble   4 tries in a row failed, since 2026-11-27 10:00:00 UTC: no reply from\\nhttps://api.openai.com/v1",
      "  requests  1,000 = 0 succeeded + 1 failed + 9 returned + 990 open",
      "  shared    300 of 1,000 requests shared the line of an equal one, $0.004 saved",
      "  tokens    10 input (4 cached), 0 output",
      "  money     $0.00 spent, at most $0.38 reserved, estimated $0.012",
      "  file      999 lines, 123,456 bytes",
      "  error     line 3: bad\\nevents",
      "  error     worse",
      "",
      "events",
      "  2026-11-27 10:00:00 UTC  planned: flush",
      "  2026-11-27 10:00:00 UTC  running: you\\x1b[2K",
    ]);
  });
});

describe("The sum of costs", () => {
  const sums = {
    batches: 2,
    requests: 1_000,
    succeeded: 990,
    inputTokens: 1,
    outputTokens: 1,
    likelyNanoUsd: 12_000_000,
    failed: 0,
    estimatedSpentNanoUsd: 13_500_000,
    reservedNanoUsd: 0,
    spentNanoUsd: 13_500_000,
    savedNanoUsd: 13_500_000,
    sharing: 0,
    sharingSavedNanoUsd: 0,
    unpriced: 0,
  };

  it("ends with a line of all, and counts what has no price", () => {
    const unknown = { ...sums, likelyNanoUsd: null, spentNanoUsd: 0, savedNanoUsd: 0, unpriced: 7, model: "mine" };
    const lines = [{ ...sums, model: "gpt-4o-mini" }, unknown];
    expect(costTable(["model"], { lines, total: { ...sums, batches: 4, unpriced: 7 }, more: 0 }, style(80))).toEqual([
      "model        batches  requests  estimated  reserved    spent    saved",
      "gpt-4o-mini        2     1,000     $0.012     $0.00   $0.013   $0.013",
      "mine               2     1,000    unknown     $0.00  unknown  unknown",
      "in all             4     1,000     $0.012     $0.00   $0.013   $0.013",
      "",
      "! 7 paid answers have no known price and are not in the sums.",
    ]);
    const shared = { ...sums, sharing: 1, sharingSavedNanoUsd: 0, unpriced: 7, model: "gpt-4o-mini" };
    expect(costTable(["model"], { lines: [shared], total: shared, more: 0 }, style(80)).slice(-3)).toEqual([
      "",
      "1 of 1,000 requests shared the line of an equal one",
      "! 7 paid answers have no known price and are not in the sums.",
    ]);
    expect(costTable(["model"], { lines: [], total: { ...sums, batches: 0 }, more: 0 }, style(80))).toEqual([
      "There is no batch yet.",
    ]);
  });
});

describe("A cancellation", () => {
  const facts: CancelFacts = { state: "running", isCreateOpen: false, shared: false, presumed: false, cancel: null };

  it.each<[Partial<CancelFacts>, boolean, CancelAction]>([
    [{}, false, "cancel"],
    [{ state: "planned" }, true, "withdraw"],
    [{ state: "submitting" }, false, "withdraw"],
    [{ state: "submitting", isCreateOpen: true }, false, "cancel"],
    [{ state: "collecting" }, false, "collecting"],
    [{ state: "collecting" }, true, "dropRest"],
    [{ state: "settled", shared: true }, true, "ended"],
    [{ state: "rejected" }, true, "ended"],
    [{ state: "cancelled" }, true, "ended"],
    [{ shared: true, presumed: true }, false, "shared"],
    [{ presumed: true }, true, "presumed"],
    [{ cancel: { drops: false } }, false, "already"],
    [{ cancel: { drops: false } }, true, "cancel"],
    [{ cancel: { drops: true } }, false, "already"],
  ])("of a batch that is %o, with --drop %s: %s", (more, drops, action) => {
    expect(cancelAction({ ...facts, ...more }, drops)).toBe(action);
  });

  const batch: CancelCandidate = {
    ...facts,
    cancel: null,
    id: listed.id,
    pipeline: "movies",
    provider: "openai",
    account: "a",
    providerBatchId: "batch_68a1b2c3",
    rows: 1_000,
    sharing: 0,
    done: 312,
    reservedNanoUsd: 380_000_000,
    costNanoUsd: 0,
  };

  it("says what is kept and paid, what comes back, and how to send nothing more", () => {
    const wanted = { batch, action: "cancel" } as const;
    expect([noteOf(wanted), ...consequences([wanted], false)]).toEqual([
      "Batch 3473fe9e of movies is at the provider: 312 of 1,000 rows answered at the last check. " +
        "Those are kept and paid, up to $0.12 of the $0.38 reserved.",
      "Rows without an answer wait, and are sent again with the next batch.",
      "To send nothing more: rowmill pause movies",
    ]);
    expect(noteOf({ batch: { ...batch, sharing: 376 }, action: "cancel" })).toBe(
      "Batch 3473fe9e of movies is at the provider: 312 of 624 lines for 1,000 rows answered at the last check. " +
        "Those are kept and paid, up to $0.19 of the $0.38 reserved.",
    );
    expect(noteOf({ batch: { ...batch, done: 0 }, action: "withdraw" })).toBe(
      "Batch 3473fe9e of movies was not sent yet: 1,000 rows, nothing spent, $0.38 freed.",
    );
  });

  it("reports what is done and what will be", () => {
    const wanted = { batch, action: "cancel" } as const;
    const after = (now: Partial<CancelCandidate>) => outcomeOf(wanted, { ...batch, ...now }).text;
    expect(after({ cancel: { drops: false, asked: false } })).toBe(
      "Batch 3473fe9e of movies will be canceled at the provider.",
    );
    expect(after({ cancel: { drops: false, asked: true } })).toBe(
      "Batch 3473fe9e of movies is being canceled at the provider.",
    );
    expect(after({ state: "settled" })).toBe(
      "Batch 3473fe9e of movies is canceled. Rowmill collects the finished answers.",
    );
    expect(outcomeOf({ batch, action: "shared" }, batch)).toMatchObject({ refused: true });
  });
});
