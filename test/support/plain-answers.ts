/**
 * How the stand-in of "plain" answers a request: any answer that fits the schema, always the same for the same
 * prompt. A prompt may ask for another ending by the words that the demo model of the gateway knows:
 * `[[demo:refuse]]`, `[[demo:error 429]]`.
 */
import { createHash } from "node:crypto";

/** One request as it is sent. */
export interface PlainAsk {
  readonly model: string;
  readonly max_output: number;
  readonly system: string | null;
  readonly prompt: string;
  readonly schema?: unknown;
  readonly [parameter: string]: unknown;
}

export interface PlainUsage {
  /** Tokens, the cached ones included. */
  readonly read: number;
  readonly cached: number;
  readonly written: number;
}

export type PlainResult =
  | {
      readonly type: "good";
      readonly text: string;
      readonly stop: "end" | "length" | "refusal";
      readonly model: string;
      readonly usage: PlainUsage;
    }
  | { readonly type: "bad"; readonly error: { readonly kind: string; readonly message: string } };

export type PlainAnswer = (ask: PlainAsk, place: { readonly batch: string; readonly id: string }) => PlainResult;

const CHARACTERS_PER_TOKEN = 4;
const BEHAVIOUR = /\[\[demo:([a-z-]+)(?: (\d{3}))?\]\]/;
const DEPTH_MAX = 20;

/** For a test's own answers: the text with its usage. */
export function goodAnswer(ask: PlainAsk, text: string, stop: "end" | "length" | "refusal" = "end"): PlainResult {
  const read = tokens(`${ask.system ?? ""}${ask.prompt}`);
  return { type: "good", text, stop, model: ask.model, usage: { read, cached: 0, written: tokens(text) } };
}

export const answerBySchema: PlainAnswer = (ask) => {
  const [, ending, status] = BEHAVIOUR.exec(ask.prompt) ?? [];
  if (ending === "error")
    return {
      type: "bad",
      error: { kind: errorKind(Number(status)), message: `the model failed (${status})` },
    };
  if (ending === "refuse") return goodAnswer(ask, "I will not answer this.", "refusal");
  const seed = createHash("sha256").update(ask.prompt).digest("hex");
  const text = ask.schema === undefined ? `plain ${seed.slice(0, 8)}` : JSON.stringify(valueOf(ask.schema, seed));
  if (ending === "truncate") return goodAnswer(ask, text.slice(0, Math.ceil(text.length / 2)), "length");
  if (ending === "empty") return goodAnswer(ask, "");
  return goodAnswer(ask, ending === "invalid" ? "Here you are: {" : text);
};

function errorKind(status: number): string {
  if (status === 429) return "too_fast";
  return status >= 500 ? "broke" : "bad_request";
}

function tokens(text: string): number {
  return Math.ceil(text.length / CHARACTERS_PER_TOKEN);
}

type Schema = Readonly<Record<string, unknown>>;

/** A value that fits a strict schema of objects, lists, choices, texts and numbers. */
function valueOf(schema: unknown, seed: string, depth = 0): unknown {
  const node = (schema ?? {}) as Schema;
  if (depth > DEPTH_MAX) return null;
  if (Array.isArray(node["enum"])) return pick(node["enum"], seed);
  if ("const" in node) return node["const"];
  if (Array.isArray(node["anyOf"])) return valueOf(node["anyOf"][0], seed, depth + 1);
  const type = Array.isArray(node["type"]) ? (node["type"] as unknown[])[0] : node["type"];
  switch (type) {
    case "object": {
      const fields = Object.entries((node["properties"] ?? {}) as Schema);
      return Object.fromEntries(fields.map(([name, field]) => [name, valueOf(field, seed, depth + 1)]));
    }
    case "array":
      return [valueOf(node["items"], seed, depth + 1)];
    case "integer":
    case "number":
      return Number(node["minimum"] ?? 0) + (Number.parseInt(seed.slice(0, 2), 16) % 2);
    case "boolean":
      return Number.parseInt(seed.slice(0, 1), 16) % 2 === 0;
    case "null":
      return null;
    default:
      return `plain ${seed.slice(0, 8)}`;
  }
}

function pick(values: readonly unknown[], seed: string): unknown {
  return values[Number.parseInt(seed.slice(0, 6), 16) % values.length];
}
