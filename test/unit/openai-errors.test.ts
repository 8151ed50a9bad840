import { describe, expect, test } from "vitest";
import { redactor, retryAfterMs, RETRY_AFTER_MS_MAX } from "../../src/providers/openai/http/errors.js";

describe("redaction", () => {
  const key = "sk-proj-abcDEF123_456-789";

  test.each([
    [`Incorrect API key provided: ${key}. You can find yours at https://platform.openai.com.`, "find yours"],
    ["Incorrect API key provided: sk-proj-********************789. You can find yours", "find yours"],
    ["Incorrect API key provided: my-own-k**********t789. You can find yours", "find yours"],
    ["Incorrect API key provided: abcDEF123. You can find yours", "find yours"],
    [`headers: Authorization: Bearer ${key}, and more`, "and more"],
    ["key sk-other-key of another project", "of another project"],
    [`${key}${key}`, "[key]"],
  ])("leaves nothing of a key in %s", (text, rest) => {
    const redacted = redactor(key)(text);
    expect(redacted).not.toMatch(/abcDEF|proj-|789|my-own|sk-|\*/);
    expect(redacted).toContain("[key]");
    expect(redacted).toContain(rest);
  });

  test.each(["Rate limit reached. Please ask-again later (risk-free).", "Limit: 2,000,000 enqueued tokens."])(
    "leaves %s as it is",
    (text) => {
      expect(redactor(key)(text)).toBe(text);
    },
  );

  test("takes a key of any form out, and cuts what is too long", () => {
    expect(redactor("hunter2")("you sent hunter2!")).toBe("you sent [key]!");
    expect(redactor("hunter2")("x".repeat(5_000))).toHaveLength(1_000);
  });
});

describe("what the provider asks us to wait", () => {
  test.each<[Record<string, string>, number | null]>([
    [{}, null],
    [{ "retry-after-ms": "250" }, 250],
    [{ "retry-after-ms": "250", "retry-after": "9" }, 250],
    [{ "retry-after": "9" }, 9_000],
    [{ "retry-after": "0.5" }, 500],
    [{ "retry-after": "0" }, 0],
    [{ "retry-after": "86400" }, RETRY_AFTER_MS_MAX],
    [{ "retry-after": "-5" }, null],
    [{ "retry-after": "soon" }, null],
    [{ "retry-after": "Sun, 22 Nov 2026 10:00:30 GMT", date: "Sun, 22 Nov 2026 10:00:00 GMT" }, 30_000],
    [{ "retry-after": "Sun, 22 Nov 2026 09:00:00 GMT", date: "Sun, 22 Nov 2026 10:00:00 GMT" }, 0],
    [{ "retry-after": "Sun, 22 Nov 2026 10:00:30 GMT" }, null],
  ])("%j is %s ms", (headers, ms) => {
    expect(retryAfterMs(new Headers(headers))).toBe(ms);
  });

  test("is nothing without headers", () => {
    expect(retryAfterMs(undefined)).toBeNull();
  });
});
