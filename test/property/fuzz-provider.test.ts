import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "../../src/index.js";
import { compileAnswer } from "../../src/model/answer/answer.js";
import { formatCustomId, parseCustomId } from "../../src/model/request/custom-id.js";
import { LineTooLongError, splitLines } from "../../src/model/json/jsonl.js";
import { downloadLines } from "../../src/providers/openai/http/download.js";
import { UnreadableReply } from "../../src/providers/openai/http/errors.js";
import { readInputLine } from "../../src/providers/openai/inputs.js";
import { readOutcome } from "../../src/providers/openai/outcome.js";
import {
  readBatch,
  readFile,
  readListedBatch,
  readListedFile,
  readPage,
  untoldReason,
} from "../../src/providers/openai/wire.js";
import { ProviderError } from "../../src/model/provider/provider.js";
import { fuzz, mutated, oddJson, oddText, torn, unstorable } from "../support/fuzz.js";

const CUSTOM_ID = "17-2-0123456789ab";
const answer = compileAnswer(
  z.object({ summary: z.string(), tags: z.array(z.string()).optional(), rating: z.int().nullable() }),
);
const completion = {
  id: "batch_req_1",
  custom_id: CUSTOM_ID,
  response: {
    status_code: 200,
    request_id: "r",
    body: {
      model: "gpt-4o-mini",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: '{"summary":"s","tags":["a"],"rating":1}', refusal: null },
          finish_reason: "stop",
        },
      ],
      usage: { prompt_tokens: 5, completion_tokens: 7, prompt_tokens_details: { cached_tokens: 1 } },
      error: null,
    },
  },
  error: null,
};
const failure = { ...completion, response: null, error: { code: "batch_expired", message: "too late" } };
const input = { custom_id: "a", method: "POST", url: "/v1/chat/completions", body: { model: "m" } };
const asLine = (value: unknown) => JSON.stringify(value) ?? "";
const inContent = (content: string) => {
  const [choice] = completion.response.body.choices;
  const changedChoice = { ...choice, message: { ...choice?.message, content } };
  return { ...completion, response: { ...completion.response, body: { choices: [changedChoice] } } };
};

const line = fc.oneof(
  mutated(completion).map(asLine),
  mutated(failure).map(asLine),
  torn(asLine(completion)),
  oddText,
  oddJson.map(asLine),
  fc.oneof(oddText, oddJson.map(asLine)).map((content) => asLine(inContent(content))),
  mutated({ summary: "s", tags: ["a"], rating: 1 }).map((value) => asLine(inContent(asLine(value)))),
);

describe("Whatever a provider writes", () => {
  it("a line has an outcome that can be stored, and its words an answer or a reason", () => {
    fc.assert(
      fc.property(line, (text) => {
        const outcome = readOutcome(text);
        const named = "text" in outcome ? { ...outcome, text: "" } : outcome;
        expect(unstorable(named)).toEqual([]);
        if ("message" in outcome) {
          expect(outcome.message).not.toBe("");
          expect(outcome.message.length).toBeLessThanOrEqual(501);
        }
        if ("usage" in outcome)
          for (const tokens of Object.values(outcome.usage)) expect(Number.isSafeInteger(tokens)).toBe(true);
        readInputLine(text);
        if (outcome.kind !== "text") return;
        const parsed = answer.parse(outcome.text);
        expect(unstorable(parsed.ok ? parsed.cells : parsed.message)).toEqual([]);
        if (!parsed.ok) expect(parsed.message).not.toBe("");
      }),
      fuzz("providerLines"),
    );
  });

  it("a batch, a file, a page and an input line is read into what can be stored, or is called unreadable", () => {
    const batch = {
      id: "batch_1",
      status: "failed",
      created_at: 1_790_000_000,
      input_file_id: "file-1",
      output_file_id: "file-2",
      error_file_id: null,
      request_counts: { total: 3, completed: 2, failed: 1 },
      errors: { object: "list", data: [{ code: "invalid", line: 2, message: "wrong", param: "url" }] },
      metadata: { rowmill_batch: "b" },
    };
    const file = { id: "file-1", filename: "f.jsonl", bytes: 3, created_at: 1_790_000_000 };
    const page = { object: "list", data: [batch], has_more: false };
    const objects = fc.oneof(mutated(batch), mutated(file), mutated(page), mutated(input), oddJson);
    fc.assert(
      fc.property(objects, (json) => {
        for (const read of [readBatch, readFile, (value: unknown) => readPage(value).hasMore]) {
          try {
            expect(unstorable(read(json))).toEqual([]);
          } catch (error) {
            if (!(error instanceof UnreadableReply)) throw error;
          }
        }
        // An entry of a list never spoils the list.
        const listed = readListedBatch(json);
        expect(unstorable([listed, readListedFile(json), untoldReason(json, listed)])).toEqual([]);
        // What was asked is compared, and not stored.
        const line = readInputLine(asLine(json));
        expect(unstorable(line && { ...line, body: null })).toEqual([]);
      }),
      fuzz("providerObjects"),
    );
  });

  it("a batch says the same, however a server writes its times, numbers and words", () => {
    // From 1: a server that writes 0 says that the time is not there.
    const seconds = fc.integer({ min: 1, max: 4_000_000_000 });
    const count = fc.nat({ max: 100_000 });
    const status = fc.constantFrom("validating", "in_progress", "completed", "expired", "cancelled");
    const facts = fc.record({ seconds, status, total: count, completed: count, failed: count });
    const writing = fc.record({
      time: fc.nat({ max: 5 }),
      number: fc.nat({ max: 2 }),
      word: fc.nat({ max: 3 }),
    });
    fc.assert(
      fc.property(facts, writing, ({ seconds: at, status: word, ...counts }, how) => {
        const iso = new Date(at * 1_000).toISOString();
        // Milliseconds below this would be seconds.
        const inMs = at > 100_000_000 ? at * 1_000 + 7 : at;
        const times = [at, at + 0.5, String(at), iso, iso.replace(/\.000Z$/, "+00:00"), inMs];
        const numbers = Object.entries(counts).map(([name, value]) => [
          name,
          [value, String(value), value + 0.25][how.number],
        ]);
        const words = [word, word.toUpperCase(), word.replace("_", "-"), ` ${word.replace("_", " ")} `];
        const written = {
          id: "batch_1",
          created_at: times[how.time],
          status: words[how.word],
          request_counts: Object.fromEntries(numbers) as object,
        };
        expect(readBatch(written)).toMatchObject({ createdAt: at, status: word, statusText: word, counts });
      }),
    );
    for (const none of [0, "0", null, new Date(0).toISOString()]) {
      expect(readBatch({ id: "batch_1", status: "completed", created_at: none }).createdAt).toBeNull();
    }
  });

  it("a name is one of ours, whole, or not ours at all", () => {
    const edges = [2n ** 63n - 1n, 2n ** 63n, 10n ** 19n - 1n, 2n ** 31n - 1n, 2n ** 31n, 10n ** 10n - 1n, 0n];
    const digits = fc.oneof(fc.constantFrom(...edges), fc.bigInt({ min: -5n, max: 2n ** 66n })).map(String);
    const hash = fc.oneof(fc.constant("0123456789ab"), fc.stringMatching(/^[0-9a-fA-F]{10,13}$/));
    const near = fc.tuple(digits, digits, hash).map((parts) => parts.join("-"));
    fc.assert(
      fc.property(fc.oneof(near, torn(CUSTOM_ID), oddText), (name) => {
        const id = parseCustomId(name);
        if (id === null) return;
        expect(formatCustomId(id.requestId, id.attempt, id.hashPrefix)).toBe(name);
        expect(BigInt(id.requestId)).toBeLessThan(2n ** 63n);
        expect(id.attempt).toBeLessThan(2 ** 31);
      }),
      fuzz("customIds"),
    );
  });

  it("a file gives its whole lines, or says what is wrong with it", async () => {
    const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    const pieces = fc.array(
      fc.oneof(
        line.map((text) => Buffer.from(`${text}\n`)),
        noise,
      ),
      { maxLength: 8 },
    );
    const LINE_BYTES_MAX = 6_000;
    await fc.assert(
      fc.asyncProperty(pieces, fc.nat(), fc.integer({ min: -3, max: 3 }), async (parts, place, unsaid) => {
        const whole = Buffer.concat(parts);
        const at = place % (whole.length + 1);
        const chunks = [whole.subarray(0, at), whole.subarray(at)].filter((chunk) => chunk.length > 0);
        const fileBytes = Math.max(0, whole.length + unsaid);
        const read = await linesOf(chunks, fileBytes);
        // What is missing at the end is noticed by a last line that is not whole; more than was announced is not
        // thrown away.
        const tail = withoutReturn(whole.toString("utf8").split("\n").at(-1) ?? "");
        const isBroken = whole.length === 0 || (tail !== "" && !isJson(tail));
        const isCut = fileBytes > whole.length && isBroken;
        expect(read.error instanceof ProviderError).toBe(isCut);
        const bounded = await boundedLines(chunks, LINE_BYTES_MAX);
        const longest = Math.max(
          0,
          ...whole
            .toString("latin1")
            .split("\n")
            .map((text) => text.length),
        );
        expect(bounded instanceof LineTooLongError).toBe(longest > LINE_BYTES_MAX);
        if (bounded instanceof LineTooLongError || isCut) return;
        expect(read.lines).toEqual(bounded);
      }),
      fuzz("providerFiles"),
    );
  });
});

function withoutReturn(text: string): string {
  return text.replace(/^\ufeff/, "").replace(/\r$/, "");
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

async function linesOf(chunks: readonly Uint8Array[], fileBytes: number) {
  const lines: string[] = [];
  const response = new Response(ReadableStream.from(chunks));
  const download = {
    fileId: "file-1",
    response,
    recordedBytes: () => Promise.resolve(fileBytes),
    bounds: { linesMax: Infinity, bytesMax: Infinity },
    stallMs: 10_000,
    signal: undefined,
    hangUp: () => {},
  };
  try {
    for await (const texts of downloadLines(download)) lines.push(...texts);
    return { lines, error: null };
  } catch (error) {
    return { lines, error };
  }
}

async function boundedLines(chunks: readonly Uint8Array[], lineBytesMax: number) {
  const lines: string[] = [];
  try {
    for await (const texts of splitLines(ReadableStream.from(chunks), { lineBytesMax })) lines.push(...texts);
    return lines;
  } catch (error) {
    if (error instanceof LineTooLongError) return error;
    throw error;
  }
}
