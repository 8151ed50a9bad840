/**
 * Bad rows through the whole pipeline: each one fails alone with its reason, and all the others are answered, each
 * executed once. What a row holds is drawn by the seed of the run; what has to become of it stands beside each kind.
 */
import fc from "fast-check";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { contentHashOf } from "../../src/gateway/storage/journal.js";
import type { AttemptOutcome } from "../../src/model/words/what-next.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { fuzz, fuzzCases, fuzzSeed, oddJson, oddText, unhandledDuring } from "../support/fuzz.js";
import { quick } from "../support/movies.js";
import { requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const RUNS = 4;
const ROWS = fuzzCases.rows / RUNS;
const LONG_ROW_BYTES = 3 * 1024 * 1024;
/** Whatever they are made of, within the bytes that a key may have. */
const KEY_CHARACTERS_MAX = 200;
const LONG_MS = 120_000;

interface Kind {
  readonly weight: number;
  /** What the row's body begins with; what follows is drawn. */
  readonly mark: string;
  readonly outcome: AttemptOutcome;
  /** The model ran, and was paid. */
  readonly asked: boolean;
}

const good: Kind = { weight: 12, mark: "", outcome: "answered", asked: true };
const byModel: readonly Kind[] = [
  { weight: 1, mark: "[[demo:refuse]]", outcome: "refused", asked: true },
  { weight: 1, mark: "[[demo:invalid]]", outcome: "invalid", asked: true },
  { weight: 1, mark: "[[demo:mismatch]]", outcome: "invalid", asked: true },
  { weight: 1, mark: "[[demo:empty]]", outcome: "invalid", asked: true },
  { weight: 1, mark: "[[demo:no-choices]]", outcome: "invalid", asked: true },
  { weight: 1, mark: "[[demo:nul]]", outcome: "invalid", asked: true },
  { weight: 1, mark: "[[demo:truncate]]", outcome: "truncated", asked: true },
  { weight: 1, mark: "[[demo:error 400]]", outcome: "permanent", asked: true },
  { weight: 1, mark: "[[demo:bad-line]]", outcome: "permanent", asked: false },
];
const byFunction: readonly Kind[] = [
  "nul",
  "half",
  "throw",
  "throwBare",
  "throwNul",
  "number",
  "undefined",
  "failingPromise",
].map((misdeed) => ({ weight: 1, mark: `<<${misdeed}>>`, outcome: "unrenderable", asked: false }));
const empty: Kind = { weight: 1, mark: "<<null>>", outcome: "empty", asked: false };
const byValidate: readonly Kind[] = [
  "throw",
  "throwBare",
  "throwNul",
  "number",
  "undefined",
  "failingPromise",
  "nul",
  "long",
].map((misdeed) => ({ weight: 1, mark: `<<validate:${misdeed}>>`, outcome: "invalid", asked: true }));

const misdeeds: Readonly<Record<string, () => unknown>> = {
  null: () => null,
  nul: () => "a\u0000b",
  half: () => "half \ud800",
  number: () => 3,
  undefined: () => undefined,
  long: () => "😀".repeat(1_000_000),
  failingPromise: () => Promise.reject(new Error("no one waits for this")),
  throw: () => {
    throw new Error("no");
  },
  throwNul: () => {
    throw new Error("no\u0000 \ud800");
  },
  throwBare: () => {
    throw Object.create(null);
  },
};

function misdeedOf(body: string | null, prefix: string): (() => unknown) | undefined {
  const name = new RegExp(`^<<${prefix}(\\w+)>>`).exec(body ?? "")?.[1];
  return name === undefined ? undefined : misdeeds[name];
}

/** As a config in JavaScript may have them: what they give is not what their types say. */
const userFunction = (row: { body: string | null }) => {
  const misdeed = misdeedOf(row.body, "");
  return (misdeed === undefined ? row.body : misdeed()) as string | null;
};
const validate = (_: unknown, row: { body: string | null }) => {
  const misdeed = misdeedOf(row.body, "validate:");
  return (misdeed === undefined ? null : misdeed()) as string | null;
};

function oddPipeline(withTemplate: boolean) {
  return pipeline({
    source: { table: "odd rows", key: 'the "key"', columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: withTemplate ? "{{ body }}" : userFunction },
    answer: z.object({ summary: z.string(), tags: z.array(z.string()) }),
    validate,
    target: { table: "odd answers" },
    attempts: 1,
  });
}

interface OddRow {
  readonly key: string;
  readonly body: string;
  readonly kind: Kind;
}

/** PostgreSQL takes neither NUL nor half a pair; those come out of functions. */
const holdable = (text: string) => text.replaceAll(/\0|\p{Surrogate}/gu, "?");

function drawRows(run: number, withTemplate: boolean): OddRow[] {
  const kinds = [good, ...byModel, ...byValidate, ...(withTemplate ? [] : [...byFunction, empty])];
  const kind = fc.oneof(...kinds.map((arbitrary) => ({ weight: arbitrary.weight, arbitrary: fc.constant(arbitrary) })));
  const drawn = fc.sample(fc.tuple(kind, oddText, oddText), { seed: fuzzSeed + run, numRuns: ROWS });
  return drawn.map(([ofKind, key, text], number) => ({
    // Numbered, so that each key and each content is one of its own.
    key: `${holdable(key).slice(0, KEY_CHARACTERS_MAX)}#${number}`,
    body: `${ofKind.mark}${holdable(text)} is text ${number} of run ${run}.`,
    kind: ofKind,
  }));
}

describeDatabases(
  "Bad rows",
  (kind) => {
    let project: TestProject;
    let junk: readonly string[];
    beforeAll(() => void fuzz("rows"));
    beforeEach(async () => {
      junk = [];
      let next = 0;
      project = await startProject(kind, {
        gateway: {
          faults: {
            // Between the lines of answers stand unrequested ones.
            transformOutput: (line) => (junk.length === 0 ? undefined : [junk[next++ % junk.length] ?? "", line]),
          },
        },
      });
      await project.run(sql`create table public."odd rows" ("the ""key""" text primary key, body text)`);
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function insert(rows: readonly { key: string; body: string }[]): Promise<void> {
      await project.run(sql`insert into public."odd rows"
        select x.key, x.body from json_to_recordset(${JSON.stringify(rows)}::json) as x (key text, body text)`);
    }

    async function answeredKeys(): Promise<string[]> {
      const rows = await project.rows<{ key: string }>(sql`select "the ""key""" as key from public."odd answers"`);
      return rows.map((row) => row.key).sort();
    }

    it.each(
      Array.from({ length: RUNS }, (_, run) => ({
        run,
        asked: run % 2 === 1 ? "by a template" : "by a function",
      })),
    )(
      "fail alone with their reasons, and the others are answered, each asked once: run %$, $asked",
      async ({ run, asked }) => {
        const withTemplate = asked === "by a template";
        const rows = drawRows(run, withTemplate);
        junk = junkLines(run);
        await insert(rows);
        const unhandled = await unhandledDuring(async () => {
          await project.drain(await project.worker({ odd: oddPipeline(withTemplate) }));
        });
        expect(unhandled).toEqual([]);
        const found = new Map((await requests(project)).map((request) => [request.key, request]));
        expect(found.size).toBe(rows.length);
        const { executedByContent } = await project.gateway.journal.summary();
        for (const { key, body, kind: ofKind } of rows) {
          const request = found.get(key);
          const isGood = ofKind === good;
          expect([body, request?.state, request?.error_code]).toEqual([
            body,
            isGood ? "succeeded" : "failed",
            isGood ? null : ofKind.outcome,
          ]);
          expect((request?.error ?? "") === "").toBe(isGood);
          expect([body, executedByContent.get(contentHashOf(body)) ?? 0]).toEqual([body, ofKind.asked ? 1 : 0]);
        }
        const expected = rows.filter((row) => row.kind === good).map((row) => row.key);
        expect(await answeredKeys()).toEqual(expected.sort());
      },
      LONG_MS,
    );

    it(
      "of three megabytes, with keys too long or empty, leave the others alone",
      async () => {
        const long = "Three megabytes of it. ".repeat(LONG_ROW_BYTES / 23);
        await insert([
          { key: "plain", body: "A plain one." },
          { key: "long", body: long },
          { key: "x".repeat(1_025), body: "Its key is too long." },
          { key: "", body: "Its key is empty." },
        ]);
        await project.drain(await project.worker({ odd: oddPipeline(false) }));
        const refused = await project.rows<{ key_prefix: string; reason: string }>(
          sql`select key_prefix, reason from rowmill.refused_keys order by key_prefix`,
        );
        expect(refused).toEqual([
          { key_prefix: "", reason: expect.stringContaining("A key may not be empty.") },
          {
            key_prefix: "x".repeat(100),
            reason: expect.stringContaining("A key may have at most 1024 bytes."),
          },
        ]);
        expect(await answeredKeys()).toEqual(["long", "plain"]);
        const { executedByContent } = await project.gateway.journal.summary();
        expect([...executedByContent]).toHaveLength(2);
        expect(executedByContent.get(contentHashOf(long))).toBe(1);
      },
      LONG_MS,
    );
  },
  bookKeepers,
);

/** Lines that no request is named by, or that name one which is not in the batch, or another attempt of one that is. */
function junkLines(run: number): string[] {
  const customId = fc.constantFrom(
    "1-2-0123456789ab",
    "1-1-000000000000",
    "9223372036854775807-1-0123456789ab",
    "\u0000",
  );
  const line = fc.oneof(
    oddText,
    oddJson.map((value) => JSON.stringify(value)),
    fc
      .tuple(customId, oddJson)
      .map(([id, body]) => JSON.stringify({ custom_id: id, response: { status_code: 200, body } })),
  );
  // A line feed would make two lines of one; the gateway writes them as they are.
  return fc.sample(line, { seed: fuzzSeed + run, numRuns: 50 }).map((text) => text.replaceAll(/[\r\n]/g, " "));
}
