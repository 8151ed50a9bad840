/**
 * Reads `provider`: what an adapter's function returned, or the user's own object that implements `Provider`. Both are
 * known by their shape, so a config may load another copy of this module. Members are user code: a getter may throw.
 */
import type { Provider } from "../../model/provider/provider.js";
import type { ProviderChoice } from "../../model/provider/provider-choice.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { ADAPTERS } from "../../providers/adapters.js";
import { childPath } from "./problems.js";
import type { ConfigLanguage } from "./read-answer.js";
import { refuse, type Place } from "./readers.js";

const EXAMPLES = ADAPTERS.map(({ configExample }) => configExample).join(", ");
const EXPECTED = `${EXAMPLES}, or an object that implements Provider`;

/** What a member must be: `null` where it may also be null. */
type Kind = "text" | "function" | "object" | "number" | "function or null" | "object or null" | "text or null";

/** Also the members of its dialect. */
const PROVIDER: Readonly<Record<string, Kind>> = {
  name: "text",
  title: "text",
  exampleModel: "text",
  endpoint: "text",
  limits: "object",
  recovery: "object",
  frame: "object",
  tokenizer: "function",
  rates: "function",
  nearModel: "function",
  schemaProblems: "function",
  freeJsonWord: "text or null",
  parameterProblems: "function",
  accountText: "function",
  accountVariables: "function",
  account: "text",
  createMs: "number",
  encoder: "function",
  staging: "object or null",
  baseline: "function or null",
  create: "function",
  find: "function",
  list: "function",
  status: "function",
  cancel: "function",
  forget: "function",
  results: "function",
  inputs: "object or null",
  answer: "function or null",
  diagnose: "function",
  servesDemo: "function",
  clockSeconds: "function",
};

/** The members of members that are objects. */
const INSIDE: Readonly<Record<string, Readonly<Record<string, Kind | "boolean">>>> = {
  limits: {
    requestsMin: "number",
    requestsMax: "number",
    bytesMax: "number",
    oneModel: "boolean",
    windowHours: "number",
    resultsKeptHours: "number",
  },
  frame: { head: "text", separator: "text", tail: "text" },
  recovery: { find: "text", fence: "text", exclusive: "boolean" },
  staging: { send: "function", find: "function", inspect: "function", remove: "function" },
  inputs: { read: "function", kept: "function" },
};

/** After a mistake it returns the environment's choice, so that other mistakes are found too. */
export function readProvider(place: Place, language: ConfigLanguage): ProviderChoice {
  const fallback = ADAPTERS[0].choice;
  const { path, value, problems } = place;
  if (language === "json") {
    refuse(
      place,
      "nothing in a JSON config. A provider needs TypeScript or JavaScript; set the account in the environment",
    );
    return fallback;
  }
  if (typeof value !== "object" || value === null) {
    refuse(place, EXPECTED);
    return fallback;
  }
  try {
    if (isChoice(value)) {
      for (const { name, found, expected } of value.problems)
        problems.add(name === "" ? path : childPath(path, name), expected, found === null ? {} : { found });
      return problems.clean(path) ? value : fallback;
    }
    if (Object.keys(PROVIDER).some((name) => name in value)) judge(place, value, PROVIDER);
    else refuse(place, EXPECTED);
    return problems.clean(path) ? chosen(value as Provider) : fallback;
  } catch (error) {
    problems.add(path, `cannot be read: ${thrownMessage(error)}`);
    return fallback;
  }
}

function isChoice(value: object): value is ProviderChoice {
  return "dialect" in value && "open" in value && typeof value.open === "function" && "problems" in value;
}

/** Names what is missing or of the wrong kind, never the value: it may be a secret. */
function judge(
  { path, problems }: Pick<Place, "path" | "problems">,
  object: object,
  members: Readonly<Record<string, Kind | "boolean">>,
): void {
  for (const [name, kind] of Object.entries(members)) {
    const member: unknown = Reflect.get(object, name);
    const at = childPath(path, name);
    if (!isOf(member, kind)) {
      const words = kind === "text" ? kind : `${kind.startsWith("o") ? "an" : "a"} ${kind}`;
      problems.add(at, `${words} (see the interface Provider)`, { found: kindOf(member) });
    }
    const inside = INSIDE[name];
    if (inside !== undefined && typeof member === "object" && member !== null)
      judge({ path: at, problems }, member, inside);
  }
}

function kindOf(member: unknown): string {
  if (member === undefined) return "nothing";
  return member === null ? "null" : `a ${typeof member}`;
}

function isOf(member: unknown, kind: Kind | "boolean"): boolean {
  const [word = "", orNull] = kind.split(" or ");
  if (member === null) return orNull === "null";
  if (word === "text") return typeof member === "string";
  return word === "number" ? Number.isFinite(member) : typeof member === word;
}

/** The user's own provider needs no opening and has its account. */
function chosen(provider: Provider): ProviderChoice {
  return {
    dialect: provider,
    problems: [],
    account: () => provider.account,
    secrets: () => [],
    open: () => Promise.resolve(provider),
  };
}
