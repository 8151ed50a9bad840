import { describe, expect, it } from "vitest";
import { openLog } from "../../src/cli/screen/command-log.js";
import { openTerminal, type Terminal } from "../../src/cli/screen/terminal.js";

describe("A line of the log names an error", () => {
  const lineOf = (err: unknown, debug = false): string => {
    const notes: string[] = [];
    const terminal: Terminal = { ...openTerminal(), debug, note: (text) => void notes.push(text) };
    openLog(terminal, "warn").warn({ pipeline: "films", err }, "a delivery failed");
    return notes.join("\n").replace(/^\S+ /, "");
  };

  it("once, where its message repeats that of its cause", () => {
    const cause = new Error("no column");
    expect(lineOf(new Error("shop: no column", { cause }))).toBe(
      "warn: a delivery failed (pipeline films): shop: no column",
    );
  });

  it("with the messages of its causes, where it does not say them", () => {
    const cause = new Error("fetch failed", { cause: new Error("connect ECONNREFUSED") });
    expect(lineOf(new Error("no answer", { cause }))).toBe(
      "warn: a delivery failed (pipeline films): no answer: fetch failed: connect ECONNREFUSED",
    );
  });

  it("with all stacks in debug, also where causes go in a circle", () => {
    const cause = new Error("inner");
    const outer = new Error("outer", { cause });
    expect(lineOf(outer, true)).toMatch(/caused by Error: inner/);
    cause.cause = outer;
    expect(lineOf(outer)).toBe("warn: a delivery failed (pipeline films): outer: inner");
  });
});
