import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
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
const sectionNames = ["source", "when", "batch", "request", "target", "budget", "polling", "files", "reconcile"];

function allKeys(): readonly string[] {
  const inPipeline = (films: object) => ({ database: "embedded", pipelines: { films } });
  const top = knownKeys({ [unknown]: 1 }, unknown);
  const pipeline = knownKeys(inPipeline({ [unknown]: 1 }), `pipelines.films.${unknown}`);
  const inside = sectionNames.flatMap((name) =>
    knownKeys(inPipeline({ [name]: { [unknown]: 1 } }), `pipelines.films.${name}.${unknown}`).map(
      (key) => `${name}.${key}`,
    ),
  );
  const push = knownKeys(inPipeline({ source: { push: true, [unknown]: 1 } }), `pipelines.films.source.${unknown}`);
  return [...top, ...pipeline, ...inside, ...push.map((key) => (key === "push" ? key : `push.${key}`))];
}

function sectionOf(heading: string): string {
  const from = guide.indexOf(`\n## ${heading}\n`);
  return guide.slice(from, guide.indexOf("\n## ", from + 1));
}

/** The first cells of the tables under a heading. */
function firstCells(heading: string): readonly string[] {
  return [...sectionOf(heading).matchAll(/^\| `([^`]+)` +\|/gm)].map((match) => match[1] ?? "");
}

/** The keys that have a section, each with its example. */
function keySections(): readonly { key: string; example: string }[] {
  const sections = sectionOf("Every key").matchAll(/^#{3,4} `([^`]+)`\n([\s\S]*?)(?=\n#{3,4} )/gm);
  return [...sections].map(([, key = "", text = ""]) => ({
    key,
    example: /```ts\n([\s\S]*?)```/.exec(text)?.[1] ?? "",
  }));
}

/** All examples as one config file, evaluated: key → what its example sets. */
async function evaluateExamples(): Promise<Record<string, Record<string, unknown>>> {
  const { evaluateConfig } = await import("../../src/config/load/evaluate.js");
  const folder = await mkdtemp(path.join(tmpdir(), "rowmill-examples-"));
  const file = path.join(folder, "rowmill.config.ts");
  const objects = keySections().map(({ key, example }) => `"${key}": {\n${example}},`);
  const films = `{ source: { table: "films", key: "id", columns: ["title"] } }`;
  await writeFile(
    file,
    `import { openai, push, z } from "rowmill";\nconst films = ${films};\nexport default {\n${objects.join("\n")}\n};\n`,
  );
  try {
    return (await evaluateConfig(file)) as Record<string, Record<string, unknown>>;
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("docs/configuration.md", () => {
  test("has every key that the config takes, once, and no other", () => {
    expect(allKeys().length).toBeGreaterThan(40);
    const keys = keySections().map(({ key }) => key);
    expect(keys.toSorted()).toEqual(allKeys().toSorted());
  });

  test("has an example for every key, which sets it and which the config takes", async () => {
    const examples = await evaluateExamples();
    const base = {
      source: { table: "public.films", key: "id", columns: ["title", "description"] },
      request: { model: "gpt-4o-mini", user: "{{ title }}" },
      answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
      target: { table: "film_answers" },
      budget: { usd: 5, per: "day" },
    };
    for (const [key, example] of Object.entries(examples)) {
      const isPush = key.startsWith("push");
      const [top = "", inner] = (isPush ? key.replace("push", "source") : key).split(".");
      expect(Object.keys(example), key).toEqual([top]);
      if (top === "database" || top === "http" || top === "pipelines") continue;
      const value = example[top];
      if (inner !== undefined) expect(Object.keys(value as object), key).toContain(inner);
      const known = isPush ? { key: "id", columns: ["title", "description"] } : (base as Record<string, object>)[top];
      const given = inner === undefined ? value : { ...known, ...(value as object) };
      const definition = { database: "embedded", pipelines: { films: { ...base, [top]: given } } };
      const mistakes = (): unknown => validateConfig(definition, origin);
      expect(mistakes, key).not.toThrow();
    }
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
    ["complete", ["movies", "opinions", "facts", "sent"]],
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
