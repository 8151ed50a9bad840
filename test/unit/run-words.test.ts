/** What the engine says, in the words of `rowmill run`. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runWords } from "../../src/cli/run/run-words.js";
import { failingText } from "../../src/model/batch/failing.js";
import { FAILED_REASONS, fixOf } from "../../src/model/words/failure-fixes.js";
import { pauseText } from "../../src/model/words/pause-text.js";

const names = { name: "my-films-1a2b3c4d", file: join(process.cwd(), "my films.csv"), label: null, pipeline: null };
const words = runWords([names], false);
const RUN = "rowmill run 'my films.csv'";
const request = { maxOutputTokens: 200 } as Parameters<typeof failingText>[1]["request"];

describe("the words of a run", () => {
  it("name the file for the pipeline, and its command for those of a config", () => {
    expect(words("! my-films-1a2b3c4d: It waits for approval: rowmill approve my-films-1a2b3c4d")).toBe(
      `! my films.csv: It waits for approval: ${RUN} --yes`,
    );
    expect(words("Fix the key. Then: rowmill resume my-films-1a2b3c4d")).toBe(`Fix the key. Then: ${RUN}`);
    expect(words("To send these rows again, which costs money again: rowmill resume my-films-1a2b3c4d")).toContain(
      `${RUN} --yes`,
    );
    expect(words("To collect it, start rowmill up with that account's OPENAI_API_KEY.")).toBe(
      `To collect it, run ${RUN} with that account's OPENAI_API_KEY.`,
    );
    expect(words("Try fewer rows: rowmill try my-films-1a2b3c4d -n 3")).toBe(`Try fewer rows: ${RUN} --try 3`);
    expect(words("See it: rowmill show my-films-1a2b3c4d KEY")).toBe("See it: rowmill show my-films-1a2b3c4d KEY");
  });

  it("have nothing of a config in any pause and any fix of a failed row", () => {
    const pauses = ["person", "budget", "account"].map((pauseKind) =>
      pauseText({ name: names.name, pauseKind, pauseReason: "It stopped." }),
    );
    const fixes = FAILED_REASONS.map((reason) => fixOf(reason, { name: names.name, request }));
    const failing = failingText([{ key: "k", outcome: "invalid", detail: "no", accepted: false }], {
      name: names.name,
      request,
    });
    for (const text of [...pauses, ...fixes, failing])
      expect(words(text ?? "")).not.toMatch(/my-films-1a2b3c4d|pipelines\.|rowmill (?!run 'my films\.csv')/);
  });

  it("name the keys of the config that has the question", () => {
    const theirs = runWords([{ ...names, pipeline: "sums" }], false);
    expect(theirs("Raise pipelines.my-films-1a2b3c4d.budget.usd.")).toBe("Raise pipelines.sums.budget.usd.");
  });

  it("keep the name of a question and the place of the state in the command", () => {
    const named = runWords([{ ...names, file: join(process.cwd(), "a.csv"), label: "second try" }], true);
    expect(named("Then: rowmill resume my-films-1a2b3c4d")).toBe(
      "Then: rowmill run a.csv --name 'second try' --global",
    );
  });
});
