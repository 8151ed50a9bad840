/** Reads `request`: the model, the messages, and the parameters under their wire names. */
import type { Json, MessageSource, OwnPrice, PipelineConfig, RowCells } from "../../model/pipeline.js";
import type { Dialect } from "../../model/provider/provider.js";
import { templateProblems } from "../../model/request/template.js";
import type { ConfigLanguage } from "./read-answer.js";
import {
  integer,
  number,
  oneOf,
  optional,
  refuse,
  section,
  text,
  uniqueList,
  type Place,
  type Reader,
} from "./readers.js";

const MAX_OUTPUT_TOKENS_DEFAULT = 1_024;
const OUTPUT_TOKENS_MAX = 1_000_000;
const STOP_TEXTS_MAX = 4;
/** No model costs a thousandth of it. The sum of many requests must stay a safe integer. */
const USD_PER_MILLION_MAX = 100_000;

const PARAMETER_READERS = {
  temperature: { wire: "temperature", read: number({ min: 0, max: 2 }) },
  topP: { wire: "top_p", read: number({ min: 0, max: 1 }) },
  seed: { wire: "seed", read: integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }) },
  stop: { wire: "stop", read: readStop },
  presencePenalty: { wire: "presence_penalty", read: number({ min: -2, max: 2 }) },
  frequencyPenalty: { wire: "frequency_penalty", read: number({ min: -2, max: 2 }) },
  reasoningEffort: {
    wire: "reasoning_effort",
    read: oneOf(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
  },
} as const satisfies Record<string, { wire: string; read: Reader<Json> }>;

const PARAMETER_KEYS = [
  "temperature",
  "topP",
  "seed",
  "stop",
  "presencePenalty",
  "frequencyPenalty",
  "reasoningEffort",
] as const satisfies (keyof typeof PARAMETER_READERS)[];

export interface Asked {
  readonly dialect: Dialect;
  /** The declared columns, or null if they could not be read: then templates are not checked against them. */
  readonly columns: readonly string[] | null;
  readonly language: ConfigLanguage;
}

export function readRequest(place: Place, { dialect, columns, language }: Asked): PipelineConfig["request"] {
  const at = section(place, ["model", "price", "system", "user", "maxOutputTokens", ...PARAMETER_KEYS]);
  const message: Reader<MessageSource> = (messagePlace) => readMessage(messagePlace, columns, language);
  const model = text(`the name of a model, such as "${dialect.exampleModel}"`)(at.model);
  return {
    model,
    parameters: readParameters(at, dialect, model),
    system: optional(at.system, message, null),
    user: message(at.user),
    maxOutputTokens: optional(
      at.maxOutputTokens,
      integer({ min: 1, max: OUTPUT_TOKENS_MAX }, " tokens"),
      MAX_OUTPUT_TOKENS_DEFAULT,
    ),
    price: optional(at.price, readPrice, null),
  };
}

function readPrice(place: Place): OwnPrice {
  const at = section(place, ["input", "cachedInput", "output"]);
  const usd = number({ min: 0, max: USD_PER_MILLION_MAX }, " (US dollars per million tokens)");
  const input = usd(at.input);
  return { input, cachedInput: optional(at.cachedInput, usd, input), output: usd(at.output) };
}

function readParameters(
  at: Readonly<Record<(typeof PARAMETER_KEYS)[number], Place>>,
  dialect: Dialect,
  model: string,
): Readonly<Record<string, Json>> {
  const parameters: Record<string, Json> = {};
  for (const key of PARAMETER_KEYS) {
    const parameter: { wire: string; read: Reader<Json> } = PARAMETER_READERS[key];
    if (at[key].value !== undefined) parameters[parameter.wire] = parameter.read(at[key]);
  }
  for (const { name, problem } of dialect.parameterProblems(model, parameters)) {
    const key = PARAMETER_KEYS.find((candidate) => PARAMETER_READERS[candidate].wire === name);
    if (key === undefined || !at[key].problems.clean(at[key].path)) continue;
    at[key].problems.add(at[key].path, problem);
  }
  return parameters;
}

function readStop(place: Place): Json {
  const stop = text(`a text, or a list of up to ${STOP_TEXTS_MAX} texts`);
  if (typeof place.value === "string") return stop(place);
  const texts = uniqueList(place, stop, `a text, or a list of up to ${STOP_TEXTS_MAX} texts`);
  if (texts.length > STOP_TEXTS_MAX) refuse(place, `at most ${STOP_TEXTS_MAX} texts`);
  return [...texts];
}

function readMessage(place: Place, columns: readonly string[] | null, language: ConfigLanguage): MessageSource {
  if (isRenderer(place.value)) {
    if (isPlainFunction(place.value)) return { kind: "function", render: place.value };
    refuse(place, "a plain function of the row, not an async function or a generator");
    return { kind: "template", text: "" };
  }
  const template = text(
    language === "json"
      ? 'a template such as "{{ Description }}"'
      : 'a template such as "{{ Description }}", or a function of the row',
  )(place);
  if (columns !== null && place.problems.clean(place.path)) {
    for (const problem of templateProblems(template, columns)) place.problems.add(place.path, problem);
  }
  return { kind: "template", text: template };
}

function isRenderer(value: unknown): value is (row: RowCells) => string | null {
  return typeof value === "function";
}

/** False for async functions and generators, which do not return a text. */
export function isPlainFunction(value: object): boolean {
  return Object.prototype.toString.call(value) === "[object Function]";
}
