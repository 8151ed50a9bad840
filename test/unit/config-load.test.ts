import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { definitionHash } from "../../src/config/definition.js";
import { evaluateConfig } from "../../src/config/load/evaluate.js";
import { loadConfig } from "../../src/config/load/load.js";
import { compileAnswer } from "../../src/model/answer/answer.js";
import { RowmillError } from "../../src/model/errors.js";
import type { ProjectConfig } from "../../src/model/pipeline.js";
import { z } from "../../src/index.js";
import { buildCli } from "../support/build.js";

const repository = path.resolve(import.meta.dirname, "../..");

let folder: string;

beforeEach(async () => {
  // Outside of any node_modules: nothing named rowmill or zod can be found from here.
  folder = await realpath(await mkdtemp(path.join(tmpdir(), "rowmill-config-")));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function write(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), text);
  }
}

function load(env: Record<string, string | undefined> = {}, file?: string): Promise<ProjectConfig> {
  return loadConfig({ cwd: folder, env, ...(file === undefined ? {} : { file }) });
}

async function failureOf(loading: Promise<unknown>): Promise<RowmillError> {
  const outcome = await loading.then(
    () => new Error("it loaded"),
    (error: unknown) => error,
  );
  if (outcome instanceof RowmillError) return outcome;
  throw outcome;
}

const script = `
import { defineConfig, pipeline, z } from "rowmill";
const films = pipeline({
  source: { table: "films", key: "id", columns: ["Title"] },
  request: { model: "m", user: (row) => row.Title },
  answer: z.object({ genre: z.string() }),
  target: { table: "labels" },
});
export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { films } });
`;

async function linkToBuilt(project: string): Promise<void> {
  await mkdir(path.join(project, "node_modules"), { recursive: true });
  await symlink(repository, path.join(project, "node_modules/rowmill"));
}

interface LoadedBuilt {
  readonly by?: "node" | "jiti";
  readonly hash?: string;
  readonly table?: string;
  readonly error?: string;
}

/** By one process of the built package. What has another text is loaded again after that change. */
async function loadBuilt(
  files: readonly { readonly file: string; readonly text?: string; readonly otherText?: string }[],
): Promise<readonly LoadedBuilt[]> {
  await buildCli();
  const program = `
    import { readFileSync, writeFileSync } from "node:fs";
    import { createRequire } from "node:module";
    const [dist, files] = process.argv.slice(1);
    const { loadConfig } = await import(dist + "/config/load/load.js");
    const { definitionHash } = await import(dist + "/config/definition.js");
    const { cache } = createRequire(import.meta.url);
    const ofJiti = () => Object.keys(cache).filter((name) => name.includes("/jiti/"));
    const results = [];
    for (const { file, text, otherText } of JSON.parse(files)) {
      const load = () => loadConfig({ cwd: process.cwd(), file, env: { DATABASE_URL: "embedded" } });
      for (const name of ofJiti()) delete cache[name];
      try {
        let config = await load();
        const by = ofJiti().length > 0 ? "jiti" : "node";
        if (text !== undefined) {
          writeFileSync(file, readFileSync(file, "utf8").replace(text, otherText));
          config = await load();
        }
        const [films] = config.pipelines;
        const hash = definitionHash(films, { name: "openai", endpoint: "/v1" });
        results.push({ by, hash, table: films.source.table });
      } catch (error) {
        results.push({ error: error.message });
      }
    }
    console.log(JSON.stringify(results));`;
  const args = ["--input-type=module", "-e", program, path.join(repository, "dist"), JSON.stringify(files)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder });
  return JSON.parse(stdout) as readonly LoadedBuilt[];
}

const json = {
  database: "embedded",
  pipelines: {
    films: {
      source: { table: "films", key: "id", columns: ["Title"] },
      request: { model: "m", user: "{{ Title }}" },
      target: { table: "labels" },
    },
  },
};

describe("a config in a folder of its own", () => {
  test.each([".ts", ".mts", ".js", ".mjs"])("is found and run as rowmill.config%s", async (extension) => {
    const typed = extension.endsWith("ts") ? "type Cell = string | null; export const cell: Cell = null;" : "";
    await write({ [`rowmill.config${extension}`]: typed + script });
    const config = await load({ DATABASE_URL: "postgres://db/app" });
    expect(config).toMatchObject({
      file: path.join(folder, `rowmill.config${extension}`),
      database: { kind: "server", url: "postgres://db/app" },
      pipelines: [{ name: "films" }],
    });
    // Our own zod, so that a registry or an instanceof means the same on both sides.
    expect(config.pipelines[0]?.answer).toBeInstanceOf(z.ZodObject);
  });

  test("is found and read as rowmill.config.json, with a JSON Schema as its answer", async () => {
    const answer = {
      type: "object",
      properties: {
        genre: { type: "string", enum: ["drama", "comedy"] },
        cast: {
          type: "array",
          items: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
        },
      },
      required: ["genre", "cast"],
    };
    await write({
      "rowmill.config.json": `\uFEFF${JSON.stringify({ ...json, pipelines: { films: { ...json.pipelines.films, answer } } })}`,
    });
    const config = await load();
    const { parse } = compileAnswer(config.pipelines[0]?.answer ?? null);
    expect(parse('{"genre":"drama","cast":[{"name":"A"}]}')).toMatchObject({ ok: true });
    expect(parse('{"genre":"horror","cast":[]}')).toMatchObject({ ok: false });
  });

  test("may be CommonJS, import files beside it, and await", async () => {
    await write({
      "rowmill.config.js": `const { defineConfig } = require("rowmill"); module.exports = defineConfig(${JSON.stringify(json)});`,
    });
    await expect(load()).resolves.toMatchObject({ database: { kind: "embedded" } });
    await write({
      "other.ts": `import { pipelines } from "./prompts/films.js"; await Promise.resolve(); export default { database: "embedded", pipelines };`,
      "prompts/films.ts": `import type { Row } from "rowmill"; export const pipelines: object = ${JSON.stringify(json.pipelines)};`,
    });
    await expect(load({}, "other.ts")).resolves.toMatchObject({ pipelines: [{ name: "films" }] });
    await write({
      "promise.ts": `export default (async () => (await import("./other.js")).default)();`,
      "plain.mjs": `import { text } from "node:stream/consumers";\nexport default text([${JSON.stringify(JSON.stringify(json))}]).then(JSON.parse);`,
    });
    await expect(load({}, "promise.ts")).resolves.toMatchObject({ pipelines: [{ name: "films" }] });
    await expect(load({}, "plain.mjs")).resolves.toMatchObject({ pipelines: [{ name: "films" }] });
  });

  test("may bring a zod 4 of its own", async () => {
    await cp(path.join(repository, "node_modules/zod"), path.join(folder, "node_modules/zod"), {
      recursive: true,
    });
    await write({ "rowmill.config.ts": `import * as z from "zod";\n${script.replace(", z }", " }")}` });
    const config = await load({ DATABASE_URL: "embedded" });
    const answer = config.pipelines[0]?.answer ?? null;
    expect(answer).not.toBeNull();
    expect(answer).not.toBe(z.ZodObject);
    expect(Object.getPrototypeOf(answer)).not.toBe(Object.getPrototypeOf(z.object({})));
    expect(compileAnswer(answer).parse('{"genre":"drama"}')).toMatchObject({
      ok: true,
      cells: { genre: "drama" },
    });
  });

  test("is read afresh each time, and leaves nothing behind", async () => {
    await write({ "rowmill.config.ts": script, "node_modules/.cache/keep": "" });
    await load({ DATABASE_URL: "embedded" });
    await write({ "rowmill.config.ts": script.replace('table: "films"', 'table: "movies"') });
    const config = await load({ DATABASE_URL: "embedded" });
    expect(config.pipelines[0]?.source.table).toBe("movies");
    expect((await readdir(folder, { recursive: true })).sort()).toEqual([
      "node_modules",
      "node_modules/.cache",
      "node_modules/.cache/keep",
      "rowmill.config.ts",
    ]);
  });

  test("loads from the built package as from its sources", async () => {
    const built = path.join(folder, "built");
    await write({
      "rowmill.config.ts": script,
      "built/package.json": '{"type":"module"}',
      "built/tsconfig.json": JSON.stringify({
        extends: path.join(repository, "tsconfig.json"),
        compilerOptions: {
          noEmit: false,
          noCheck: true,
          outDir: "dist",
          rootDir: path.join(repository, "src"),
          typeRoots: [path.join(repository, "node_modules/@types")],
        },
        include: [],
        files: [path.join(repository, "src/config/load/load.ts")],
      }),
      "built/run.mjs": `
        import { loadConfig } from "./dist/config/load/load.js";
        import { z } from "./dist/index.js";
        const config = await loadConfig({ cwd: process.argv[2], env: process.env });
        console.log(config.database.url, config.pipelines[0].answer instanceof z.ZodObject);`,
    });
    await symlink(path.join(repository, "node_modules"), path.join(built, "node_modules"));
    const run = promisify(execFile);
    await run(process.execPath, [path.join(repository, "node_modules/typescript/bin/tsc"), "-p", built]);
    const env = { ...process.env, DATABASE_URL: "postgres://db/app" };
    const { stdout } = await run(process.execPath, [path.join(built, "run.mjs"), folder], { env });
    expect(stdout).toBe("postgres://db/app true\n");
  });

  describe("of JavaScript", () => {
    const plain = script.replace("(row) => row.Title", '"Taken from {{ Title }}"');
    const withFunction = (text: string) => script.replace("user: (row) => row.Title", text);

    test("is run by Node where that makes no difference, else by jiti, and is the same by both", async () => {
      // Babel prints it in another way.
      const arrow = withFunction("user: (row)   =>   row.Title");
      await linkToBuilt(path.join(folder, "here"));
      await write({
        "here/plain.mjs": plain,
        "elsewhere/plain.mjs": plain,
        "elsewhere/arrow.mjs": arrow,
        "elsewhere/arrow.ts": arrow,
        "here/plain.ts": `// of films\n${plain}`,
        "here/comments.mjs": `/* One. */ ${plain.replace("z.string() }),", "z.string() }), // ) of (this) => that".replace(" => that", ""))}`,
        "here/typed.ts": plain.replace("films =", "films: unknown ="),
        "here/argument.ts": plain.replace("z.string()", "z.enum<['a', 'b']>(['a', 'b'])"),
        "here/interface.ts": `${plain}\ninterface Film { title: string }`,
        "here/in-text.mjs": plain.replace('"Taken', '"Taken from "rowmill" '.replaceAll('"rowmill"', "'rowmill'")),
        "here/untyped.js": plain,
        "here/modules/package.json": '{"type":"module"}',
        "here/modules/plain.js": plain,
        "here/arrow.mjs": arrow,
        "here/method.mjs": withFunction("user(row) { return row.Title; }"),
        "here/method-with-comment.mjs": withFunction("user(row) /* of it */ { return row.Title; }"),
        "here/text.mjs": 'export const user = "{{ Title }}";',
        "here/imports.mjs": `import { user } from "./text.mjs";\n${withFunction("user")}`,
        "here/hidden-import.mjs": `import { user } from /* there */ "./text.mjs";\n${withFunction("user")}`,
        "here/zod.mjs": plain.replace("z }", "z as zed }").replaceAll(" z.", " zed."),
        "other/node_modules/rowmill/package.json": '{"type":"module","exports":"./index.js"}',
        "other/node_modules/rowmill/index.js": "throw new Error('another copy');",
        "other/plain.mjs": plain,
      });
      const files = [
        ["here/plain.mjs", "node"],
        ["here/modules/plain.js", "node"],
        ["here/zod.mjs", "node"],
        ["elsewhere/plain.mjs", "node"],
        ["other/plain.mjs", "node"],
        ["here/plain.ts", "node"],
        ["here/comments.mjs", "node"],
        ["here/typed.ts", "jiti"],
        ["here/argument.ts", "jiti"],
        ["here/interface.ts", "jiti"],
        ["here/in-text.mjs", "node"],
        ["here/untyped.js", "node"],
        ["here/arrow.mjs", "jiti"],
        ["elsewhere/arrow.mjs", "jiti"],
        ["elsewhere/arrow.ts", "jiti"],
        ["here/method.mjs", "jiti"],
        ["here/method-with-comment.mjs", "jiti"],
        ["here/imports.mjs", "jiti"],
        ["here/hidden-import.mjs", "jiti"],
      ] as const;
      const loaded = await loadBuilt(files.map(([file]) => ({ file })));
      expect(files.map(([file], index) => [file, loaded[index]?.by])).toEqual(files);
      const hashesOf = (name: string) =>
        new Set(loaded.filter((_, index) => files[index]?.[0].includes(name)).map(({ hash }) => hash));
      expect([...hashesOf("plain")]).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
      expect([...hashesOf("arrow")]).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)]);
      expect(loaded.filter(({ error }) => error !== undefined)).toEqual([]);
    });

    test("is read afresh by a second load, and fails in jiti's words", async () => {
      await linkToBuilt(folder);
      await write({
        "plain.mjs": plain,
        "arrow.mjs": script,
        "throws.mjs": `${plain}\nthrow new Error("boom");`,
        "broken.mjs": `${plain}\n{{;`,
        "missing.mjs": `import { gone } from "node:gone";\n${plain}`,
        "rejected.mjs": '\nexport default Promise.reject(new Error("no films"));',
        "empty.mjs": 'import { z } from "rowmill";',
      });
      const changed = { text: 'table: "films"', otherText: 'table: "movies"' };
      const loaded = await loadBuilt([
        { file: "plain.mjs", ...changed },
        { file: "arrow.mjs", ...changed },
        ...["throws.mjs", "broken.mjs", "missing.mjs", "rejected.mjs", "empty.mjs"].map((file) => ({ file })),
      ]);
      expect(loaded.slice(0, 2)).toMatchObject([{ table: "movies" }, { table: "movies" }]);
      expect(loaded.slice(2).map(({ error }) => error?.replaceAll(folder, ""))).toEqual([
        "/throws.mjs:11: boom",
        expect.stringMatching(/^\/broken\.mjs:\d+:\d+: /),
        expect.stringContaining("node:gone"),
        "/rejected.mjs:2: no films",
        "/empty.mjs has no default export",
      ]);
    });
  });
});

test("a function has the same definition hash wherever the project lies, and another when it changes", async () => {
  const hashOf = async (name: string, text: string) => {
    await write({ [`${name}/rowmill.config.ts`]: text });
    const { pipelines } = await load({ DATABASE_URL: "embedded" }, `${name}/rowmill.config.ts`);
    return pipelines.map((films) => definitionHash(films, { name: "openai", endpoint: "/v1" }));
  };
  const here = await hashOf("here", script);
  expect(here[0]).toMatch(/^[0-9a-f]{32}$/);
  expect(await hashOf("there", script.replaceAll("\n", "\r\n"))).toEqual(here);
  expect(await hashOf("else", script.replace("row.Title", "row.Title ?? null"))).not.toEqual(here);
});

describe("where the config is looked for", () => {
  test("--config names it, relative to the working folder", async () => {
    await write({
      "sub/rowmill.config.json": JSON.stringify(json),
      "rowmill.config.ts": "throw new Error()",
    });
    await expect(load({}, "sub/rowmill.config.json")).resolves.toMatchObject({
      file: path.join(folder, "sub/rowmill.config.json"),
    });
  });

  test("without one, the error says what was looked for and what to do", async () => {
    const error = await failureOf(load());
    expect(error.code).toBe("config_not_found");
    expect(error.message).toContain("rowmill.config.ts, rowmill.config.mts");
    expect(error.hints.join()).toContain("Write one: rowmill init");
    expect(await failureOf(load({}, "nowhere.ts"))).toMatchObject({
      code: "config_not_found",
      message: `There is no config at ${path.join(folder, "nowhere.ts")}`,
    });
    await write({ "config.yaml": "" });
    expect(await failureOf(load({}, "config.yaml"))).toMatchObject({ code: "config_invalid" });
  });

  test("with two, neither is taken silently", async () => {
    await write({ "rowmill.config.ts": script, "rowmill.config.js": script });
    const error = await failureOf(load({ DATABASE_URL: "embedded" }));
    expect(error.message).toContain("rowmill.config.ts and rowmill.config.js");
  });
});

describe("a config that cannot be run", () => {
  test.each([
    [
      "rowmill.config.ts",
      'import { z } from "rowmill";\nconst x: number = ;\n',
      /rowmill\.config\.ts:2:\d+: Unexpected token/,
    ],
    ["rowmill.config.mjs", "\n\nexport default {{;\n", /rowmill\.config\.mjs:3:\d+: /],
    [
      "rowmill.config.ts",
      'type A = {\n  a: 1;\n};\nfunction f(): never {\n  throw new Error("boom");\n}\nf();',
      /rowmill\.config\.ts:5: boom$/,
    ],
    ["rowmill.config.js", "\nundefinedThing();", /rowmill\.config\.js:2: undefinedThing is not defined$/],
    [
      "rowmill.config.ts",
      '\nimport { a } from "./missing.js";\nexport default a;',
      /rowmill\.config\.ts:2: cannot find ".\/missing.js", which it imports$/,
    ],
    ["rowmill.config.ts", "throw 'text'", /rowmill\.config\.ts: text$/],
    ["rowmill.config.ts", "await Promise.reject(new Error('later'))", /rowmill\.config\.ts:1: later$/],
    ["rowmill.config.ts", "export const config = 1;", /rowmill\.config\.ts has no default export$/],
    [
      "rowmill.config.json",
      '{\n  "database": s3cret\n}',
      /rowmill\.config\.json:2:15: not valid JSON: expected a value here$/,
    ],
    ["rowmill.config.json", "", /rowmill\.config\.json:1:1: not valid JSON: expected a value here$/],
  ])("is reported with file, line and message: %s (%#)", async (name, text, expected) => {
    await write({ [name]: text });
    const error = await failureOf(load());
    expect(error.code).toBe("config_invalid");
    expect(error.message).toMatch(expected);
    expect(error.message).toContain(folder);
    expect(error.message).not.toContain("s3cret");
  });

  test("names the imported file in which the mistake is", async () => {
    await write({
      "rowmill.config.ts": 'import { a } from "./prompts.js";\nexport default a;',
      "prompts.ts": "\n\nthrow new Error('boom');\nexport const a = 1;",
    });
    expect((await failureOf(load())).message).toBe(`${path.join(folder, "prompts.ts")}:3: boom`);
  });

  test("is given up when it awaits what never comes", async () => {
    await write({ "rowmill.config.ts": "await new Promise(() => undefined); export default {};" });
    const error = await failureOf(evaluateConfig(path.join(folder, "rowmill.config.ts"), 50));
    expect(error.message).toMatch(/rowmill\.config\.ts: still running after 0\.05 s/);
  });

  const failing = 'throw new Error("no films")';
  test.each([
    [
      "of an async function",
      "rowmill.config.ts",
      `const load = async () => {\n  ${failing};\n};\nexport default load();`,
      2,
    ],
    [
      "of an async function, in JavaScript",
      "rowmill.config.mjs",
      `async function load() {\n${failing}; }\nexport default load();`,
      2,
    ],
    ["of CommonJS", "rowmill.config.js", `module.exports = (async () => {\n${failing};\n})();`, 2],
    ["that only has a then", "rowmill.config.ts", `export default { then() {\n${failing}; } };`, 2],
    [
      "that only has a rejecting then",
      "rowmill.config.ts",
      `export default { then(_, no) {\nno(new Error("no films")); } };`,
      2,
    ],
  ])("is reported with file, line and message when its default export is a promise %s", async (_, name, text, line) => {
    await write({ [name]: text });
    const error = await failureOf(load());
    expect(error.code).toBe("config_invalid");
    expect(error.message).toBe(`${path.join(folder, name)}:${line}: no films`);
  });

  test.each(["new Promise(() => undefined)", "{ then() {} }", "(async () => new Promise(() => undefined))()"])(
    "is given up when its default export never settles: %s",
    async (never) => {
      await write({ "rowmill.config.ts": `export default ${never};` });
      const error = await failureOf(evaluateConfig(path.join(folder, "rowmill.config.ts"), 50));
      expect(error.code).toBe("config_invalid");
      expect(error.message).toMatch(/rowmill\.config\.ts: still running after 0\.05 s/);
    },
  );

  test("reports a promise inside of it, also one that rejects, and a function instead of a config", async () => {
    const reject = 'Promise.reject(new Error("no films"))';
    await write({
      "pipelines.ts": `export default { database: "embedded", pipelines: ${reject} };`,
      "films.ts": `export default { database: "embedded", pipelines: { films: ${reject}, more: { source: ${reject} } } };`,
      "function.ts": "export default async () => ({});",
    });
    expect((await failureOf(load({}, "pipelines.ts"))).message).toContain(
      "pipelines: found a promise (await it), expected an object with at least one pipeline by its name",
    );
    const { message } = await failureOf(load({}, "films.ts"));
    expect(message).toContain("pipelines.films: found a promise (await it)");
    expect(message).toContain("pipelines.more.source: found a promise (await it)");
    expect((await failureOf(load({}, "function.ts"))).message).toContain("the config itself: found a function");
  });

  test("reports what to do about a package that is missing", async () => {
    await write({ "rowmill.config.ts": 'import { z } from "rowmill-no-such-package";\nexport default z;' });
    const error = await failureOf(load());
    expect(error.message).toContain('cannot find "rowmill-no-such-package", which it imports');
    expect(error.hints).toEqual(["Install it in the config's folder: npm install rowmill-no-such-package"]);
  });

  test("in JSON, functions have no place and every mistake is still reported at once", async () => {
    const films = {
      ...json.pipelines.films,
      validate: "x",
      answer: { type: "object", properties: { at: { type: "zebra" } } },
    };
    await write({ "rowmill.config.json": JSON.stringify({ ...json, pipelines: { films }, extra: 1 }) });
    const { message } = await failureOf(load());
    expect(message).toMatch(
      /3 mistakes\n {2}extra: .*\n {2}pipelines\.films\.answer: .*zebra.*\n {2}pipelines\.films\.validate: /,
    );
  });
});

describe(".env next to the config", () => {
  test("is read first, so that the config sees it, and completes the variables that were given", async () => {
    await write({
      "sub/rowmill.config.ts": script,
      "sub/.env": "DATABASE_URL=postgres://db/from_file\nOPENAI_API_KEY='k'\n",
    });
    await write({ ".env": "DATABASE_URL=postgres://db/not_beside" });
    const env: Record<string, string | undefined> = {};
    const config = await load(env, "sub/rowmill.config.ts");
    expect(config.database).toEqual({ kind: "server", url: "postgres://db/from_file" });
    expect(env).toEqual({ DATABASE_URL: "postgres://db/from_file", OPENAI_API_KEY: "k" });
  });

  test("never overrides a variable that is set, even to nothing", async () => {
    await write({
      "rowmill.config.ts": script,
      ".env": "DATABASE_URL=postgres://db/from_file\nOPENAI_API_KEY=file\n",
    });
    const env: Record<string, string | undefined> = {
      DATABASE_URL: "postgres://db/given",
      OPENAI_API_KEY: "",
    };
    expect((await load(env)).database).toEqual({ kind: "server", url: "postgres://db/given" });
    expect(env["OPENAI_API_KEY"]).toBe("");
  });

  test("explains an unquoted # that cuts the value of DATABASE_URL, and no comment after it", async () => {
    const cut = "postgres://app:s3cret#word@db/app";
    await write({ "rowmill.config.ts": script, ".env": `DATABASE_URL=postgres://db/before\nDATABASE_URL=${cut}\n` });
    const error = await failureOf(loadConfig({ cwd: folder, env: {} }));
    expect(error.code).toBe("config_invalid");
    expect(error.hints).toEqual([
      `In ${path.join(folder, ".env")} the value of DATABASE_URL ends at its first #, because it has no quotes. ` +
        "Put the value in double quotes, and write a # of the password as %23.",
    ]);
    for (const line of [`"${cut}"`, "mysql://db # ours", "mysql://db"]) {
      await write({ ".env": `DATABASE_URL=${line}` });
      expect((await failureOf(loadConfig({ cwd: folder, env: {} }))).hints).toEqual([]);
    }
  });

  test("leaves process.env as it was when other variables were given", async () => {
    await write({ "rowmill.config.ts": script, ".env": "ROWMILL_TEST_ONLY=1\nDATABASE_URL=embedded" });
    const before = { ...process.env };
    await load({});
    expect({ ...process.env }).toEqual(before);
    await write({ "rowmill.config.ts": "throw new Error('boom')" });
    await failureOf(load({}));
    expect({ ...process.env }).toEqual(before);
  });

  test("that cannot be read is an error, not an empty one", async () => {
    await write({ "rowmill.config.ts": script, ".env/file": "" });
    expect((await failureOf(load({ DATABASE_URL: "embedded" }))).message).toContain(
      `${path.join(folder, ".env")} cannot be read`,
    );
  });
});
