/** Checks one line of an input file. Pure. docs/gateway.md lists which messages are assumed, not recorded at OpenAI. */
import { isJsonObject, parseJson, type Json, type JsonObject } from "./json.js";
import type { BatchInputError } from "./wire.js";

/** Validation refuses a line with this text, so that a row of data can choose this ending. */
const BAD_LINE_TEXT = "[[demo:bad-line]]";

export interface InputLine {
  readonly customId: string;
  readonly model: string;
  readonly body: JsonObject;
}

export interface LineRules {
  readonly endpoint: string;
  /** Null: any name. */
  readonly models: readonly string[] | null;
}

type LineError = Omit<BatchInputError, "line">;
export type LineVerdict = { readonly request: InputLine } | { readonly error: LineError };

/** The checks of one line alone. `text` is null for a line that is too long. */
export function checkLine(text: string | null, rules: LineRules): LineVerdict {
  if (text === null) return refuse("invalid_request", null, "This line is too long.");
  const line = parseJson(text);
  if (!isJsonObject(line)) return refuse("invalid_json_line", null, "This line is not parseable as valid JSON.");
  const missing = ["custom_id", "method", "url", "body"].find((name) => isBlank(line[name]));
  if (missing !== undefined) {
    return refuse("missing_required_parameter", missing, `Missing required parameter: '${missing}'.`);
  }
  const mistyped = ["custom_id", "method", "url"].find((name) => typeof line[name] !== "string");
  if (mistyped !== undefined) return refuse("invalid_type", mistyped, `Invalid type for '${mistyped}'.`);
  if (line["method"] !== "POST") {
    return refuse("invalid_method", "method", "The method of each request must be 'POST'.");
  }
  if (line["url"] !== rules.endpoint) {
    return refuse("invalid_url", "url", "The URL provided for this request does not match the batch endpoint.");
  }
  if (text.includes(BAD_LINE_TEXT)) {
    return refuse("invalid_request", "body.messages", `The text ${BAD_LINE_TEXT} requests this refusal.`);
  }
  return checkBody(String(line["custom_id"]), line["body"], rules);
}

function checkBody(customId: string, body: Json | undefined, rules: LineRules): LineVerdict {
  if (!isJsonObject(body)) return refuse("invalid_type", "body", "Invalid type for 'body'.");
  const { model, messages, stream } = body;
  if (typeof model !== "string" || model === "") {
    return refuse("invalid_request", "body.model", "Model parameter is required.");
  }
  if (rules.models !== null && !rules.models.includes(model)) {
    const message = `The provided model '${model}' is not supported by the Batch API.`;
    return refuse("model_not_found", "body.model", message);
  }
  if (!Array.isArray(messages)) {
    return refuse("invalid_request", "body.messages", "Messages parameter is required.");
  }
  if (stream === true) {
    const message = "Chat Completions: Streaming is not supported in the Batch API.";
    return refuse("streaming_unsupported", "body.stream", message);
  }
  return { request: { customId, model, body } };
}

export function duplicateError(customId: string): LineError {
  return {
    code: "duplicate_custom_id",
    param: "custom_id",
    message:
      `The custom_id '${customId}' for this request is a duplicate of another request. ` +
      "The custom_id parameter must be unique for each request in a batch.",
  };
}

export function mismatchError(model: string): LineError {
  return {
    code: "mismatched_model",
    param: "body.model",
    message:
      `The model '${model}' for this request does not match the rest of the batch. ` +
      "Each batch must contain requests for a single model.",
  };
}

function isBlank(value: Json | undefined): boolean {
  return value === undefined || value === null || value === "";
}

function refuse(code: string, param: string | null, message: string): LineVerdict {
  return { error: { code, param, message } };
}
