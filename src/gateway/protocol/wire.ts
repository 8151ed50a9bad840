/** Owns OpenAI's file, batch, list and error objects, in its API reference's order of fields, and a route's answer. */
import { randomBytes } from "node:crypto";
import { z } from "zod";

const ID_BYTES = 16;

export function newId(prefix: "file-" | "batch_" | "req_" | "chatcmpl-"): string {
  return prefix + randomBytes(ID_BYTES).toString("hex");
}

export const fileSchema = z.object({
  id: z.string(),
  object: z.literal("file"),
  bytes: z.number().int(),
  /** Seconds since the epoch, as all `_at` fields here. */
  created_at: z.number().int(),
  filename: z.string(),
  purpose: z.string(),
  /** Deprecated by OpenAI, still sent. */
  status: z.literal("processed"),
  status_details: z.null(),
  expires_at: z.number().int().nullable(),
});
export type FileObject = Readonly<z.infer<typeof fileSchema>>;

const TERMINAL_STATUSES = ["failed", "completed", "expired", "cancelled"] as const;
const BATCH_STATUSES = ["validating", "in_progress", "finalizing", "cancelling", ...TERMINAL_STATUSES] as const;
export type BatchStatus = (typeof BATCH_STATUSES)[number];

export function isTerminal(status: BatchStatus): boolean {
  return (TERMINAL_STATUSES as readonly string[]).includes(status);
}

const inputErrorSchema = z.object({
  code: z.string(),
  /** 1-based, or null for the whole file. */
  line: z.number().int().nullable(),
  message: z.string(),
  param: z.string().nullable(),
});
export type BatchInputError = Readonly<z.infer<typeof inputErrorSchema>>;

const instant = z.number().int().nullable();
/** As it is stored, with null for what is absent. */
export const batchSchema = z.object({
  id: z.string(),
  object: z.literal("batch"),
  endpoint: z.string(),
  model: z.string().nullable(),
  errors: z.object({ object: z.literal("list"), data: z.array(inputErrorSchema) }).nullable(),
  input_file_id: z.string(),
  completion_window: z.literal("24h"),
  status: z.enum(BATCH_STATUSES),
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  created_at: z.number().int(),
  in_progress_at: instant,
  expires_at: z.number().int(),
  finalizing_at: instant,
  completed_at: instant,
  failed_at: instant,
  expired_at: instant,
  cancelling_at: instant,
  cancelled_at: instant,
  request_counts: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
  usage: z.object({
    input_tokens: z.number(),
    input_tokens_details: z.object({ cached_tokens: z.number() }),
    output_tokens: z.number(),
    output_tokens_details: z.object({ reasoning_tokens: z.number() }),
    total_tokens: z.number(),
  }),
  metadata: z.record(z.string(), z.string()).nullable(),
});
type StoredBatch = z.infer<typeof batchSchema>;
type FileIds = "output_file_id" | "error_file_id";
/** In replies: an absent file id may have no field or be "", see `GatewayOptions.absentFileIds`. */
export type BatchObject = Readonly<Omit<StoredBatch, FileIds> & Partial<Pick<StoredBatch, FileIds>>>;

export interface ListObject<T> {
  readonly object: "list";
  readonly data: readonly T[];
  readonly first_id: string | null;
  readonly last_id: string | null;
  readonly has_more: boolean;
}

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** What a route returns and the HTTP layer sends. Refusals are answers too, never exceptions. */
export type Answer =
  | {
      readonly kind: "json";
      readonly status: number;
      readonly body: object;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: "file";
      readonly status: 200;
      readonly path: string;
      readonly bytes: number;
      readonly filename: string;
    };

export function ok(body: object): Answer {
  return { kind: "json", status: 200, body };
}

export interface RefusalDetails {
  readonly type?: string;
  readonly param?: string | null;
  readonly code?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
}

export function errorBody(message: string, details: RefusalDetails = {}): ErrorBody {
  const { type = "invalid_request_error", param = null, code = null } = details;
  return { error: { message, type, param, code } };
}

/** An error of ours, not of the caller. */
export const SERVER_ERROR = errorBody("The server had an error while processing your request. Sorry about that!", {
  type: "server_error",
});

export function refusal(status: number, message: string, details: RefusalDetails = {}): Answer {
  return {
    kind: "json",
    status,
    body: errorBody(message, details),
    ...(details.headers ? { headers: details.headers } : {}),
  };
}
