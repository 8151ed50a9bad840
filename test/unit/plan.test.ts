/** How a plan is composed and what it says: whole texts, no database. */
import { describe, expect, it } from "vitest";
import { decidePlan, type PlanFacts } from "../../src/app/plan/decide-plan.js";
import { packBatches, type PackingFacts } from "../../src/app/plan/pack-batches.js";
import type { AskingPlan, PipelinePlan, ProjectPlan } from "../../src/app/plan/pipeline-plan.js";
import { previewOf } from "../../src/app/open/bind-pipeline.js";
import { planObject } from "../../src/cli/commands/run/plan.js";
import { planLines } from "../../src/cli/reports/plan-text.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { defineConfig, pipeline, z } from "../../src/index.js";
import { compileAnswer } from "../../src/model/answer/answer.js";
import { ratesFor } from "../../src/model/provider/pricing.js";
import { problem, warning } from "../../src/model/words/finding.js";
import { createOpenAIProvider } from "../../src/providers/openai/adapter.js";
import type { SourceTable } from "../../src/sources/table/inspection.js";

const packing: PackingFacts = {
  rows: 1_000,
  least: 1,
  inFile: 400,
  tokensLeft: Infinity,
  money: { left: Infinity, inFlight: false },
  bounds: {
    tokensEach: 100,
    likelyNanoUsdEach: 1,
    nanoUsdEach: 1_000,
    bytesEach: 250,
    room: 200,
    tokensMost: 0,
    nanoUsdMost: 0,
    ratio: { mean: 0.25, max: 0.5 },
  },
  file: { requestsMax: 50_000, bytesMax: 100_000, bytesGuess: null },
  requestsMax: { config: null, provider: 50_000 },
  bytesMax: { config: 100_000, provider: 200_000_000 },
};

describe("Batches of a plan", () => {
  it.each<[string, Partial<PackingFacts>, ReturnType<typeof packBatches>]>([
    [
      "are as many as files hold, where nothing else bounds them",
      {},
      { batches: 3, requests: 1_000, requestsEach: 400, bytesEach: 250, decidedBy: "maxBytes", later: null },
    ],
    [
      "are one where all rows fit",
      { rows: 400 },
      { batches: 1, requests: 400, requestsEach: 400, bytesEach: 250, decidedBy: "rows", later: null },
    ],
    [
      "wait for money that the first one reserves",
      { money: { left: 900_000, inFlight: false } },
      {
        batches: 1,
        requests: 400,
        requestsEach: 400,
        bytesEach: 250,
        decidedBy: "maxBytes",
        later: { batches: 2, requests: 600, because: "noMoney" },
      },
    ],
    [
      "are none where the money is spent",
      { money: { left: 999, inFlight: false } },
      {
        batches: 0,
        requests: 0,
        requestsEach: 400,
        bytesEach: 250,
        decidedBy: "budget",
        later: { batches: 3, requests: 1_000, because: "noMoney" },
      },
    ],
    [
      "wait for tokens, with the slack of a reservation",
      { tokensLeft: 60_000 },
      {
        batches: 2,
        requests: 499,
        requestsEach: 400,
        bytesEach: 250,
        decidedBy: "maxBytes",
        later: { batches: 2, requests: 501, because: "noTokens" },
      },
    ],
    [
      "go one at a time while the size of files is guessed",
      { file: { requestsMax: 50_000, bytesMax: 100_000, bytesGuess: 50_000 }, inFile: 200 },
      {
        batches: 1,
        requests: 200,
        requestsEach: 200,
        bytesEach: 250,
        decidedBy: "learnedBytes",
        later: { batches: 4, requests: 800, because: "guessedBytes" },
      },
    ],
    [
      "are none where the provider takes no batch so small",
      { rows: 50, least: 100 },
      {
        batches: 0,
        requests: 0,
        requestsEach: 50,
        bytesEach: 250,
        decidedBy: "rows",
        later: { batches: 1, requests: 50, because: "fewRows" },
      },
    ],
    [
      "are counted beyond those that are planned one by one",
      { rows: 20_000, inFile: 1, requestsMax: { config: 1, provider: 50_000 } },
      { batches: 20_000, requests: 20_000, requestsEach: 1, bytesEach: 250, decidedBy: "maxRequests", later: null },
    ],
  ])("%s", (_, facts, expected) => {
    expect(packBatches({ ...packing, ...facts })).toEqual(expected);
  });
});

const column = (name: string, type: string) => ({ name, typeOid: 20, type, castType: type, builtIn: true });

const table: SourceTable = {
  oid: 1,
  schema: "public",
  name: "films",
  qualified: '"public"."films"',
  from: 'only "public"."films"',
  key: [column("id", "bigint")],
  columns: [column("title", "text")],
  nullableKey: [],
  generation: null,
  relations: [],
};

function factsOf(more: Partial<PlanFacts> = {}, spec: object = {}): PlanFacts {
  const films = pipeline({
    source: { table: "films", key: "id", columns: ["title"] },
    when: { rows: 100, maxWait: "10m" },
    request: { model: "gpt-4o-mini", maxOutputTokens: 200, user: "{{ title }}" },
    answer: z.object({ summary: z.string() }),
    target: { table: "labels" },
    ...spec,
  });
  const whole = validateConfig(defineConfig({ database: "postgres://127.0.0.1/x", pipelines: { films } }), {
    file: "/x/rowmill.config.ts",
    language: "script",
    databaseUrl: null,
  });
  const [config] = whole.pipelines;
  if (config === undefined) throw new Error("no pipeline");
  const rates = ratesFor(config.provider.dialect, config.request, new Date("2026-11-01"));
  const provider = createOpenAIProvider({ apiKey: "test" });
  return {
    pipeline: previewOf({ config, rates, answer: compileAnswer(config.answer), table }, provider, null),
    ledger: "ready",
    row: { definitionHash: "another", pauseKind: null, pauseReason: null },
    rows: {
      waiting: 0,
      inFlight: 0,
      answered: 0,
      failed: 0,
      skipped: 0,
      refused: 0,
      arrived: 0,
      reasons: { read: 0, fresh: 0, changed: 0, redefined: 0, again: 0 },
      unrecorded: null,
      compared: null,
      asked: 0,
    },
    examined: {
      read: 100,
      repeated: 0,
      sample: {
        takenAtMs: 0,
        definitionHash: "",
        ratio: { mean: 0.25, max: 0.4 },
        meanBytes: 400,
        meanBound: 200,
        meanLineBytes: 700,
        rows: 100,
      },
      bounds: packing.bounds,
      faults: [],
      requests: [],
    },
    money: {
      sizes: null,
      learned: { tokens: 0, nanoUsd: 0 },
      limits: { enqueuedTokens: null, inputBytes: null, sizeGuesses: 0, waitMs: 0 },
      file: { requestsMax: 50_000, bytesMax: 200_000_000, bytesGuess: null },
      reservedTokens: 0,
      spending: { spentNanoUsd: 0, reservedNanoUsd: 0, batchesInFlight: 0 },
    },
    decision: null,
    isApproved: false,
    oldestWaitMs: null,
    ...more,
  };
}

describe("A plan", () => {
  it("scales the reasons of a sample to all that wait, and takes off what an edit asks no more", () => {
    const { rows } = factsOf();
    const plan = decidePlan(
      factsOf({
        rows: {
          ...rows,
          waiting: 10_000,
          answered: 90_000,
          failed: 1_000,
          arrived: 50,
          reasons: { read: 5_000, fresh: 2_500, changed: 500, redefined: 1_000, again: 1_000 },
          compared: {
            sampled: { read: 5_000, of: 93_000 },
            answered: 60_000,
            failed: 100,
            reaffirmed: 1_500,
            changedAnswered: 30,
            changedFailed: 0,
            answeredKeys: [],
            failedKeys: [],
          },
        },
      }),
    );
    expect(plan.rows).toEqual({
      send: 5_000 + 1_030 + 60_600 + 2_000 + 20,
      fresh: 5_000,
      changed: 1_030,
      redefined: 60_600,
      again: 2_000,
      arrived: 20,
      heldByLimit: 0,
      answered: 90_000 - 60_000 - 30 + 1_500,
      failed: 900,
      inFlight: 0,
      skipped: 0,
      refused: 0,
      counted: null,
      reasons: { read: 5_000, of: 10_000 },
    });
    expect(plan.definition).toMatchObject({ state: "changed", asksAgain: 60_100 });
    expect(plan.approval).toEqual({ state: "needed", aboveUsd: 1 });
  });

  it("lets a limit hold back new rows only", () => {
    const { rows } = factsOf();
    const facts = { ...rows, asked: 7, unrecorded: { rows: 20, how: "exactly" as const }, arrived: 5, answered: 1 };
    const limited = decidePlan(factsOf({ rows: facts }, { limit: 10 }));
    expect(limited.rows).toMatchObject({ send: 4, fresh: 3, heldByLimit: 17, arrived: 1 });
    expect(decidePlan(factsOf({ rows: { ...facts, asked: 12 } }, { limit: 10 })).rows).toMatchObject({ fresh: 0 });
  });

  it.each<[string, Partial<PlanFacts>, AskingPlan["start"]]>([
    ["at the threshold", {}, { kind: "now", because: "threshold" }],
    [
      "later, where the provider named a time",
      { money: { ...factsOf().money, limits: { ...factsOf().money.limits, waitMs: 5_000 } } },
      { kind: "provider", waitMs: 5_000 },
    ],
  ])("starts %s", (_, more, start) => {
    const rows = { ...factsOf().rows, unrecorded: { rows: 100, how: "exactly" as const } };
    expect(decidePlan(factsOf({ rows, ...more })).start).toEqual(start);
  });

  it("starts when the oldest row has waited long enough", () => {
    const rows = { ...factsOf().rows, waiting: 5 };
    expect(decidePlan(factsOf({ rows, oldestWaitMs: 60_000 })).start).toEqual({
      kind: "waits",
      rows: 100,
      waitMs: 540_000,
    });
    expect(decidePlan(factsOf({ rows, oldestWaitMs: 700_000 })).start).toEqual({ kind: "now", because: "deadline" });
  });
});

const style = { bold: (line: string) => line };
const textOf = (plan: ProjectPlan) => planLines(plan, style).map(({ text }) => text);

const asking: AskingPlan = {
  ...decidePlan(
    factsOf(
      {
        rows: {
          ...factsOf().rows,
          waiting: 503,
          reasons: { read: 503, fresh: 500, changed: 2, redefined: 0, again: 1 },
        },
        examined: { ...factsOf().examined, bounds: { ...packing.bounds, nanoUsdEach: 150_000 } },
        money: {
          ...factsOf().money,
          spending: { spentNanoUsd: 20_000_000, reservedNanoUsd: 0, batchesInFlight: 0 },
        },
        row: { definitionHash: "another", pauseKind: "person", pauseReason: "new prompt" },
      },
      { budget: { usd: 0.03, per: "day" } },
    ),
  ),
  requests: [
    {
      key: "a\nb",
      model: "gpt-4o-mini",
      maxOutputTokens: 1,
      system: null,
      user: `one\u202e\n${"x".repeat(1_200)}`,
      schema: { type: "object" },
      line: '{"custom_id":"1-1-0","body":{"model":"gpt-4o-mini"}}',
    },
  ],
};

const films: PipelinePlan = {
  name: "films",
  findings: [
    warning("3 of 5 rows cannot be sent.", { fixes: ["Fix it."] }),
    problem("No right.", { sql: ['grant select on "films" to me;'] }),
  ],
  setup: {
    target: { table: '"public"."labels"', exists: true, statements: ['alter table "public"."labels" add "x" text'] },
    triggers: ['"public"."films"'],
  },
  asking,
};

describe("The text of a plan", () => {
  it("says all of it in order, with what others wrote escaped and cut", () => {
    const plan: ProjectPlan = { findings: [warning("One thing.")], ledger: "missing", pipelines: [films] };
    expect(textOf(plan)).toEqual([
      "! warning: One thing.",
      "",
      "films: 503 rows would go out",
      "  new              500  never asked",
      "  changed content    2  answered before the row changed",
      "  another try        1  sent before, without a usable answer",
      "  Your edit of the config sends no answered row again",
      "  Batches: 1 at first, of 66 requests, about 17 kB (by the budget)",
      "  Later: 437 requests in about 7 batches, when the budget has room again",
      "  Start: as soon as a worker runs: when.rows is reached",
      "  Tokens: about 55,833 input and 20,120 output, by a sample of 100 of 503 rows",
      "  Cost: estimated $0.01 (cap $0.11 with up to 3 tries per row; live requests: $0.02; the size of the answers " +
        "is a guess)",
      "  Budget: $0.03 per day: $0.02 spent, $0.00 reserved, $0.01 left; likely not enough for these rows",
      "  Approval: not needed: the estimate is not above $1 (approveAboveUsd)",
      "  Paused: new prompt. To resume it: rowmill resume films",
      '  Setup: rowmill up creates the schemas rowmill and rowmill_worker, puts triggers on "public"."films", and ' +
        'changes "public"."labels"',
      '    alter table "public"."labels" add "x" text;',
      "  ! warning: 3 of 5 rows cannot be sent.",
      "    - Fix it.",
      "  ✗ problem: No right.",
      "    - Run as an administrator or as the owner:",
      '        grant select on "films" to me;',
      "  Request 1 of 1 shown: row a\\nb",
      "    model   gpt-4o-mini, at most 1 output token",
      "    user    one\\u202e",
      `            ${"x".repeat(995)}`,
      "            … 205 more characters; whole with --json",
      '    schema  {"type":"object"}',
    ]);
  });

  it("says what an edit asks again, and by which sample", () => {
    const edited = {
      ...asking,
      pause: null,
      requests: [],
      budget: null,
      rows: { ...asking.rows, inFlight: 20, answered: 1_000, arrived: 3 },
      definition: {
        state: "changed" as const,
        compared: { read: 5_000, of: 1_000_000 },
        asksAgain: 503_000,
        likelyNanoUsd: 10_400_000_000,
        decision: "reask" as const,
        keepsAnswer: 0,
        inFlight: { rows: 20, asksAgain: 20, likelyNanoUsd: 4_000_000 },
      },
    };
    const lines = textOf({
      findings: [],
      ledger: "ready",
      pipelines: [{ name: "films", findings: [], setup: null, asking: edited }],
    });
    expect(lines.slice(0, 8)).toEqual([
      "films: up to about 503 rows would go out",
      "  new               500  never asked",
      "  changed content     2  answered before the row changed",
      "  another try         1  sent before, without a usable answer",
      "  recorded changes    3  no worker has looked at them yet; at most this many",
      "  Not sent: 1,000 answered, 20 in flight",
      "  Your edit of the config sends 503,000 rows again, about $10.40 (by a sample of 5,000 of 1,000,000 rows)",
      "  20 rows are in flight: their answers count for the previous config; then they are sent again if the " +
        "config asks something else, about $0.004 at most",
    ]);
  });

  it.each([
    [
      "undecided" as const,
      [
        "  Your edit of the config sends 60 rows again, about $0.0012",
        "    rowmill up asks first. Without a terminal, answered rows wait for your yes: rowmill approve films",
        "  1 row is in flight: its answer counts for the previous config; you decide with the answered rows " +
          "whether it is sent again then, about $0.00002",
      ],
    ],
    [
      "newOnly" as const,
      [
        "  Your edit of the config sends 10 rows again, about $0.0002",
        '    50 answered rows keep their answers: onChange is "newOnly", or you decided so',
        "  1 row is in flight: its answer counts for the previous config; it is not sent again",
      ],
    ],
    [
      "reask" as const,
      [
        "  Your edit of the config sends 60 rows again, about $0.0012",
        "  1 row is in flight: its answer counts for the previous config; then it is sent again if the config " +
          "asks something else, about $0.00002 at most",
      ],
    ],
  ])("says what becomes of answered rows and of those in flight: %s", (decision, lines) => {
    const compared = {
      sampled: { read: 100, of: 100 },
      answered: 50,
      failed: 10,
      reaffirmed: 0,
      changedAnswered: 0,
      changedFailed: 0,
      answeredKeys: [],
      failedKeys: [],
    };
    const rows = { ...factsOf().rows, answered: 80, failed: 20, inFlight: 1, compared };
    const planned = decidePlan(factsOf({ rows, decision }));
    expect(planned.rows).toMatchObject({ send: decision === "newOnly" ? 10 : 60, inFlight: 1 });
    const text = textOf({
      findings: [],
      ledger: "ready",
      pipelines: [{ name: "films", findings: [], setup: null, asking: { ...planned, requests: [] } }],
    });
    const at = text.findIndex((line) => line.includes("Your edit"));
    expect(text.slice(at, at + lines.length)).toEqual(lines);
  });

  it.each([
    [
      { rows: 30, read: 100, of: 503, shared: true },
      "30 of 100 sampled rows ask the same as another one; a batch sends such rows once, for less (dedupe)",
    ],
    [
      { rows: 1, read: 503, of: 503, shared: false },
      "1 of 503 rows asks the same as another one; to send such rows once per batch: dedupe: true",
    ],
    [
      { rows: 30, read: 100, of: 7, shared: true },
      "30 of 100 sampled rows ask the same as another one; a batch sends such rows once, for less (dedupe)",
    ],
  ])("says of equal questions %o: %s", (repeated, words) => {
    const lines = textOf({
      findings: [],
      ledger: "ready",
      pipelines: [{ name: "films", findings: [], setup: null, asking: { ...asking, repeated } }],
    });
    expect(lines).toContain(`  Equal questions: ${words}`);
  });

  it("finds equal questions, unless the provider takes no small batch", () => {
    const examined = { ...factsOf().examined, repeated: 30 };
    const rows = { ...factsOf().rows, waiting: 503 };
    expect(decidePlan(factsOf({ examined, rows })).repeated).toMatchObject({ rows: 30, read: 100, of: 503 });
    // Of the rows that a limit holds back some were read, too.
    const limited = { ...factsOf().rows, waiting: 7 };
    expect(decidePlan(factsOf({ examined, rows: limited })).repeated).toMatchObject({ rows: 30, read: 100, of: 7 });
    expect(decidePlan(factsOf({ rows })).repeated).toBeNull();
  });

  it("says in one line that nothing goes out, and what could not be planned", () => {
    const idle = decidePlan(factsOf({ row: { definitionHash: "x", pauseKind: null, pauseReason: null } }));
    const unchanged = { ...idle, definition: { ...idle.definition, state: "unchanged" as const } };
    expect(
      textOf({
        findings: [],
        ledger: "ready",
        pipelines: [
          { name: "a", findings: [], setup: { target: null, triggers: [] }, asking: unchanged },
          { name: "b", findings: [problem("There is no table b.")], setup: null, asking: null },
        ],
      }),
    ).toEqual(["a: no row would go out", "", "b: nothing can be planned yet", "  ✗ problem: There is no table b."]);
  });

  it("has its money in dollars for programs, and the line as JSON", () => {
    const object = planObject({ findings: [], ledger: "ready", pipelines: [films] });
    expect(object).toMatchObject({
      ledger: "ready",
      pipelines: [
        {
          name: "films",
          findings: [
            { status: "warning", text: "3 of 5 rows cannot be sent.", fixes: ["Fix it."], sql: [] },
            { status: "problem" },
          ],
          plan: {
            definition: { state: "changed", likelyUsd: 0 },
            estimate: { likelyUsd: (asking.estimate.likelyNanoUsd ?? NaN) / 1e9 },
            budget: { usd: 0.03, per: "day", spentUsd: 0.02, reservedUsd: 0, leftUsd: 0.01, stops: true },
            requests: [{ key: "a\nb", line: { custom_id: "1-1-0", body: { model: "gpt-4o-mini" } } }],
          },
        },
      ],
    });
    expect(JSON.stringify(object)).not.toContain("NanoUsd");
  });
});
