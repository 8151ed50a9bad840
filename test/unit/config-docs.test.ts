import { readFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { readEnvironment } from "../../src/config/load/environment.js";
import { ConfigError } from "../../src/config/read/problems.js";
import { validateConfig } from "../../src/config/read/validate.js";

const repository = path.resolve(import.meta.dirname, "../..");
const guide = await readFile(path.join(repository, "docs/configuration.md"), "utf8");

const origin = { file: "/rowmill.config.ts", language: "script", databaseUrl: null } as const;

/** The keys that the config takes, asked of the config itself: an unknown key is answered with the known ones. */
function knownKeys(definition: object, at: string): readonly string[] {
  try {
    validateConfig(definition, origin);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const answer = error.problems.find((problem) => problem.path === at);
    return answer?.expected.replace(/^.*known here: (.*)\)$/, "$1").split(", ") ?? [];
  }
  return [];
}

const unknown = "unheardOf";
const sectionNames = [
  "source",
  "when",
  "batch",
  "request",
  "target",
  "budget",
  "polling",
  "files",
  "reconcile",
];

function allKeys(): readonly string[] {
  const inPipeline = (films: object) => ({ database: "embedded", pipelines: { films } });
  const top = knownKeys({ [unknown]: 1 }, unknown);
  const pipeline = knownKeys(inPipeline({ [unknown]: 1 }), `pipelines.films.${unknown}`);
  const inside = sectionNames.flatMap((name) =>
    knownKeys(inPipeline({ [name]: { [unknown]: 1 } }), `pipelines.films.${name}.${unknown}`).map(
      (key) => `${name}.${key}`,
    ),
  );
  return [...top, ...pipeline, ...inside];
}

/** The first cells of the tables under a heading. */
function firstCells(heading: string): readonly string[] {
  const from = guide.indexOf(`\n## ${heading}\n`);
  const section = guide.slice(from, guide.indexOf("\n## ", from + 1));
  return [...section.matchAll(/^\| `([^`]+)` +\|/gm)].map((match) => match[1] ?? "");
}

describe("docs/configuration.md", () => {
  test("has every key that the config takes, once, and no other", () => {
    expect(allKeys().length).toBeGreaterThan(40);
    expect(firstCells("Every key").toSorted()).toEqual(allKeys().toSorted());
  });

  test("has every variable that is read, those that may be in lower case once, and no other", () => {
    const read = new Set<string>();
    const spy = new Proxy<Record<string, string>>(
      {},
      {
        get: (_, name) => {
          read.add(String(name).toUpperCase());
          return undefined;
        },
      },
    );
    readEnvironment(spy);
    expect(firstCells("The environment").toSorted()).toEqual([...read].toSorted());
  });

  test.each(["example", "complete"])(
    "shows the config of test/types/%s.ts, which the compilers check",
    async (name) => {
      const shown = guide.split(`<!-- test/types/${name}.ts -->\n\n\`\`\`ts\n`)[1]?.split("```")[0];
      expect(shown).toBe(await readFile(path.join(repository, `test/types/${name}.ts`), "utf8"));
    },
  );

  test.each([
    ["example", ["movies"]],
    ["complete", ["movies", "opinions", "facts"]],
  ])("shows configs that load: %s", async (name, pipelines) => {
    const { evaluateConfig } = await import("../../src/config/load/evaluate.js");
    const definition = await evaluateConfig(path.join(repository, `test/types/${name}.ts`));
    const config = validateConfig(definition, { ...origin, databaseUrl: "postgres://db/app" });
    expect(config.pipelines.map((pipeline) => pipeline.name)).toEqual(pipelines);
  });

  test("has the complete example use every key", async () => {
    const example = await readFile(path.join(repository, "test/types/complete.ts"), "utf8");
    const words = allKeys().map((key) => key.split(".").at(-1) ?? "");
    expect(words.filter((word) => !new RegExp(`\\b${word}\\b`).test(example))).toEqual([]);
  });
});
