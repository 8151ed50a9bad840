/** Owns what the gateway asks of a model: one chat completion at a time. The demo model is the only one. Pure. */
import { isJsonObject, type Json, type JsonObject } from "../protocol/json.js";
import type { ErrorBody } from "../protocol/wire.js";

export interface ChatReply {
  readonly status: number;
  /** A `chat.completion`, or OpenAI's error envelope. */
  readonly body: JsonObject | ErrorBody;
  /** Null if no model ran. */
  readonly usage: { readonly inputTokens: number; readonly outputTokens: number } | null;
  /** The special text that chose this ending, or null. */
  readonly behaviour: string | null;
}

export interface ChatContext {
  /** The reply's unique id. */
  readonly id: string;
  readonly nowSeconds: number;
}

export interface ChatModel {
  /** Names for GET /v1/models. */
  readonly names: readonly string[];
  readonly ownedBy: string;
  answer(body: JsonObject, context: ChatContext): ChatReply | Promise<ChatReply>;
  /** Prompt tokens by the model's own count. */
  countPromptTokens(body: JsonObject): number;
}

/** The text of the last user message: a string, or the text parts of a list, joined by line feeds. "" without one. */
export function userTextOf(body: JsonObject): string {
  const messages = Array.isArray(body["messages"]) ? (body["messages"] as readonly Json[]) : [];
  const last = messages.findLast((message) => isJsonObject(message) && message["role"] === "user");
  return isJsonObject(last) ? contentText(last["content"]) : "";
}

export function contentText(content: Json | undefined): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  const parts = content as readonly Json[];
  return parts
    .flatMap((part) => (isJsonObject(part) && typeof part["text"] === "string" ? [part["text"]] : []))
    .join("\n");
}
