/** Owns OpenAI's file, batch, list and error objects, in its API reference's order of fields, and a route's answer. */

export interface FileObject {
  readonly id: string;
  readonly object: "file";
  readonly bytes: number;
  /** Seconds since the epoch, as all `_at` fields here. */
  readonly created_at: number;
  readonly filename: string;
  readonly purpose: string;
  /** Deprecated by OpenAI, still sent. */
  readonly status: "processed";
  readonly status_details: null;
  readonly expires_at: number | null;
}

const TERMINAL_STATUSES = ["failed", "completed", "expired", "cancelled"] as const;
export const BATCH_STATUSES = ["validating", "in_progress", "finalizing", "cancelling", ...TERMINAL_STATUSES] as const;
export type BatchStatus = (typeof BATCH_STATUSES)[number];

export function isTerminal(status: BatchStatus): boolean {
  return (TERMINAL_STATUSES as readonly string[]).includes(status);
}

/** Why an input file was refused. `line` is 1-based, or null for the whole file. */
export interface BatchInputError {
  readonly code: string;
  readonly line: number | null;
  readonly message: string;
  readonly param: string | null;
}

export interface BatchUsage {
  readonly input_tokens: number;
  readonly input_tokens_details: { readonly cached_tokens: number };
  readonly output_tokens: number;
  readonly output_tokens_details: { readonly reasoning_tokens: number };
  readonly total_tokens: number;
}

export interface RequestCounts {
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
}

export interface BatchObject {
  readonly id: string;
  readonly object: "batch";
  readonly endpoint: string;
  readonly model: string | null;
  readonly errors: { readonly object: "list"; readonly data: readonly BatchInputError[] } | null;
  readonly input_file_id: string;
  readonly completion_window: "24h";
  readonly status: BatchStatus;
  /** Absent or "" instead of null in some dialects, see `GatewayOptions.absentFileIds`. */
  readonly output_file_id?: string | null;
  readonly error_file_id?: string | null;
  readonly created_at: number;
  readonly in_progress_at: number | null;
  readonly expires_at: number;
  readonly finalizing_at: number | null;
  readonly completed_at: number | null;
  readonly failed_at: number | null;
  readonly expired_at: number | null;
  readonly cancelling_at: number | null;
  readonly cancelled_at: number | null;
  readonly request_counts: RequestCounts;
  readonly usage: BatchUsage;
  readonly metadata: Readonly<Record<string, string>> | null;
}

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

/** OpenAI's error envelope. */
export function errorBody(message: string, details: RefusalDetails = {}): ErrorBody {
  const { type = "invalid_request_error", param = null, code = null } = details;
  return { error: { message, type, param, code } };
}

/** A refusal in OpenAI's envelope. */
export function refusal(status: number, message: string, details: RefusalDetails = {}): Answer {
  return {
    kind: "json",
    status,
    body: errorBody(message, details),
    ...(details.headers ? { headers: details.headers } : {}),
  };
}
