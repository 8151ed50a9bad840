/**
 * Whom a pipeline asks: what `openai()` or an object of the user's own says, completed by the environment, and judged
 * at load.
 */
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { accountsOf, openProviders, presentAccount } from "../../src/app/open/providers.js";
import { definitionHash } from "../../src/config/definition.js";
import { readEnvironment } from "../../src/config/load/environment.js";
import { ConfigError, type ConfigProblem } from "../../src/config/read/problems.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { json, openai, z } from "../../src/index.js";
import type { ProjectConfig } from "../../src/model/pipeline.js";
import { ratesFor } from "../../src/model/provider/pricing.js";
import { compileRequest } from "../../src/model/request/render-request.js";
import { openaiDialect } from "../../src/providers/openai/dialect.js";

const origin = { file: "/project/rowmill.config.ts", language: "script", databaseUrl: null } as const;
const films = {
  source: { table: "films", key: "id", columns: ["title"] },
  request: { model: "gpt-4o-mini", user: "{{ title }}" },
  target: { table: "labels" },
};

function load(pipelines: object, language: "script" | "json" = "script"): ProjectConfig {
  return validateConfig({ database: "embedded", pipelines }, { ...origin, language });
}

function problemsOf(pipelines: object, language: "script" | "json" = "script"): readonly ConfigProblem[] {
  try {
    load(pipelines, language);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

/** Of another vendor: what it says differs in each part. */
const otherDialect = {
  ...openaiDialect,
  name: "other",
  title: "Other",
  exampleModel: "other-1",
  suggestedModels: ["other-1"],
  endpoint: "/v9/ask",
  freeJsonWord: "YAML",
  rates: () => ({ price: null, batchFactor: 0.25 }),
  schemaProblems: (schema: unknown) => (JSON.stringify(schema).includes("nice") ? ["the answer is too nice"] : []),
  parameterProblems: (_: string, parameters: object) =>
    "temperature" in parameters ? [{ name: "temperature", problem: "it is always cold; leave it out" }] : [],
  accountText: (account: string) => `the other ${account}`,
};

const call = () => Promise.reject(new Error("no provider is called"));
const whole = {
  ...otherDialect,
  account: "workspace-1",
  createMs: 1,
  encoder: call,
  staging: null,
  baseline: null,
  create: call,
  find: call,
  list: call,
  status: call,
  cancel: call,
  forget: call,
  results: call,
  inputs: null,
  answer: null,
  diagnose: call,
  servesDemo: call,
  clockSeconds: () => null,
};

describe("openai() in a config", () => {
  const environment = readEnvironment({
    OPENAI_API_KEY: "sk-of-the-environment",
    OPENAI_BASE_URL: "https://models.test/v1",
    OPENAI_ORG_ID: "org-e",
  });

  test("is completed by the environment, each option by its own variable", () => {
    const account = (choice: ReturnType<typeof openai>) => choice.account(environment.provider);
    expect(account(openai())).toBe("https://models.test/v1|org-e|");
    expect(account(openai({ project: "p" }))).toBe("https://models.test/v1|org-e|p");
    expect(account(openai({ baseURL: "https://eu.test/v1/", organization: "o" }))).toBe("https://eu.test/v1|o|");
    expect(openai().secrets(environment.provider)).toEqual(["sk-of-the-environment"]);
    expect(openai({ apiKey: "sk-own" }).secrets(environment.provider)).toEqual(["sk-own"]);
    expect(openai({ apiKey: undefined }).secrets(environment.provider)).toEqual(["sk-of-the-environment"]);
  });

  test("gives each pipeline its own account, and one provider to those that share one", async () => {
    const config = load({
      a: films,
      b: { ...films, provider: openai({ organization: "org-b", apiKey: "sk-b-123456" }) },
      c: { ...films, provider: openai() },
      d: { ...films, provider: openai({ apiKey: "sk-d-123456" }) },
    });
    const project = { config, environment };
    const accounts = accountsOf(project).map(({ account, pipelines }) => [account, pipelines.map(({ name }) => name)]);
    expect(accounts).toEqual([
      ["https://models.test/v1|org-e|", ["a", "c"]],
      ["https://models.test/v1|org-b|", ["b"]],
      ["https://models.test/v1|org-e|", ["d"]],
    ]);
    expect(presentAccount(project, "b")).toBe("https://models.test/v1|org-b|");
    expect(presentAccount(project, "of-another-config")).toBe("https://models.test/v1|org-e|");
    const open = await openProviders(project);
    const [a, b, c, d] = config.pipelines.map(open);
    expect(a).toBe(c);
    expect(a).not.toBe(d);
    expect(b).toMatchObject({ name: "openai", account: "https://models.test/v1|org-b|" });
  });

  test("needs a key before anything is opened, from the config or the environment; none where nothing is called", async () => {
    const { provider: bare } = readEnvironment({});
    await expect(openai().open(bare)).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining("OPENAI_API_KEY"),
    });
    expect((await openai({ apiKey: "sk-1" }).open(bare)).account).toBe("https://api.openai.com/v1||");
    expect((await openai().open({ ...bare, offline: true })).account).toBe("https://api.openai.com/v1||");
  });

  test("sends the key over plain http only where it may, by an option or a variable", async () => {
    const choice = (allowHttp?: boolean) => openai({ apiKey: "sk-1", baseURL: "http://models.lan/v1", allowHttp });
    const { provider: bare } = readEnvironment({});
    const { provider: allowed } = readEnvironment({ ROWMILL_ALLOW_HTTP: "1" });
    await expect(choice().open(bare)).rejects.toMatchObject({ code: "config_invalid" });
    await expect(choice(false).open(allowed)).rejects.toMatchObject({ code: "config_invalid" });
    expect((await choice(true).open(bare)).name).toBe("openai");
    expect((await choice().open(allowed)).name).toBe("openai");
  });

  test("goes through no proxy that cannot be one, also to a base URL that only the config has", async () => {
    const { provider } = readEnvironment({ HTTPS_PROXY: "socks5://p:1", NO_PROXY: "api.openai.com" });
    const error = openai({ apiKey: "sk-1", baseURL: "https://eu.test/v1" }).open(provider);
    await expect(error).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringContaining("HTTPS_PROXY"),
    });
  });

  test("shows its key nowhere: not printed, not as JSON, not in what identifies the pipeline", async () => {
    const apiKey = "sk-s3cret-of-the-config";
    const config = load({ films: { ...films, provider: openai({ apiKey }) } });
    const [pipeline] = config.pipelines;
    const open = await openProviders({ config, environment });
    const printed = [
      inspect(config, { depth: 12, showHidden: true }),
      JSON.stringify(config),
      inspect(openai({ apiKey }), { depth: 12, showHidden: true }),
      pipeline === undefined ? "" : inspect(open(pipeline), { depth: 2 }),
    ];
    expect(printed.join("\n")).not.toContain("s3cret");
    const hash = (provider: ReturnType<typeof openai>) =>
      load({ films: { ...films, provider } }).pipelines.map((each) => definitionHash(each, each.provider.dialect));
    expect(hash(openai({ apiKey, organization: "o" }))).toEqual(hash(openai()));
  });

  test.each<[string, object, string, RegExp]>([
    [
      "an option that it does not have",
      { apikey: "sk-s3cret" },
      "apikey",
      /unknown key \(known here: apiKey,.*did you mean "apiKey"/,
    ],
    ["an empty key", { apiKey: "" }, "apiKey", /the key as text/],
    ["a key that is no text", { apiKey: 7 }, "apiKey", /the key as text/],
    ["a blank organization", { organization: " " }, "organization", /its id as text/],
    ["a base URL with a password", { baseURL: "https://u:s3cret@h/v1" }, "baseURL", /without a user name, password/],
    [
      "a base URL without its version",
      { baseURL: "https://api.openai.com" },
      "baseURL",
      /"https:\/\/api\.openai\.com\/v1"/,
    ],
    ["allowHttp as text", { allowHttp: "1" }, "allowHttp", /true or false/],
  ])("is refused with %s, at its place, without a secret", (_, options, at, expected) => {
    const problems = problemsOf({ films: { ...films, provider: openai(options) } });
    expect(problems.map(({ path }) => path)).toEqual([`pipelines.films.provider.${at}`]);
    expect(problems[0]?.expected).toMatch(expected);
    expect(JSON.stringify(problems)).not.toContain("s3cret");
  });
});

describe("a provider of the user's own", () => {
  const own = { ...films, provider: whole, request: { ...films.request, model: "other-1" } };

  test("is asked in its own words: account, prices, parameters, schema, and the word that free JSON needs", async () => {
    const config = load({ films: own });
    const environment = readEnvironment({});
    expect(presentAccount({ config, environment }, "films")).toBe("workspace-1");
    const [pipeline] = config.pipelines;
    if (pipeline === undefined) throw new Error("no pipeline");
    expect((await openProviders({ config, environment }))(pipeline)).toBe(whole);
    const price = { input: 1, cachedInput: 1, output: 1 };
    expect(ratesFor(pipeline.provider.dialect, { model: "m", price }, new Date())).toMatchObject({
      batchFactor: 0.25,
    });
    expect(definitionHash(pipeline, pipeline.provider.dialect)).not.toBe(definitionHash(pipeline, openaiDialect));
    expect(problemsOf({ films: { ...own, request: { ...own.request, temperature: 1 } } })).toMatchObject([
      { path: "pipelines.films.request.temperature", expected: "it is always cold; leave it out" },
    ]);
    expect(problemsOf({ films: { ...own, answer: z.object({ nice: z.string() }) } })).toMatchObject([
      { path: "pipelines.films.answer", expected: "the answer is too nice" },
    ]);
    const free = (user: unknown) => ({ films: { ...own, answer: json(), request: { model: "m", user } } });
    expect(problemsOf(free("json: {{ title }}"))[0]?.expected).toMatch(/Other needs the word "YAML" in/);
    expect(problemsOf(free("yaml: {{ title }}"))).toEqual([]);
    const [rendering] = load(free(() => "json")).pipelines;
    if (rendering === undefined) throw new Error("no pipeline");
    expect(compileRequest(rendering)({ title: "Heat" })).toMatchObject({
      kind: "failed",
      message: /the word "YAML"/,
    });
  });

  test("says which model to name where none is", () => {
    const problems = problemsOf({ films: { ...films, provider: whole, request: { user: "{{ title }}" } } });
    expect(problems[0]?.expected).toBe('the name of a model, such as "other-1"');
  });

  test("is judged member by member: what is missing, what is of another kind, also inside, never what stands there", () => {
    const { create: _, ...rest } = whole;
    const problems = problemsOf({
      films: {
        ...films,
        provider: {
          ...rest,
          account: 7,
          staging: { send: call, remove: "s3cret" },
          limits: { ...whole.limits, requestsMax: "9" },
        },
      },
    });
    expect(
      problems.map(({ path, found, expected }) => `${path.replace(/^.*provider\./, "")}: ${found}, ${expected}`),
    ).toEqual([
      "limits.requestsMax: a string, a number (see the interface Provider)",
      "account: a number, text (see the interface Provider)",
      "staging.find: nothing, a function (see the interface Provider)",
      "staging.inspect: nothing, a function (see the interface Provider)",
      "staging.remove: a string, a function (see the interface Provider)",
      "create: nothing, a function (see the interface Provider)",
    ]);
    expect(JSON.stringify(problems)).not.toContain("s3cret");
  });

  test.each<[string, unknown]>([
    ["text", "openai"],
    ["null", null],
    ["the function itself", openai],
    ["an object of something else", { model: "gpt-4o-mini" }],
  ])("is no %s", (_, provider) => {
    expect(problemsOf({ films: { ...films, provider } })).toMatchObject([
      { path: "pipelines.films.provider", expected: expect.stringContaining("openai({ … }), or an object") },
    ]);
  });

  test("may throw when it is looked at, which is a mistake of the config like any other", () => {
    const provider = Object.defineProperty({ ...whole }, "limits", {
      get: () => {
        throw new Error("not yet");
      },
    });
    expect(problemsOf({ films: { ...films, provider } })).toMatchObject([
      { path: "pipelines.films.provider", expected: expect.stringContaining("not yet") },
    ]);
  });

  test("is nothing that a JSON config can have", () => {
    expect(problemsOf({ films: { ...films, provider: {} } }, "json")).toMatchObject([
      { path: "pipelines.films.provider", expected: expect.stringContaining("TypeScript or JavaScript") },
    ]);
  });
});
