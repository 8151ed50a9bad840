/**
 * Which request parameters a family of OpenAI's models refuses: each line of a batch would come back as an error. Pure.
 * Judges only models that it knows by OpenAI's names, and only what is certain; a parameter's default is allowed
 * everywhere.
 *
 * Sources: the API reference (values of `reasoning_effort`), the guide to GPT-5.2 ("temperature and top_p are supported
 * only with reasoning effort none; gpt-5, gpt-5-mini and gpt-5-nano raise an error"), and recorded replies for
 * `temperature` (o3, o4-mini, gpt-5 and its sizes), `stop` (o3, o4-mini, gpt-5-mini) and `reasoning_effort`
 * (gpt-4o-mini, gpt-4.1).
 */
import type { Json } from "../../model/pipeline.js";
import type { ParameterProblem } from "../../model/provider/provider.js";

/** Wire names and values. */
type Parameters = Readonly<Record<string, Json>>;

interface Family {
  readonly names: RegExp;
  /** Accepts temperature and the like; `withoutEffort`: with `reasoning_effort: none`, its default. */
  readonly samples: "always" | "withoutEffort" | "never";
  readonly stops: boolean;
  /** Values of `reasoning_effort`; none: it has no such parameter. */
  readonly efforts: readonly string[];
}

/** `-2025-08-07` or nothing. */
const DATE = "(?:-\\d{4}-\\d{2}-\\d{2})?$";

const FAMILIES: readonly Family[] = [
  {
    names: new RegExp(
      `^(?:gpt-3\\.5-turbo|gpt-4|gpt-4-turbo|gpt-4o|gpt-4o-mini|gpt-4\\.1|gpt-4\\.1-mini|gpt-4\\.1-nano)${DATE}`,
    ),
    samples: "always",
    stops: true,
    efforts: [],
  },
  {
    // The reasoning models that accept `stop`.
    names: new RegExp(`^(?:o1|o3-mini)${DATE}`),
    samples: "never",
    stops: true,
    efforts: ["low", "medium", "high"],
  },
  {
    names: new RegExp(`^(?:o3|o4-mini)${DATE}`),
    samples: "never",
    stops: false,
    efforts: ["low", "medium", "high"],
  },
  {
    names: new RegExp(`^gpt-5(?:-mini|-nano)?${DATE}`),
    samples: "never",
    stops: false,
    efforts: ["minimal", "low", "medium", "high"],
  },
  {
    names: new RegExp(`^gpt-5\\.1${DATE}`),
    samples: "withoutEffort",
    stops: true,
    efforts: ["none", "low", "medium", "high"],
  },
  {
    names: new RegExp(`^gpt-5\\.2${DATE}`),
    samples: "withoutEffort",
    stops: true,
    efforts: ["none", "low", "medium", "high", "xhigh"],
  },
];

/** Allowed for a reasoning model too: they change nothing. */
const SAMPLING_DEFAULTS: Parameters = { temperature: 1, top_p: 1, presence_penalty: 0, frequency_penalty: 0 };
/** Refused with an effort: the guide names these two. */
const EFFORTLESS = new Set(["temperature", "top_p"]);

/** What the model refuses among the parameters; of a fine-tuned model (`ft:gpt-4o-mini:…`) its base decides. */
export function parameterProblems(model: string, parameters: Parameters): readonly ParameterProblem[] {
  const base = model.startsWith("ft:") ? (model.split(":")[1] ?? "") : model;
  const family = FAMILIES.find(({ names }) => names.test(base));
  if (family === undefined) return [];
  return [
    ...samplingProblems(base, family, parameters),
    ...(parameters["stop"] === undefined || family.stops
      ? []
      : [{ name: "stop", problem: `${base} refuses it; leave it out` }]),
    ...effortProblems(base, family, parameters["reasoning_effort"]),
  ];
}

function samplingProblems(base: string, { samples }: Family, parameters: Parameters): ParameterProblem[] {
  const effort = parameters["reasoning_effort"] ?? "none";
  if (samples === "always" || (samples === "withoutEffort" && effort === "none")) return [];
  const refused = Object.entries(SAMPLING_DEFAULTS).filter(
    ([name, byDefault]) =>
      parameters[name] !== undefined && parameters[name] !== byDefault && (samples === "never" || EFFORTLESS.has(name)),
  );
  const why =
    samples === "never"
      ? `${base} is a reasoning model, which refuses it`
      : `${base} accepts it only without reasoning`;
  const instead = samples === "never" ? "leave it out" : 'leave it out, or set reasoningEffort: "none"';
  return refused.map(([name]) => ({ name, problem: `${why}; ${instead}` }));
}

function effortProblems(base: string, { efforts }: Family, effort: Json | undefined): ParameterProblem[] {
  if (effort === undefined || efforts.some((known) => known === effort)) return [];
  const problem =
    efforts.length === 0
      ? `${base} is not a reasoning model and refuses it; leave it out`
      : `${base} accepts only ${efforts.join(", ")}`;
  return [{ name: "reasoning_effort", problem }];
}
