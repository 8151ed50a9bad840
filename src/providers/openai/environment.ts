/** Owns the environment variables of OpenAI's adapter: their names and what they may hold. */
import { proxyProblem } from "../../model/provider/proxy.js";
import type { ProviderSetup, SettingProblem } from "../../model/provider/provider-choice.js";
import { OPENAI_BASE_URL_DEFAULT } from "./account.js";

export const OPENAI_VARIABLES = [
  { name: "OPENAI_API_KEY", secret: true },
  { name: "OPENAI_BASE_URL", secret: false },
  { name: "OPENAI_ORG_ID", secret: false },
  { name: "OPENAI_PROJECT_ID", secret: false },
] as const;

/** Names that other programs read, and the name that this one reads. */
export const OTHER_NAMES = [
  ["ORG_ID", "OPENAI_ORG_ID"],
  ["OPENAI_ORGANIZATION", "OPENAI_ORG_ID"],
  ["PROJECT_ID", "OPENAI_PROJECT_ID"],
  ["OPENAI_PROJECT", "OPENAI_PROJECT_ID"],
  ["OPENAI_API_BASE", "OPENAI_BASE_URL"],
  ["OPENAI_KEY", "OPENAI_API_KEY"],
] as const;

export function variableProblems({ variable, proxies }: ProviderSetup): readonly SettingProblem[] {
  const given = variable("OPENAI_BASE_URL");
  const wrong = given === null ? null : baseUrlProblem(given);
  const baseUrl = given ?? OPENAI_BASE_URL_DEFAULT;
  const unusable = URL.canParse(baseUrl) ? proxyProblem(new URL(baseUrl), proxies) : null;
  return [
    ...HEADER_VARIABLES.flatMap((name) => {
      const problem = headerProblem(variable(name) ?? "");
      return problem === null ? [] : [{ name, ...problem }];
    }),
    ...(wrong === null ? [] : [{ name: "OPENAI_BASE_URL", ...wrong }]),
    ...(unusable === null ? [] : [unusable]),
  ];
}

/** Each is sent as a header. */
const HEADER_VARIABLES = ["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"] as const;

/** Null: a header can carry it. Never shows the value, which may be a key. */
export function headerProblem(value: string): Omit<SettingProblem, "name"> | null {
  // `fetch` removes the line break with which a file ends.
  const [wrong] = /[^\t\x20-\x7e\x80-\xff]/.exec(value.replace(/[\t\r\n ]+$/, "")) ?? [];
  if (wrong === undefined) return null;
  const isControl = wrong < " " || wrong === "\x7f";
  const what = /[\r\n]/.test(wrong) ? "a line break" : isControl ? "a control character" : "a special character";
  return {
    expected: "one line of plain text, exactly as the provider shows it",
    found: `a value with ${what} (not shown, because it may be a secret)`,
  };
}

/** Null: it can be used. Does not show a value that may hold a password. */
export function baseUrlProblem(value: string): Omit<SettingProblem, "name"> | null {
  const url = URL.canParse(value) ? new URL(value) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol))
    return {
      expected: `a URL such as "${OPENAI_BASE_URL_DEFAULT}"`,
      found: "an unusable value (not shown: it may hold a password)",
    };
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    return {
      expected: "a URL without a user name, password, `?` or `#`; put the key into OPENAI_API_KEY",
      found: null,
    };
  const right = withVersion(url);
  if (right === null) return null;
  return {
    expected: `the URL with the API version: ${JSON.stringify(right)}`,
    found: JSON.stringify(value),
  };
}

/** The API's path at hosts that do not have it at `/v1`. */
const API_PATHS: readonly (readonly [RegExp, string])[] = [
  [/\.openai\.azure\.com$|\.services\.ai\.azure\.com$/, "/openai/v1"],
  [/^api\.groq\.com$|^api\.novita\.ai$/, "/openai/v1"],
  [/^openrouter\.ai$/, "/api/v1"],
  [/^generativelanguage\.googleapis\.com$/, "/v1beta/openai"],
];

/** What was probably meant, where the URL has no path, or the path of one call. Null: it may be right. */
function withVersion({ origin, hostname, pathname }: URL): string | null {
  const path = pathname.replace(/\/+$/, "");
  const base = path.replace(/\/(?:chat\/completions|completions|responses|embeddings|models|files|batches)$/, "");
  const isOpenAI = hostname === "api.openai.com";
  if (base !== "" && base === path && (!isOpenAI || base === "/v1")) return null;
  const [, known] = API_PATHS.find(([hosts]) => hosts.test(hostname)) ?? [];
  return origin + (base === "" || isOpenAI ? (known ?? "/v1") : base);
}
