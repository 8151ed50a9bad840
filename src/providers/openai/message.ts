/**
 * Reads what one message of a chat completion says, in each of the shapes that servers of OpenAI's API give it. Pure; never throws.
 *
 * Shapes: content as text, as a list of parts or as the object itself; tool calls and the older function call; reasoning under the names of
 * vLLM, SGLang and DeepSeek (`reasoning_content`), OpenRouter and newer vLLM (`reasoning`), Ollama (`thinking`), Mistral (parts).
 */
import type { Said } from "../../model/provider/outcome.js";
import { asRecord, textOf } from "./wire.js";

type Json = Readonly<Record<string, unknown>>;

const CALLS_MAX = 100;
const REASONING_NAMES = ["reasoning_content", "reasoning", "thinking"] as const;
const REASONING_PARTS = new Set<unknown>(["thinking", "reasoning"]);

export interface Message {
  /** Null: it says nothing at all, not even a blank text. */
  readonly said: Said | null;
  readonly refusal: string | null;
}

export function readMessage(message: Json | null): Message {
  const content = message?.["content"];
  // Nearly always a text, and no list of parts.
  const parts = typeof content === "string" ? [] : Array.isArray(content) ? content : [content];
  const calls = readCalls(message);
  const reasoning =
    REASONING_NAMES.map((name) => textOf(message?.[name])).find((text) => text !== null) ??
    joined(parts.filter(isReasoning).map((part) => wordsOf(asRecord(part)?.["thinking"] ?? part)));
  const refusal = textOf(message?.["refusal"]) ?? joined(parts.map((part) => asRecord(part)?.["refusal"]));
  const text =
    typeof content === "string" ? content : joined(parts.filter((part) => !isReasoning(part)).map(wordsOf));
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
  const called = [
    ...(Array.isArray(list) ? list.slice(0, CALLS_MAX) : []),
    { function: message?.["function_call"] },
  ];
  return called.flatMap((call) => {
    const given = asRecord(asRecord(call)?.["function"])?.["arguments"];
    if (typeof given === "string") return [given];
    return asRecord(given) === null ? [] : [JSON.stringify(given)];
  });
}
