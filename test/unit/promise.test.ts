import { describe, expect, it } from "vitest";
import { promiseOf } from "../../src/model/words/promise.js";
import { ADAPTERS } from "../../src/providers/adapters.js";

describe("What is promised after a lost reply", () => {
  it("is at OpenAI that nothing is paid twice", () => {
    const [{ choice }] = ADAPTERS;
    expect(promiseOf(choice.dialect.recovery)).toMatchObject({
      paidTwice: "Nothing.",
      short: "nothing is paid twice",
    });
  });

  it.each([
    [{ find: "token", fence: "none", exclusive: false }, /as long as the provider honors the token/],
    [{ find: "name", fence: "tried", exclusive: false }, /runs although its input was deleted/],
    [{ find: "input", fence: "none", exclusive: false }, /^A duplicate batch, only if/],
    [{ find: "circumstance", fence: "none", exclusive: true }, /cancels nothing that is not proved/],
    [{ find: "circumstance", fence: "none", exclusive: false }, /^Nothing without your consent: .*`reconcile.unknown`/],
  ] as const)("says of %j what could be paid twice, and when", (recovery, words) => {
    expect(promiseOf(recovery).paidTwice).toMatch(words);
  });

  it("never says that something is cancelled which nothing proves to be ours", () => {
    for (const exclusive of [true, false]) {
      const promise = promiseOf({ find: "circumstance", fence: "none", exclusive });
      expect(Object.values(promise).join(" ")).not.toMatch(/finds it, cancels it/);
    }
  });
});
