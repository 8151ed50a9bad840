/**
 * The built-in demo model. It is NO language model: it answers by rules and word lists, the same message always the
 * same way, and each reply's `system_fingerprint` says what it is. It reads only the last user message. Its one state
 * is which messages with a `…-once` text it has seen; after a restart the journal provides it.
 */
import type { WrittenAnswer } from "./answer-text.js";
import { answerTo, type Asking } from "./answer.js";
import { cutText, summaryOf } from "./text.js";
import { contentText, userTextOf, type ChatContext, type ChatModel, type ChatReply } from "../engine/chat-model.js";
import { contentHashOf } from "../storage/journal.js";
import { isJsonObject, type Json, type JsonObject } from "../protocol/json.js";
import { errorBody, type ErrorBody } from "../protocol/wire.js";

const DEMO_FINGERPRINT = "rowmill-demo-no-language-model";
/** Close enough for English, and fast. */
const CHARS_PER_TOKEN = 4;
const TOKENS_PER_MESSAGE = 4;
const ONCE_SEEN_MAX = 100_000;

/** The answer to `{type: "json_object"}`, which names no fields. */
const OBJECT_WITHOUT_SCHEMA: JsonObject = {
  type: "object",
  properties: { categories: { type: "array", items: { type: "string" } }, summary: { type: "string" } },
};

interface DemoModelOptions {
  /** Hashes of messages whose `…-once` text has taken effect. The model adds to it. */
  readonly onceSeen: Set<string>;
}

export function createDemoModel({ onceSeen }: DemoModelOptions): ChatModel {
  return {
    names: ["gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-5-mini", "gpt-5-nano"],
    ownedBy: "rowmill-demo (rules and word lists, no language model)",
    countPromptTokens,
    answer: (body, context) => answer(body, context, onceSeen),
  };
}

function answer(body: JsonObject, context: ChatContext, onceSeen: Set<string>): ChatReply {
  const problem = requestProblem(body);
  if (problem !== null) {
    return {
      status: 400,
      body: marked(errorBody(problem.message, { param: problem.param })),
      usage: null,
      behaviour: null,
    };
  }
  const text = userTextOf(body);
  const asked = behaviourOf(text);
  const behaviour = asked !== null && wasSpent(asked, text, onceSeen) ? null : asked;
  const name = behaviour?.name ?? null;
  if (behaviour?.ending === "error") {
    return { status: behaviour.status, body: marked(scriptedError(behaviour.status)), usage: null, behaviour: name };
  }
  const ending = endingOf(body, withoutBehaviour(text), behaviour);
  const usage = {
    inputTokens: countPromptTokens(body),
    outputTokens: tokensIn(ending.content ?? ending.refusal ?? ""),
  };
  return { status: 200, body: completion(body, context, ending, usage), usage, behaviour: name };
}

/** True for a `…-once` text that has already taken effect; else records it. */
function wasSpent(behaviour: DemoBehaviour, text: string, onceSeen: Set<string>): boolean {
  if (!behaviour.once) return false;
  const hash = contentHashOf(text);
  if (onceSeen.has(hash) || onceSeen.size >= ONCE_SEEN_MAX) return true;
  onceSeen.add(hash);
  return false;
}

function requestProblem(body: JsonObject): { message: string; param: string } | null {
  const { messages } = body;
  if (!Array.isArray(messages) || messages.length === 0) {
    return { param: "messages", message: "Invalid 'messages': expected at least one message." };
  }
  const format = body["response_format"];
  const wantsJson = isJsonObject(format) && format["type"] === "json_object";
  if (wantsJson && !/json/i.test(JSON.stringify(messages))) {
    const message =
      "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.";
    return { param: "messages", message };
  }
  for (const name of ["max_completion_tokens", "max_tokens"]) {
    const limit = body[name];
    if (limit === undefined || limit === null || (Number.isInteger(limit) && Number(limit) >= 1)) continue;
    return { param: name, message: `Invalid '${name}': expected an integer >= 1.` };
  }
  return null;
}

interface Ending {
  readonly content: string | null;
  readonly refusal: string | null;
  readonly finishReason: "stop" | "length" | "content_filter";
  readonly hasChoice: boolean;
}

function endingOf(body: JsonObject, text: string, behaviour: DemoBehaviour | null): Ending {
  const whole: Ending = { content: "", refusal: null, finishReason: "stop", hasChoice: true };
  switch (behaviour?.ending) {
    case "refuse":
      return { ...whole, content: null, refusal: "I'm sorry, but I can't help with that." };
    case "invalid":
      return { ...whole, content: 'Here is what you asked for: {"categories": [' };
    case "mismatch":
      return { ...whole, content: '{"unexpected":[1,"two",null]}' };
    case "empty":
      return whole;
    case "no-choices":
      return { ...whole, hasChoice: false };
    case "filter":
      return { ...whole, finishReason: "content_filter" };
    default:
  }
  const { text: content, isWhole } = contentFor(body, { text, suffix: behaviour?.ending === "nul" ? "\u0000" : "" });
  const charsMax = behaviour?.ending === "truncate" ? Math.floor(content.length / 2) : charsAllowed(body);
  if (content.length <= charsMax) return { ...whole, content, finishReason: isWhole ? "stop" : "length" };
  return { ...whole, content: cutText(content, charsMax), finishReason: "length" };
}

function contentFor(body: JsonObject, asking: Asking): WrittenAnswer {
  const format = body["response_format"];
  const kind = isJsonObject(format) ? format["type"] : "text";
  if (kind === "json_object") return answerTo(OBJECT_WITHOUT_SCHEMA, asking);
  const wrapper = isJsonObject(format) ? format["json_schema"] : undefined;
  const schema = isJsonObject(wrapper) ? wrapper["schema"] : undefined;
  if (kind === "json_schema" && isJsonObject(schema)) return answerTo(schema, asking);
  const text = (summaryOf(asking.text) || "There is no text to answer.") + asking.suffix;
  return { text, isWhole: true };
}

function charsAllowed(body: JsonObject): number {
  const limit = body["max_completion_tokens"] ?? body["max_tokens"];
  return typeof limit === "number" ? limit * CHARS_PER_TOKEN : Infinity;
}

function completion(
  body: JsonObject,
  { id, nowSeconds }: ChatContext,
  { content, refusal, finishReason, hasChoice }: Ending,
  { inputTokens, outputTokens }: { inputTokens: number; outputTokens: number },
): JsonObject {
  const message = { role: "assistant", content, refusal, annotations: [] };
  const choice = { index: 0, message, logprobs: null, finish_reason: finishReason };
  return {
    id,
    object: "chat.completion",
    created: nowSeconds,
    model: body["model"] ?? "",
    choices: hasChoice ? [choice] : [],
    usage: {
      prompt_tokens: inputTokens,
      completion_tokens: outputTokens,
      total_tokens: inputTokens + outputTokens,
      prompt_tokens_details: { cached_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0 },
    },
    system_fingerprint: DEMO_FINGERPRINT,
  };
}

function scriptedError(status: number): ErrorBody {
  const message = `The message asked for this error (${status}).`;
  if (status === 429) return errorBody(message, { type: "requests", code: "rate_limit_exceeded" });
  return errorBody(message, status >= 500 ? { type: "server_error" } : {});
}

/** Errors, too, show that the demo model made them. */
function marked(body: ErrorBody): ChatReply["body"] {
  return { ...body, system_fingerprint: DEMO_FINGERPRINT };
}

function countPromptTokens(body: JsonObject): number {
  const messages = Array.isArray(body["messages"]) ? (body["messages"] as readonly Json[]) : [];
  return messages.reduce<number>((sum, message) => {
    const text = isJsonObject(message) ? contentText(message["content"]) : "";
    return sum + TOKENS_PER_MESSAGE + tokensIn(text);
  }, 0);
}

function tokensIn(text: string): number {
  return Math.ceil(text.length / CHARS_PER_TOKEN);
}

/** Special texts, with which a row of data chooses its ending: `[[demo:refuse]]`, `[[demo:error-once 500]]`. */
const DEMO_ENDINGS = [
  "refuse",
  "invalid",
  "mismatch",
  "error",
  "truncate",
  "empty",
  "no-choices",
  "filter",
  "nul",
] as const;
type DemoEnding = (typeof DEMO_ENDINGS)[number];

interface DemoBehaviour {
  readonly ending: DemoEnding;
  /** Of `error`: the HTTP status. */
  readonly status: number;
  readonly once: boolean;
  /** As the journal records it: `error-once 429`. */
  readonly name: string;
}

const ERROR_STATUS_DEFAULT = 500;
const PATTERN = new RegExp(`\\[\\[demo:(${DEMO_ENDINGS.join("|")})(-once)?(?: ([45]\\d\\d))?\\]\\]`, "g");

/** The first special text of the message, or null. */
function behaviourOf(text: string): DemoBehaviour | null {
  if (!text.includes("[[demo:")) return null;
  for (const [, word, once, digits] of text.matchAll(PATTERN)) {
    const ending = DEMO_ENDINGS.find((known) => known === word);
    if (ending === undefined) continue;
    const status = digits === undefined ? ERROR_STATUS_DEFAULT : Number(digits);
    const name = `${ending}${once ?? ""}${digits === undefined ? "" : ` ${digits}`}`;
    return { ending, status, once: once !== undefined, name };
  }
  return null;
}

/** Answers must not show the special texts. */
function withoutBehaviour(text: string): string {
  return text.includes("[[demo:") ? text.replaceAll(PATTERN, " ").trim() : text;
}
