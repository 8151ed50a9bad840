/**
 * The name of one line in a batch file: `<request>-<attempt>-<12 hex of the content hash>`. With it any output file can
 * be attributed safely, even by a ledger that was restored from a backup. At most 19 + 1 + 10 + 1 + 12 = 43 characters
 * of safe ASCII (no provider is known to take fewer than 64).
 */

export interface CustomId {
  /** A bigint in text: ids are never computed with. */
  readonly requestId: string;
  readonly attempt: number;
  /** The first 12 hex digits of the content hash. */
  readonly hashPrefix: string;
}

const HASH_PREFIX_LENGTH = 12;
/** PostgreSQL's bigint and integer: a larger number is no request of ours, and would make the statement fail. */
const REQUEST_ID_MAX = String(2n ** 63n - 1n);
const ATTEMPT_MAX = 2 ** 31 - 1;
const PATTERN = /^([1-9]\d{0,18})-([1-9]\d{0,9})-([0-9a-f]{12})$/;

export function formatCustomId(requestId: string, attempt: number, contentHash: string): string {
  return `${requestId}-${attempt}-${contentHash.slice(0, HASH_PREFIX_LENGTH)}`;
}

/** Null: none of our names. */
export function parseCustomId(text: string): CustomId | null {
  const match = PATTERN.exec(text);
  if (!match) return null;
  const [, requestId = "", attempt = "", hashPrefix = ""] = match;
  // Texts of equal length compare like their numbers.
  const isTooLarge = requestId.length === REQUEST_ID_MAX.length && requestId > REQUEST_ID_MAX;
  if (isTooLarge || Number(attempt) > ATTEMPT_MAX) return null;
  return { requestId, attempt: Number(attempt), hashPrefix };
}

export interface NamedRequest {
  readonly requestId: string;
  readonly attempt: number;
  /** Null: not known, as before rendering. */
  readonly contentHash: string | null;
  /** The name that other code gave it, in an adopted batch; null: ours. */
  readonly customId: string | null;
}

/** What a line's name says about this request. Null: the line is not about it. */
export function readCustomId(text: string, request: NamedRequest): CustomId | null {
  if (request.customId === null) return parseCustomId(text);
  if (request.customId !== text || request.contentHash === null) return null;
  const { requestId, attempt, contentHash } = request;
  return { requestId, attempt, hashPrefix: contentHash.slice(0, HASH_PREFIX_LENGTH) };
}

/** The request whose line this one shares; null: it has its own. */
export function sharedFrom(request: {
  readonly isSharing?: boolean;
  readonly customId?: string | null;
}): string | null {
  return request.isSharing === true ? (parseCustomId(request.customId ?? "")?.requestId ?? null) : null;
}

export function matchesContent(id: CustomId, contentHash: string): boolean {
  return contentHash.startsWith(id.hashPrefix);
}
