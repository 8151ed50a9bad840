/** What is asked of a model for one row, and what one line of its answer file may say. Pure. */
import type { Json } from "../pipeline.js";

/** What is asked about one row. */
export interface Question {
  readonly system: string | null;
  readonly user: string;
}

export interface ModelRequest extends Question {
  readonly model: string;
  readonly maxOutputTokens: number;
  /** Wire names and values, merged into the body. */
  readonly parameters: Readonly<Record<string, Json>>;
  /** The strict JSON schema of the answer with its name, or null for plain text. `isFree`: any JSON object, not held to it. */
  readonly schema: { readonly name: string; readonly schema: Json; readonly isFree?: true } | null;
}

/** What a model said, in the places where models put their answers. */
export interface Said {
  /** Its words; blank where the answer stands elsewhere. */
  readonly text: string;
  /** The arguments of the tools that it called, as JSON. */
  readonly calls?: readonly string[];
  /** What it thought, where the provider keeps that apart. */
  readonly reasoning?: string;
}

export interface TokenUsage {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
}

/** `system_fingerprint` of all that the demo model says, as `src/gateway` writes it. */
export const DEMO_FINGERPRINT = "rowmill-demo-no-language-model";
/** `owned_by` of its models begins so. */
export const DEMO_OWNER = "rowmill-demo";

/**
 * One line of an output or error file, as the provider adapter reads it.
 * `text` is what the model said; whether it fits the schema is decided later (`invalid`).
 */
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
      /** What was paid for though it cannot be used; kept until retention ends. */
      readonly text: string | null;
      readonly model: string | null;
      readonly usage: TokenUsage;
    }
  | {
      /** No model ran, or it is not said. */
      readonly kind: "rateLimited" | "expired" | "cancelled" | "transient" | "permanent";
      readonly customId: string;
      readonly message: string;
      readonly code: string | null;
    }
  /** A line that names no request of ours: broken JSON, no custom id. */
  | { readonly kind: "unknownId"; readonly customId: string | null; readonly message: string }
) & {
  /** By the demo model. */
  readonly demo?: true;
};
