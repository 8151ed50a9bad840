import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { readEnvironment, type Environment } from "../../src/config/load/environment.js";
import { ConfigError } from "../../src/config/read/problems.js";
import { openai } from "../../src/index.js";

function mistakesOf(variables: Record<string, string>): ConfigError {
  try {
    readEnvironment(variables);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error("there was no mistake");
}

describe("readEnvironment", () => {
  test("judges no variable of a provider that no pipeline asks, and every other one", () => {
    expect(() => readEnvironment({ OPENAI_BASE_URL: "nowhere" }, { pipelines: [] })).not.toThrow();
    expect(() => readEnvironment({ ROWMILL_ALLOW_HTTP: "yes" }, { pipelines: [] })).toThrow(/ROWMILL_ALLOW_HTTP/);
    expect(mistakesOf({ OPENAI_BASE_URL: "nowhere" }).message).toContain("OPENAI_BASE_URL");
  });

  test("reads its variables, and no others", () => {
    const environment = readEnvironment({
      DATABASE_URL: "postgres://u:p@db/app",
      OPENAI_API_KEY: "sk-1",
      OPENAI_BASE_URL: "http://127.0.0.1:9/v1/",
      OPENAI_ORG_ID: "org",
      OPENAI_PROJECT_ID: "proj",
      ROWMILL_ALLOW_HTTP: "1",
      PGSSLMODE: "verify-full",
      PGSSLROOTCERT: "/ca.pem",
      HTTPS_PROXY: "http://me:pw@proxy:3128",
      HTTP_PROXY: "http://plain:3128",
      NO_PROXY: "localhost",
      PGHOST: "ignored",
    });
    expect(environment.databaseUrl?.reveal()).toBe("postgres://u:p@db/app");
    expect(openai().secrets(environment.provider)).toEqual(["sk-1"]);
    expect(openai().account(environment.provider)).toBe("http://127.0.0.1:9/v1|org|proj");
    expect(environment.provider.variable("PGHOST")).toBeNull();
    expect(environment).toMatchObject({
      tls: { mode: "verify-full", rootCertFile: "/ca.pem" },
      provider: {
        allowHttp: true,
        proxies: {
          https: { place: "http://proxy:3128" },
          http: { place: "http://plain:3128" },
          except: "localhost",
        },
      },
    });
  });

  test("takes what is absent or empty for absent", () => {
    const nothing = {
      databaseUrl: null,
      provider: { allowHttp: false, proxies: { https: null, http: null, except: "" } },
      tls: { mode: null, rootCertFile: null },
    };
    const expectNothing = (environment: Environment) => {
      expect(environment).toMatchObject(nothing);
      expect(openai().secrets(environment.provider)).toEqual([]);
      expect(openai().account(environment.provider)).toBe("https://api.openai.com/v1||");
    };
    expectNothing(readEnvironment({}));
    const names = ["DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"];
    const others = ["ROWMILL_ALLOW_HTTP", "PGSSLMODE", "PGSSLROOTCERT", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];
    const empty = [...names, ...others].map((name) => [name, ""]);
    expectNothing(readEnvironment(Object.fromEntries(empty)));
  });

  test("shows no secret, however it is printed", () => {
    const environment = readEnvironment({
      DATABASE_URL: "postgres://u:s3cret@db/app",
      OPENAI_API_KEY: "s3cret",
    });
    const { databaseUrl } = environment;
    const printed = [
      inspect(environment, { depth: 9, showHidden: true }),
      JSON.stringify(environment),
      `${String(databaseUrl)} ${String(environment.provider)}`,
      JSON.stringify(Object.entries(environment.provider)),
      inspect(openai(), { depth: 9, showHidden: true }),
    ].join("\n");
    expect(printed).not.toContain("s3cret");
    expect(printed).toContain("[secret]");
  });

  test.each(["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])(
    "refuses a value of %s that no header can carry, and does not show it",
    (name) => {
      const wrong = [
        ["s3cret\nrest", "a line break"],
        ["\r\ns3cret", "a line break"],
        ["s3cret\u0001", "a control character"],
        ["s3cret\u007f", "a control character"],
        ["s3cret…", "a special character"],
      ] as const;
      for (const [value, what] of wrong) {
        const { problems, message } = mistakesOf({ [name]: value });
        const found = `a value with ${what} (not shown, because it may be a secret)`;
        expect(problems).toMatchObject([{ path: name, found }]);
        expect(message).not.toMatch(/s3cret|rest/);
      }
      expect(() => readEnvironment({ [name]: "s3cret\r\n" })).not.toThrow();
    },
  );

  test("reports every variable that cannot be used, without its secrets", () => {
    const error = mistakesOf({
      OPENAI_BASE_URL: "ftp://user:s3cret@host",
      ROWMILL_ALLOW_HTTP: "yes",
      PGSSLMODE: "verify_ful",
    });
    expect(error.problems).toMatchObject([
      { path: "OPENAI_BASE_URL" },
      { path: "ROWMILL_ALLOW_HTTP", found: '"yes"' },
      { path: "PGSSLMODE", found: '"verify_ful"', nearMatch: "verify-full" },
    ]);
    expect(error.message).not.toContain("s3cret");
    expect(mistakesOf({ OPENAI_BASE_URL: "https://user:s3cret@host/v1" }).message).not.toContain("s3cret");
  });

  test.each([
    ["https://api.openai.com", "https://api.openai.com/v1"],
    ["https://api.openai.com/", "https://api.openai.com/v1"],
    ["https://api.openai.com/v2", "https://api.openai.com/v1"],
    ["https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"],
    ["http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"],
    ["http://localhost:11434///", "http://localhost:11434/v1"],
    ["http://127.0.0.1:8000/v1/batches", "http://127.0.0.1:8000/v1"],
    ["https://host.test/api/v3/chat/completions", "https://host.test/api/v3"],
    ["https://mine.openai.azure.com", "https://mine.openai.azure.com/openai/v1"],
    ["https://api.groq.com/", "https://api.groq.com/openai/v1"],
    ["https://openrouter.ai", "https://openrouter.ai/api/v1"],
    ["https://generativelanguage.googleapis.com", "https://generativelanguage.googleapis.com/v1beta/openai"],
  ])("refuses the base URL %s, where no API can be, and says which one to use", (value, right) => {
    expect(mistakesOf({ OPENAI_BASE_URL: value }).message).toContain(
      `OPENAI_BASE_URL: found "${value}", expected the URL with the API version: "${right}"`,
    );
  });

  test.each([
    "https://api.openai.com/v1",
    "https://api.openai.com/v1/",
    "https://eu.api.openai.com/v1",
    "http://127.0.0.1:4477/v1",
    "https://mine.openai.azure.com/openai/v1/",
    "https://api.groq.com/openai/v1",
    "https://generativelanguage.googleapis.com/v1beta/openai",
    "https://gateway.ai.cloudflare.com/v1/account/name/openai",
    "https://ark.test/api/v3",
    "https://proxy.test/openai",
  ])("takes the base URL %s", (value) => {
    const { provider } = readEnvironment({ OPENAI_BASE_URL: value });
    expect(openai().account(provider)).toBe(`${value.replace(/\/$/, "")}||`);
  });
});
