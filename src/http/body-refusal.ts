/** Owns why a body is refused. Readers return it; streams, which cannot, throw it. Pure. */

export type BodyRefusalCode =
  | "body_too_large"
  | "body_cut"
  | "body_not_gzip"
  | "body_not_utf8"
  | "encoding_unsupported"
  | "json_malformed"
  | "json_too_deep"
  | "json_too_many_values"
  | "line_too_long";

export interface BodyRefusal {
  readonly status: 400 | 413 | 415;
  readonly code: BodyRefusalCode;
  /** What happened and why, with the limit. */
  readonly message: string;
  /** The limit that was passed, in its own unit; null where none was. */
  readonly limit: number | null;
}

export class BodyRefused extends Error {
  override readonly name = "BodyRefused";
  readonly refusal: BodyRefusal;

  constructor(refusal: BodyRefusal, cause?: unknown) {
    super(refusal.message, cause === undefined ? undefined : { cause });
    this.refusal = refusal;
  }
}

const number = (value: number): string => value.toLocaleString("en-US");

export function tooLarge(limit: number, what = "The body"): BodyRefusal {
  const message = `${what} is larger than the limit of ${number(limit)} bytes.`;
  return { status: 413, code: "body_too_large", message, limit };
}

export function tooDeep(limit: number): BodyRefusal {
  const message = `The JSON is nested deeper than the limit of ${number(limit)} levels.`;
  return { status: 400, code: "json_too_deep", message, limit };
}

export function tooManyValues(limit: number): BodyRefusal {
  const message = `The JSON has more values than the limit of ${number(limit)}.`;
  return { status: 413, code: "json_too_many_values", message, limit };
}

export function lineTooLong(limit: number): BodyRefusal {
  return { status: 413, code: "line_too_long", message: `A line is longer than ${number(limit)} bytes.`, limit };
}

const TEXTS = {
  body_cut: "The body ended before its end.",
  body_not_gzip: "The body is not valid gzip.",
  body_not_utf8: "The body is not valid UTF-8.",
  json_malformed: "The body is not valid JSON.",
} as const;

export function malformed(code: keyof typeof TEXTS): BodyRefusal {
  return { status: 400, code, message: TEXTS[code], limit: null };
}

export function unsupportedEncoding(): BodyRefusal {
  const message = "The body has a content encoding other than gzip. Send it with gzip, or as it is.";
  return { status: 415, code: "encoding_unsupported", message, limit: null };
}
