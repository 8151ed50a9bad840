import { describe, expect, test } from "vitest";
import { nearMatch } from "../../src/model/words/near-match.js";

const keys = ["rows", "maxWait", "maxOutputTokens", "topP", "per", "usd"];

describe("nearMatch", () => {
  test.each([
    ["maxwait", "maxWait"],
    ["max_wait", "maxWait"],
    ["maxWiat", "maxWait"],
    ["maxWaits", "maxWait"],
    ["row", "rows"],
    ["top_p", "topP"],
    ["max-output-tokens", "maxOutputTokens"],
    ["maxOutputToken", "maxOutputTokens"],
  ])("takes %s for %s", (word, key) => {
    expect(nearMatch(word, keys)).toBe(key);
  });

  test.each(["", "x", "retries", "deadline", "zz", "m".repeat(1_000_000)])("has no guess for '%s'", (word) => {
    expect(nearMatch(word, keys)).toBeNull();
  });

  test("prefers the nearest, not the first", () => {
    expect(nearMatch("Descriptoin", ["Descriptor", "Description"])).toBe("Description");
  });

  test("has no guess where there is nothing to choose from", () => {
    expect(nearMatch("rows", [])).toBeNull();
  });
});
