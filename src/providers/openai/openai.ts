/** `openai({ … })` of a config. The environment fills in what the options leave out. */
import { RowmillError } from "../../model/errors.js";
import { nearMatch } from "../../model/words/near-match.js";
import { proxyProblem } from "../../model/provider/proxy.js";
import type { ProviderChoice, ProviderSetup, SettingProblem } from "../../model/provider/provider-choice.js";
import { Secret } from "../../model/secret.js";
import { openaiAccount } from "./account.js";
import { openaiDialect } from "./dialect.js";
import { baseUrlProblem, headerProblem } from "./environment.js";

/** Every option has a default. */
export interface OpenAIConfig {
  /** The API key. Never shown, and not stored in the ledger. Default: the variable `OPENAI_API_KEY`. */
  readonly apiKey?: string | undefined;
  /** The server with its API version. Default: `OPENAI_BASE_URL`, else `"https://api.openai.com/v1"`. */
  readonly baseURL?: string | undefined;
  /** The organization to bill. Default: `OPENAI_ORG_ID`, else the key's. */
  readonly organization?: string | undefined;
  /** The project to bill. Default: `OPENAI_PROJECT_ID`, else the key's. */
  readonly project?: string | undefined;
  /** True allows sending the key over plain http to another machine. Default: whether `ROWMILL_ALLOW_HTTP` is 1. */
  readonly allowHttp?: boolean | undefined;
}

const OPTIONS = ["apiKey", "baseURL", "organization", "project", "allowHttp"] as const;

/** OpenAI, or a server that speaks its Batch API. Makes no call; loading the config reports invalid options. */
export function openai(config: OpenAIConfig = {}): ProviderChoice {
  const { given, problems } = readOptions(config);
  return {
    dialect: openaiDialect,
    problems,
    account: (setup) => openaiAccount(settings(given, setup)),
    secrets: (setup) => {
      const { apiKey } = settings(given, setup);
      return apiKey === null ? [] : [apiKey.reveal()];
    },
    open: async (setup) => {
      const { apiKey, ...others } = settings(given, setup);
      if (apiKey === null && setup.offline !== true) throw withoutKey();
      if (setup.offline !== true) requireWay(openaiAccount(others), setup);
      // Only now: most commands make no call.
      const { createOpenAIProvider } = await import("./adapter.js");
      return createOpenAIProvider({
        ...others,
        apiKey: apiKey?.reveal() ?? "not-needed",
        allowHttp: others.allowHttp || setup.offline === true,
        proxies: setup.proxies,
        ...(setup.callMs === undefined ? {} : { timeouts: { callMs: setup.callMs } }),
      });
    },
  };
}

interface Given {
  /** Nothing that prints the config shows it. */
  readonly apiKey: Secret | null;
  readonly baseURL: string | null;
  readonly organization: string | null;
  readonly project: string | null;
  readonly allowHttp: boolean | null;
}

/** What the environment completes. */
function settings(given: Given, { variable, allowHttp }: ProviderSetup) {
  const key = variable("OPENAI_API_KEY");
  return {
    apiKey: given.apiKey ?? (key === null ? null : new Secret(key)),
    baseURL: given.baseURL ?? variable("OPENAI_BASE_URL") ?? undefined,
    organization: given.organization ?? variable("OPENAI_ORG_ID") ?? undefined,
    project: given.project ?? variable("OPENAI_PROJECT_ID") ?? undefined,
    allowHttp: given.allowHttp ?? allowHttp,
  };
}

function withoutKey(): RowmillError {
  return new RowmillError("usage", "OPENAI_API_KEY is not set, so Rowmill cannot send a batch.", {
    hints: [
      "Put it into .env next to the config file: OPENAI_API_KEY=sk-…",
      "To try Rowmill without a key: rowmill gateway --demo-model. Set the two variables that it prints.",
    ],
  });
}

/** The environment was checked with its own base URL, not with the config's. */
function requireWay(account: string, { proxies }: ProviderSetup): void {
  const [baseUrl = ""] = account.split("|");
  const unusable = proxyProblem(new URL(baseUrl), proxies);
  if (unusable === null) return;
  throw new RowmillError("config_invalid", `${unusable.name}: expected ${unusable.expected}`);
}

function readOptions(config: unknown): { given: Given; problems: readonly SettingProblem[] } {
  const problems: SettingProblem[] = [];
  const isObject = typeof config === "object" && config !== null;
  if (!isObject) problems.push({ name: "", found: null, expected: `an object with ${OPTIONS.join(", ")}` });
  const options = isObject ? (config as Readonly<Record<string, unknown>>) : {};
  for (const name of Object.keys(options).filter((key) => !OPTIONS.some((known) => known === key))) {
    const near = nearMatch(name, OPTIONS);
    const meant = near === null ? "" : `; did you mean ${JSON.stringify(near)}?`;
    problems.push({ name, found: null, expected: `unknown key (known here: ${OPTIONS.join(", ")})${meant}` });
  }
  const text = (name: (typeof OPTIONS)[number], what: string): string | null => {
    const value = options[name];
    if (value === undefined || (typeof value === "string" && value.trim() !== "")) return value ?? null;
    problems.push({
      name,
      found: null,
      expected: `write ${what}, or leave it out to use the environment variable`,
    });
    return null;
  };
  const header = (name: "apiKey" | "organization" | "project", what: string): string | null => {
    const value = text(name, what);
    const wrong = headerProblem(value ?? "");
    if (wrong !== null) problems.push({ name, ...wrong });
    return value;
  };
  const key = header("apiKey", "the key as text");
  const baseURL = text("baseURL", "a URL as text");
  const wrong = baseURL === null ? null : baseUrlProblem(baseURL);
  if (wrong !== null) problems.push({ name: "baseURL", ...wrong });
  const { allowHttp } = options;
  if (allowHttp !== undefined && typeof allowHttp !== "boolean")
    problems.push({ name: "allowHttp", found: null, expected: "true or false" });
  const given = {
    apiKey: key === null ? null : new Secret(key),
    baseURL,
    organization: header("organization", "its id as text"),
    project: header("project", "its id as text"),
    allowHttp: typeof allowHttp === "boolean" ? allowHttp : null,
  };
  return { given, problems };
}
