import { describe, expect, it } from "vitest";
import {
  ANSWERS_JUDGED,
  failingText,
  failuresAmong,
  failuresToAccept,
  refusalText,
  refusesAll,
  type Refusal,
  type JudgedAnswer,
} from "../../src/model/batch/failing.js";
import type { AttemptOutcome } from "../../src/model/words/what-next.js";

function answers(counts: Partial<Record<AttemptOutcome, number>>, accepted: AttemptOutcome[] = []): JudgedAnswer[] {
  return Object.entries(counts).flatMap(([outcome, count]) =>
    Array.from({ length: count }, (_, index) => ({
      key: `${outcome} ${index}`,
      outcome: outcome as AttemptOutcome,
      detail: `it is ${outcome}`,
      accepted: accepted.some((name) => name === outcome),
    })),
  );
}

const config = {
  name: "films",
  request: {
    model: "gpt-4o-mini",
    parameters: {},
    system: null,
    user: { kind: "template", text: "{{ title }}" },
    maxOutputTokens: 200,
    price: null,
  },
} as const;

describe("Answers that mostly fail", () => {
  it.each([
    [{ answered: 9, invalid: 11 }, 11],
    [{ answered: 10, invalid: 10 }, 0],
    [{ unwritable: 9, invalid: 4, refused: 4, truncated: 3 }, 11],
    [{ invalid: 19 }, 0],
    [{ answered: 20 }, 0],
  ])("are more than half of twenty: %j", (counts, failures) => {
    const last = answers(counts);
    expect(failuresAmong(last, last)).toHaveLength(failures);
  });

  it("say nothing while the rows that had not failed before are answered", () => {
    const last = answers({ invalid: ANSWERS_JUDGED });
    expect(failuresAmong(last, answers({ answered: 18, invalid: 2 }))).toEqual([]);
    expect(failuresAmong(last, answers({ answered: 2, invalid: 8 }))).toHaveLength(ANSWERS_JUDGED);
    expect(failuresAmong(last, [])).toHaveLength(ANSWERS_JUDGED);
  });

  it("do not count where you accepted their kind", () => {
    const last = answers({ refused: 14, invalid: 4, answered: 2 }, ["refused"]);
    expect(failuresAmong(last, last)).toEqual([]);
    const worse = answers({ refused: 4, invalid: 14, answered: 2 }, ["refused"]);
    expect(failuresAmong(worse, worse)).toHaveLength(14);
  });

  it("are accepted by as few kinds as make the rest no longer too many", () => {
    expect(failuresToAccept(answers({ refused: 14, invalid: 4, answered: 2 }))).toEqual(["refused"]);
    expect(failuresToAccept(answers({ truncated: 12, invalid: 8 }))).toEqual(["truncated"]);
    expect(failuresToAccept(answers({ refused: 7, invalid: 7, truncated: 6 }))).toEqual(["invalid", "refused"]);
    expect(failuresToAccept(answers({ answered: 15, invalid: 5 }))).toEqual([]);
  });

  it.each([
    ["truncated", "Raise pipelines.films.request.maxOutputTokens (now 200;"],
    ["invalid", "Say in pipelines.films.request what the answer must look like"],
    ["refused", "Change the messages or the model: pipelines.films.request"],
  ] as const)("that are %s are told on one line with an example and the key to change", (outcome, fix) => {
    const last = answers({ [outcome]: 15, answered: 5 }).map((answer) => ({
      ...answer,
      key: `z\nevil: 100000 succeeded ${"k".repeat(100)}`,
      detail: `\u001b[2K\u202e"x"\u2028${"d".repeat(10_000)}`,
    }));
    const text = failingText(failuresAmong(last, last), config);
    expect(text).toContain(`15 of the last 20 answers failed: 15 ${outcome}. Row "z\\nevil: 100000 succeeded`);
    expect(text).toContain(fix);
    expect(text).toMatch(/rowmill resume films\. .* rowmill resume films --accept$/);
    expect(text).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
    expect(text.length).toBeLessThan(800);
  });
});

describe("Answers that the target refuses", () => {
  const refused = (count: number, changes: Partial<Refusal> = {}): Refusal[] =>
    Array.from({ length: count }, (_, index) => ({
      key: `${index}`,
      sqlState: "P0001",
      detail: "The database refused: closed.",
      ofStatement: false,
      ...changes,
    }));

  it.each([
    [2, {}, true],
    [1, {}, false],
    [1, { unwritable: 18 }, false],
    [1, { unwritable: 19 }, true],
    [1, { unwritable: 18, answered: 1 }, false],
    [3, { invalid: 17 }, true],
    [3, { answered: 1 }, false],
    [3, { unwritable: 16, answered: 1 }, false],
    [3, { unwritable: 17, answered: 3 }, true],
    [20, { answered: 20 }, true],
  ])("%i at once, after %j, are the target's doing: %s", (count, last, all) => {
    expect(refusesAll(refused(count), answers(last))).toBe(all);
  });

  it("are its rows' where they are not refused alike, and its own where the statement is refused", () => {
    expect(refusesAll([...refused(2), ...refused(1, { sqlState: "23514" })], [])).toBe(false);
    expect(refusesAll(refused(2, { sqlState: null }), [])).toBe(true);
    expect(refusesAll(refused(1, { sqlState: "42501", ofStatement: true }), [])).toBe(true);
    expect(refusesAll([], [])).toBe(false);
  });

  it("are told on one line, with an example that forges none", () => {
    const all = refused(2, {
      key: `2\nevil ${"k".repeat(100)}`,
      detail: `\u001b[2K\u2028${"d".repeat(10_000)}`,
    });
    const text = refusalText(all, {
      name: "films",
      target: {
        table: "a\u202eb",
        addColumns: false,
        access: "private",
        trustOwner: false,
        columns: null,
        elsewhere: null,
      },
    });
    expect(text).toContain("Each of 2 answers was refused by the target");
    expect(text).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
    expect(text.length).toBeLessThan(700);
  });
});
