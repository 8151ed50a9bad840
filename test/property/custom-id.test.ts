import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatCustomId, matchesContent, parseCustomId } from "../../src/model/request/custom-id.js";

const BIGINT_MAX = 2n ** 63n - 1n;
const INTEGER_MAX = 2 ** 31 - 1;

const requestId = fc.bigInt({ min: 1n, max: BIGINT_MAX }).map(String);
const attempt = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: INTEGER_MAX }));
const hash = fc
  .array(fc.constantFrom(..."0123456789abcdef"), { minLength: 32, maxLength: 32 })
  .map((digits) => digits.join(""));

describe("custom ids", () => {
  it("come back as they were written", () => {
    fc.assert(
      fc.property(requestId, attempt, hash, (id, number, contentHash) => {
        expect(parseCustomId(formatCustomId(id, number, contentHash))).toEqual({
          requestId: id,
          attempt: number,
          hashPrefix: contentHash.slice(0, 12),
        });
      }),
    );
  });

  it("are at most 64 characters of safe ASCII, which every provider takes", () => {
    fc.assert(
      fc.property(requestId, attempt, hash, (...parts) => {
        expect(formatCustomId(...parts)).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
      }),
    );
    expect(formatCustomId(String(BIGINT_MAX), INTEGER_MAX, "f".repeat(32)).length).toBeLessThanOrEqual(64);
  });

  it("match the content that was asked, and no other", () => {
    fc.assert(
      fc.property(requestId, attempt, hash, hash, (id, number, asked, now) => {
        const parsed = parseCustomId(formatCustomId(id, number, asked));
        expect(parsed !== null && matchesContent(parsed, asked)).toBe(true);
        expect(parsed !== null && matchesContent(parsed, now)).toBe(asked.slice(0, 12) === now.slice(0, 12));
      }),
    );
  });

  it("are distinguished from anything that we did not write", () => {
    const own = fc.tuple(requestId, attempt, hash).map((parts) => formatCustomId(...parts));
    const nearly = fc
      .tuple(own, fc.nat(60), fc.string({ minLength: 1, maxLength: 3 }))
      .map(([text, at, extra]) => text.slice(0, at) + extra + text.slice(at));
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" }), nearly), (text) => {
        const parsed = parseCustomId(text);
        // Read all the same: then it is spelt exactly as we would.
        const { requestId: id, attempt: number, hashPrefix } = parsed ?? { requestId: "", attempt: 0, hashPrefix: "" };
        expect(parsed === null || formatCustomId(id, number, hashPrefix) === text).toBe(true);
      }),
    );
  });

  it.each([
    "",
    "task-1",
    "1-1",
    "1-1-00000000000",
    "1-1-0000000000000",
    "1-1-00000000000A",
    "01-1-000000000000",
    "1-01-000000000000",
    "0-1-000000000000",
    "1-0-000000000000",
    "-1-1-000000000000",
    " 1-1-000000000000",
    "1-1-000000000000\n",
    "１-1-000000000000",
  ])("refuse %j", (text) => {
    expect(parseCustomId(text)).toBeNull();
  });

  it("refuse numbers that no ledger can hold, so that a foreign line cannot fail a whole statement", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: BIGINT_MAX + 1n, max: 10n ** 19n - 1n }), attempt, (id, number) => {
        expect(parseCustomId(`${id}-${number}-000000000000`)).toBeNull();
      }),
    );
    fc.assert(
      fc.property(requestId, fc.integer({ min: INTEGER_MAX + 1, max: 9_999_999_999 }), (id, number) => {
        expect(parseCustomId(`${id}-${number}-000000000000`)).toBeNull();
      }),
    );
  });
});
