/** Reads one line of an output or error file. Pure; never throws: a broken line is an outcome too. */
import { DEMO_FINGERPRINT, type AnswerOutcome, type TokenUsage, type Said } from "../../model/provider/outcome.js";
import { isOverfull, LINE_VALUES_MAX } from "../../model/json/json-values.js";
import { storableText } from "../../model/words/storable-text.js";
import { asRecord, textOf, wholeOf } from "./wire.js";

type Json = Readonly<Record<string, unknown>>;
type NoAnswerKind = Extract<AnswerOutcome, { code: string | null }>["kind"];

const MESSAGE_CHARACTERS_MAX = 500;

/** Failures without an HTTP status. Unknown words are the provider's fault, and bounded as such. */
const ERROR_KINDS: Readonly<Record<string, NoAnswerKind>> = {
  batch_expired: "expired",
  batch_cancelled: "cancelled",
  rate_limit_exceeded: "rateLimited",
  invalid_request_error: "permanent",
  invalid_request: "permanent",
};

/** Line shapes: OpenAI's Batch guide, and issues of clients that met others. */
export function readOutcome(line: string): AnswerOutcome {
  if (isOverfull(line, LINE_VALUES_MAX)) {
    const message = `the line holds more than ${LINE_VALUES_MAX} values`;
    return { kind: "unknownId", customId: null, message };
  }
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return { kind: "unknownId", customId: null, message: "the line is not JSON" };
  }
  const entry = asRecord(json);
  const customId = textOf(entry?.["custom_id"]);
  if (entry === null || customId === null) {
    return { kind: "unknownId", customId: null, message: "the line has no custom_id" };
  }
  const response = asRecord(entry["response"]);
  const outcome = outcomeOf(customId, response, asRecord(entry["error"]));
  return isOfDemo(asRecord(response?.["body"])) ? { ...outcome, demo: true } : outcome;
}

function isOfDemo(body: Json | null): boolean {
  return body?.["system_fingerprint"] === DEMO_FINGERPRINT;
}

/** The body of one live call's reply. */
export function readLive(body: Json | null): AnswerOutcome {
  const outcome = readCompletion("live", body);
  return isOfDemo(body) ? { ...outcome, demo: true } : outcome;
}

function outcomeOf(customId: string, response: Json | null, error: Json | null): AnswerOutcome {
  const said = response?.["status_code"] ?? null;
  const status = wholeOf(said) ?? 0;
  // Some servers put the completion itself where its envelope belongs.
  const body = asRecord(response?.["body"]) ?? (hasChoices(response) ? response : null);
  if (response !== null && status >= 400) {
    const detail = asRecord(body?.["error"]) ?? error;
    return noAnswer(customId, statusKind(status), detail, `the provider answered HTTP ${status}`);
  }
  const isGood = status >= 200 && status < 300;
  // It was paid for, whatever else the line says; a status of 0 means that it failed.
  if (hasChoices(body) && (isGood || said === null)) return readCompletion(customId, body);
  if (error !== null) {
    const code = textOf(error["code"]) ?? "";
    const kind = Object.hasOwn(ERROR_KINDS, code) ? ERROR_KINDS[code] : undefined;
    return noAnswer(customId, kind ?? "transient", error, "the provider gave no reason");
  }
  if (!isGood) {
    return noAnswer(customId, "transient", null, `the line has no usable response (status ${status})`);
  }
  return readCompletion(customId, body);
}

function hasChoices(json: Json | null): boolean {
  const choices = json?.["choices"];
  return Array.isArray(choices) && choices.length > 0;
}

function statusKind(status: number): NoAnswerKind {
  if (status === 429) return "rateLimited";
  return status >= 500 || status === 408 ? "transient" : "permanent";
}

function noAnswer(customId: string, kind: NoAnswerKind, detail: Json | null, otherwise: string): AnswerOutcome {
  const code = textOf(detail?.["code"]) ?? textOf(detail?.["type"]);
  return { kind, customId, code, message: short(textOf(detail?.["message"]) ?? otherwise) };
}

function readCompletion(customId: string, body: Json | null): AnswerOutcome {
  const choices = body?.["choices"];
  const choice = Array.isArray(choices) ? asRecord(choices[0]) : null;
  const { said, refusal } = readMessage(asRecord(choice?.["message"]));
  const [model, usage] = [textOf(body?.["model"]), readUsage(body?.["usage"])];
  const finish = choice?.["finish_reason"];
  const isWhole = refusal === null && finish !== "length" && finish !== "content_filter";
  // Nearly every line: V8 spreads an object ten times faster where nothing is added behind it.
  if (isWhole && said !== null) return { kind: "text", customId, model, usage, ...said };
  const text = said === null || said.text === "" ? (said?.reasoning ?? said?.text ?? null) : said.text;
  const paid = { customId, text, model, usage };
  if (refusal !== null) return { ...paid, kind: "refused", text: text ?? refusal, message: short(refusal) };
  switch (finish) {
    case "length":
      return { ...paid, kind: "truncated", message: "the answer reached the output limit before its end" };
    case "content_filter":
      return { ...paid, kind: "refused", message: "the provider's content filter stopped the answer" };
    default:
      return { ...paid, kind: "invalid", message: short(emptyReason(body, choice)) };
  }
}

function emptyReason(body: Json | null, choice: Json | null): string {
  const error = textOf(asRecord(body?.["error"])?.["message"]);
  if (error !== null) return `the response is an error: ${error}`;
  if (choice === null) return "the response has no choices";
  const reason = textOf(choice["finish_reason"]);
  return reason === null ? "the response has no content" : `the response has no content (finish_reason ${reason})`;
}

function readUsage(json: unknown): TokenUsage {
  const usage = asRecord(json);
  const inputTokens = wholeOf(usage?.["prompt_tokens"]) ?? 0;
  const cached = wholeOf(asRecord(usage?.["prompt_tokens_details"])?.["cached_tokens"]) ?? 0;
  return {
    inputTokens,
    cachedInputTokens: Math.min(cached, inputTokens),
    outputTokens: wholeOf(usage?.["completion_tokens"]) ?? 0,
  };
}

function short(message: string): string {
  return storableText(
    message.length > MESSAGE_CHARACTERS_MAX ? `${message.slice(0, MESSAGE_CHARACTERS_MAX)}…` : message,
  );
}

const CALLS_MAX = 100;
/** Of vLLM, SGLang and DeepSeek; OpenRouter and newer vLLM; Ollama. Mistral has parts. */
const REASONING_NAMES = ["reasoning_content", "reasoning", "thinking"] as const;
const REASONING_PARTS = new Set<unknown>(["thinking", "reasoning"]);

/** Content as text, parts or the object itself; tool calls, also the older one. `said` null: not even a blank text. */
function readMessage(message: Json | null): { readonly said: Said | null; readonly refusal: string | null } {
  const content = message?.["content"];
  // Nearly always a text, and no list of parts.
  const parts = typeof content === "string" ? [] : Array.isArray(content) ? content : [content];
  const calls = readCalls(message);
  const reasoning =
    REASONING_NAMES.map((name) => textOf(message?.[name])).find((text) => text !== null) ??
    joined(parts.filter(isReasoning).map((part) => wordsOf(asRecord(part)?.["thinking"] ?? part)));
  const refusal = textOf(message?.["refusal"]) ?? joined(parts.map((part) => asRecord(part)?.["refusal"]));
  const text = typeof content === "string" ? content : joined(parts.filter((part) => !isReasoning(part)).map(wordsOf));
  if (text === null && reasoning === null && calls.length === 0) return { said: null, refusal };
  const said = {
    text: text ?? "",
    ...(calls.length === 0 ? {} : { calls }),
    ...(reasoning === null ? {} : { reasoning }),
  };
  return { said, refusal };
}

function isReasoning(part: unknown): boolean {
  return REASONING_PARTS.has(asRecord(part)?.["type"]);
}

/** Of a part, of a list of parts, or of the answer that the server has parsed already; null: it has none. */
function wordsOf(part: unknown): string | null {
  if (typeof part === "string") return part;
  if (Array.isArray(part)) return joined(part.map((inner) => asRecord(inner)?.["text"] ?? inner));
  const record = asRecord(part);
  if (record === null) return null;
  const { type, text } = record;
  if (typeof type !== "string" && text === undefined) return JSON.stringify(record);
  if (typeof text === "string") return text;
  const { value } = asRecord(text) ?? {};
  return typeof value === "string" ? value : null;
}

/** Without anything between them: a part may end anywhere. Null: there is none. */
function joined(parts: readonly unknown[]): string | null {
  const texts = parts.filter((part) => typeof part === "string");
  return texts.length === 0 ? null : texts.join("");
}

function readCalls(message: Json | null): readonly string[] {
  const list = message?.["tool_calls"];
  if (!Array.isArray(list) && asRecord(message?.["function_call"]) === null) return [];
  const called = [...(Array.isArray(list) ? list.slice(0, CALLS_MAX) : []), { function: message?.["function_call"] }];
  return called.flatMap((call) => {
    const given = asRecord(asRecord(call)?.["function"])?.["arguments"];
    if (typeof given === "string") return [given];
    return asRecord(given) === null ? [] : [JSON.stringify(given)];
  });
}
