import { describe, expect, it } from "vitest";
import { z } from "zod";
import { versionLines, type VersionFacts } from "../../src/cli/commands/inspect/versions.js";
import { versionChanges } from "../../src/app/story/version-changes.js";
import { describeDefinition } from "../../src/config/definition.js";
import { compileAnswer } from "../../src/model/answer/answer.js";
import type { Json, PipelineConfig } from "../../src/model/pipeline.js";
import { smallPipeline } from "../support/small-pipeline.js";

const template = (text: string) => ({ kind: "template" as const, text });
const mood = z.enum(["dark", "light"]);
const tags = z.array(z.enum(["war", "crime"]));
const note = z.string();
const base: PipelineConfig = {
  ...smallPipeline(
    template("Say in one short sentence what {{ title }} is about, and be exact."),
    template("You label films."),
  ),
  answer: z.object({ mood, tags, note }),
};

/** As jsonb gives it back: the order of names is lost. */
function kept(config: PipelineConfig, provider = { name: "openai", endpoint: "/v1/chat/completions" }) {
  const sorted = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== "object" || value === null) return value;
    const names = Object.keys(value).toSorted();
    return Object.fromEntries(names.map((name) => [name, sorted(value[name] ?? null)]));
  };
  return { says: sorted(describeDefinition(config, provider)), answer: compileAnswer(config.answer).stored };
}

function withRequest(request: Partial<PipelineConfig["request"]>): PipelineConfig {
  return { ...base, request: { ...base.request, ...request } };
}

function withAnswer(answer: PipelineConfig["answer"]): PipelineConfig {
  return { ...base, answer };
}

describe("What changed between two versions of a config", () => {
  it.each<[PipelineConfig, string[]]>([
    [withRequest({ model: "gpt-4.1-mini" }), ["model: gpt-4o-mini → gpt-4.1-mini"]],
    [
      withRequest({ parameters: { temperature: 0.2, top_p: 0.5 }, maxOutputTokens: 200 }),
      ["temperature: 0.1 → 0.2", "top_p: none → 0.5", "maxOutputTokens: 99 → 200"],
    ],
    [
      withRequest({ user: template("Say in ten words what {{ title }} is about, and be exact.") }),
      ['prompt: "Say in one short sentence what {{ title }} …" → "Say in ten words what {{ title }} …"'],
    ],
    [
      withRequest({ user: template("Say in one short sentence what {{ title }} is about, and be exact. Please.") }),
      ['prompt: "… be exact." → "… be exact. Please."'],
    ],
    [withRequest({ system: null }), ["system: no text any more, or a function makes it"]],
    [
      withRequest({ system: template("You label films.\nBe brief.") }),
      ['system: "… label films." → "… label films. Be brief."'],
    ],
    [
      withRequest({ system: template("You label\n\nfilms.") }),
      ["system: the same words with other spaces or line breaks"],
    ],
    [withAnswer(z.object({ mood: z.enum(["dark", "light", "grim"]), tags, note })), ['mood: also "grim"']],
    [
      withAnswer(
        z.object({ mood: z.enum(["dark", "light", ...Array.from({ length: 12 }, (_, at) => `m${at}`)]), tags, note }),
      ),
      ['mood: also "m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9" and 2 more'],
    ],
    [
      withAnswer(z.object({ mood, tags: z.array(z.enum(["war", "noir", "western"])), note })),
      ['tags: also "noir", "western"; no longer "crime"'],
    ],
    [withAnswer(z.object({ mood, tags, stars: z.number() })), ["answer: new field stars", "answer: no longer note"]],
    [withAnswer(z.object({ mood, tags, note: z.number() })), ["note: string → number"]],
    [withAnswer(z.object({ mood, tags, note: mood })), ['note: string → "dark" | "light"']],
    [withAnswer(z.object({ mood, tags: z.array(note), note })), ['tags: ("war" | "crime")[] → string[]']],
    [withAnswer(z.object({ mood, tags, note: z.string().nullable() })), ["note: string → string | null"]],
    [withAnswer(z.object({ note, tags, mood })), ["answer: its fields in the order note, tags, mood"]],
    [withAnswer(null), ["answer: a text instead of fields"]],
    [{ ...base, source: { ...base.source, columns: ["plot"] } }, ["columns: also plot; no longer title"]],
    [{ ...base, source: { ...base.source, table: "public.movies" } }, [`table: ${base.source.table} → public.movies`]],
    [
      withRequest({ user: { kind: "function", render: () => "a" } }),
      ["prompt: no text any more, or a function makes it"],
    ],
  ])("is said in words", (after, words) => {
    expect(versionChanges(kept(base), kept(after))).toEqual(words);
  });

  it("is shown where it is in a text without spaces", () => {
    const [before, after] = ["何", "誰"].map((word) =>
      kept(withRequest({ user: template(`${"これは映画です。".repeat(9)}${word}が主役ですか。`) })),
    );
    expect(versionChanges(before ?? kept(base), after ?? kept(base))).toEqual([
      'prompt: "…す。これは映画です。何が主役ですか。" → "…す。これは映画です。誰が主役ですか。"',
    ]);
  });

  it("is the provider, or a function where nothing else tells", () => {
    const other = kept(base, { name: "anthropic", endpoint: "/v1/messages" });
    expect(versionChanges(kept(base), other)).toEqual([
      "provider: openai → anthropic",
      "endpoint: /v1/chat/completions → /v1/messages",
    ]);
    expect(versionChanges(kept(base), kept(base))).toEqual(["a function of the prompt changed"]);
  });

  it("is a text instead of fields, and back", () => {
    expect(versionChanges(kept(withAnswer(null)), kept(base))).toEqual(["answer: fields instead of a text"]);
  });

  it("stays short, however long a text is", () => {
    const long = withRequest({ user: template(`${"word ".repeat(10_000)}{{ title }}`) });
    const [words = ""] = versionChanges(kept(base), kept(long));
    expect(words.length).toBeLessThan(160);
  });
});

describe("The list of versions", () => {
  const since = new Date("2026-11-27T10:00:00Z");
  const style = { bold: (text: string) => text, ago: () => "4 min ago" };
  const sums = {
    batches: 2,
    requests: 1_000,
    succeeded: 996,
    failed: 4,
    inputTokens: 0,
    outputTokens: 0,
    likelyNanoUsd: null,
    estimatedSpentNanoUsd: 0,
    reservedNanoUsd: 0,
    spentNanoUsd: 13_600_000,
    savedNanoUsd: 0,
    sharing: 0,
    sharingSavedNanoUsd: 0,
    unpriced: 0,
  };
  const first: VersionFacts = {
    version: 1,
    hash: "a",
    since,
    until: since,
    follows: null,
    changes: [],
    answersInUse: 0,
    sums,
  };

  it("names the present one first, with what changed, figures, and which one it follows if that is not plain", () => {
    const second = { ...first, version: 2, until: null, follows: 1, changes: ['mood: also "\u001b[2J"'], sums: null };
    const again = { ...first, until: null, follows: 3, answersInUse: 996, sums: { ...sums, failed: 400 } };
    expect(versionLines([second, first, again], style)).toEqual([
      "version 2, since 2026-11-27 10:00:00 UTC (4 min ago)",
      '  mood: also "\\x1b[2J"',
      "  no batch yet",
      "",
      "version 1, 2026-11-27 10:00:00 UTC to 2026-11-27 10:00:00 UTC",
      "  1,000 requests in 2 batches: 996 succeeded, 4 failed (0.4%); $0.014",
      "  0 answers in use",
      "",
      "version 1, since 2026-11-27 10:00:00 UTC (4 min ago), after version 3",
      "  1,000 requests in 2 batches: 996 succeeded, 400 failed (29%); $0.014",
      "  996 answers in use",
    ]);
  });
});
