/** Owns the shape of a request to a model and of one line of its answer file. Pure. */
import type { Json } from "../pipeline.js";

export interface Question {
  readonly system: string | null;
  readonly user: string;
}

export interface ModelRequest extends Question {
  readonly model: string;
  readonly maxOutputTokens: number;
  /** Wire names and values, merged into the body. */
  readonly parameters: Readonly<Record<string, Json>>;
  /** The answer's strict JSON schema, or null for plain text. `isFree`: the schema does not bind the model. */
  readonly schema: { readonly name: string; readonly schema: Json; readonly isFree?: true } | null;
}

/** What a model said, by the places where models put their answers. */
export interface Said {
  /** Its text; blank if the answer is elsewhere. */
  readonly text: string;
  /** The arguments of its tool calls, as JSON. */
  readonly calls?: readonly string[];
  /** Its reasoning, if the provider keeps it apart. */
  readonly reasoning?: string;
}

export interface TokenUsage {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
}

/** `system_fingerprint` of all answers of the demo model, as `src/gateway` writes it. */
export const DEMO_FINGERPRINT = "rowmill-demo-no-language-model";
/** `owned_by` of its models begins with this. */
export const DEMO_OWNER = "rowmill-demo";

/** One line of an output or error file, as the adapter reads it. A `text` may still be `invalid` by its schema. */
export type AnswerOutcome = (
  | (Said & {
      readonly kind: "text";
      readonly customId: string;
      readonly model: string | null;
      readonly usage: TokenUsage;
    })
  | {
      readonly kind: "truncated" | "refused" | "invalid";
      readonly customId: string;
      readonly message: string;
      /** A paid answer that cannot be used; kept until retention ends. */
      readonly text: string | null;
      readonly model: string | null;
      readonly usage: TokenUsage;
    }
  | {
      /** No model ran, or it is unknown. */
      readonly kind: "rateLimited" | "expired" | "cancelled" | "transient" | "permanent";
      readonly customId: string;
      readonly message: string;
      readonly code: string | null;
    }
  /** A line that names no request of ours: broken JSON, no custom id. */
  | { readonly kind: "unknownId"; readonly customId: string | null; readonly message: string }
) & {
  readonly demo?: true;
};
