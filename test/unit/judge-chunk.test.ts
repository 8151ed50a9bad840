import { describe, expect, it } from "vitest";
import { compileAnswer } from "../../src/model/answer/answer.js";
import type { AnswerOutcome } from "../../src/model/provider/outcome.js";
import { formatCustomId } from "../../src/model/request/custom-id.js";
import { compileRequest } from "../../src/model/request/render-request.js";
import type { SourceRow } from "../../src/sources/source.js";
import type { InFlight } from "../../src/store/batches/in-flight.js";
import { currentFingerprint } from "../../src/worker/context.js";
import {
  judgeChunk,
  type ChunkCase,
  type Judging,
  type JudgedChunk,
} from "../../src/worker/turn/collect/judge-answer.js";
import { smallPipeline } from "../support/small-pipeline.js";

const config = {
  ...smallPipeline({ kind: "template", text: "{{ title }}" }),
  polling: { minMs: 1_000, maxMs: 1_000 },
};

const compiled = compileAnswer(config.answer);
const judging: Judging = {
  context: { random: () => 0 },
  pipeline: {
    config,
    answer: compiled,
    render: compileRequest(config),
    encode: (_, question) => ({ line: "", boundTokens: 1, fingerprint: question.user }),
  },
  batch: { model: "asked-model", version: 2, rates: { price: null, batchFactor: 1 }, cancel: null },
  asked: { changed: false, reopens: true, answer: compiled, triesMax: 3, target: "unused" },
};
/** The target takes every answer. */
const writing = { ...judging, asked: { ...judging.asked, target: {} as never } };
const changed = { ...writing, asked: { ...writing.asked, changed: true } };

const HASH = "0123456789abcdef0123456789abcdef";
const OTHER = "fedcba9876543210fedcba9876543210";
const request: InFlight = {
  requestId: "1",
  attempt: 1,
  key: "a",
  tries: 1,
  returns: 1,
  answeredHash: null,
  answeredFingerprint: null,
  contentHash: HASH,
  fingerprint: "Heat",
  room: 50,
  customId: null,
  isSharing: false,
  isForgotten: false,
  isAlone: false,
};
const row: SourceRow = { key: "a", hash: HASH, existedBefore: false, cells: { title: "Heat" } };
const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1 };

function line(text: string, attempt = 1) {
  return { kind: "text" as const, customId: formatCustomId("1", attempt, HASH), model: "said", usage, text };
}
const good = line('{"genre":"crime"}');
const cutShort: AnswerOutcome = {
  kind: "truncated",
  customId: good.customId,
  message: "cut short",
  text: "{",
  model: null,
  usage,
};

const one: ChunkCase = { request, lines: [good], row, present: row, isUnread: false };
const how = { goneBelieved: false, refusals: new Map(), isTimeOver: () => false };

/** What became of the one request. */
function sumUp(judged: JudgedChunk | "lookFirst") {
  if (judged === "lookFirst") return judged;
  const { accepted, others, again, left } = judged;
  return {
    ...(accepted.length > 0 && { written: accepted.map(({ result }) => result) }),
    ...(others.length > 0 && { others: others.map(({ to, outcome, tries }) => [to, outcome, tries]) }),
    ...(again.size > 0 && { again: [...again] }),
    ...(left.size > 0 && { left: [...left.keys()] }),
  };
}

describe("A chunk of answers", () => {
  const written = { written: [{ key: "a", cells: { genre: "crime" }, model: "said", version: 2 }] };
  const refusals = new Map([["1", { key: "a", sqlState: "23514", detail: "no", ofStatement: false }]]);
  const gone = { row: undefined, present: undefined };
  const later = { ...row, hash: OTHER, cells: { title: "Heat 2" } };

  it.each<[string, Judging, Partial<ChunkCase>, Partial<typeof how>, ReturnType<typeof sumUp>]>([
    ["is written where it fits", writing, {}, {}, written],
    ["counts the first line of this attempt", writing, { lines: [line("x", 2), good, line("y")] }, {}, written],
    ["leaves a request without a line in the batch", writing, { lines: [] }, {}, {}],
    ["leaves a request that only another attempt names", writing, { lines: [line("x", 2)] }, {}, {}],
    ["leaves what was not read for later", writing, { isUnread: true }, {}, { left: ["1"] }],
    ["leaves what there is no time for", writing, {}, { isTimeOver: () => true }, { left: ["1"] }],
    ["looks first where a row seems gone", writing, gone, {}, "lookFirst"],
    [
      "ends a row as gone once that is believed",
      writing,
      gone,
      { goneBelieved: true },
      { others: [["gone", "gone", 1]] },
    ],
    [
      "asks again what does not fit, up to the tries",
      writing,
      { lines: [line("no JSON")] },
      {},
      { others: [["waiting", "invalid", 2]] },
    ],
    [
      "fails what does not fit at the last try",
      writing,
      { lines: [line("no JSON")], request: { ...request, tries: 2 } },
      {},
      { others: [["failed", "invalid", 3]] },
    ],
    [
      "asks again about a row that changed, as if for the first time",
      writing,
      { row: later, present: later },
      {},
      { others: [["waiting", "stale", 0]] },
    ],
    [
      "is unwritable where the target refused it alone",
      writing,
      {},
      { refusals },
      { others: [["failed", "unwritable", 1]] },
    ],
    [
      "is kept, unwritable, where the target cannot hold such answers",
      judging,
      {},
      {},
      { others: [["failed", "unwritable", 1]] },
    ],
    ["of a definition that would ask the same is only written", changed, {}, {}, written],
    [
      "of a definition that would ask something else is written, and sent again",
      changed,
      { present: { ...row, cells: { title: "Ran" } } },
      {},
      { ...written, again: [["a", "1"]] },
    ],
    [
      "of such a definition starts its tries again where it does not fit",
      changed,
      { present: { ...row, cells: { title: "Ran" } }, lines: [line("no JSON")] },
      {},
      { others: [["waiting", "invalid", 0]], again: [["a", "1"]] },
    ],
    [
      "that was cut short below the config's limit is sent again at no try",
      writing,
      { lines: [cutShort], request: { ...request, tries: 2 } },
      {},
      { others: [["waiting", "cutShort", 2]] },
    ],
    [
      "that fills its room and does not fit counts as cut short, whatever the server says",
      writing,
      { lines: [{ ...good, text: "{", usage: { ...usage, outputTokens: 50 } }], request: { ...request, tries: 2 } },
      {},
      { others: [["waiting", "cutShort", 2]] },
    ],
    [
      "of plain text that fills a room below the config's limit counts as cut short",
      { ...writing, asked: { ...writing.asked, answer: compileAnswer(null) } },
      { lines: [{ ...good, text: "half a sent", usage: { ...usage, outputTokens: 50 } }] },
      {},
      { others: [["waiting", "cutShort", 1]] },
    ],
    [
      "that was cut short at the config's limit fails",
      writing,
      { lines: [cutShort], request: { ...request, tries: 0, room: config.request.maxOutputTokens } },
      {},
      { others: [["failed", "truncated", 1]] },
    ],
    [
      "counts nothing where what was asked is not known, and would be something else",
      { ...changed, asked: { ...changed.asked, answer: null } },
      { present: { ...row, cells: { title: "Ran" } } },
      {},
      { others: [["waiting", "stale", 0]], again: [["a", "1"]] },
    ],
  ])("%s", (_, turn, facts, circumstances, expected) => {
    expect(sumUp(judgeChunk(turn, [{ ...one, ...facts }], { ...how, ...circumstances }))).toEqual(expected);
  });

  it("compares what is asked by the fingerprint of the pipeline's own encoder", () => {
    expect(currentFingerprint(judging.pipeline, row.cells)).toBe(request.fingerprint);
  });
});
