/** Tokens for the HTTP service. The ledger has only their hashes: a token is shown once, when it is made. */
import { createHash, randomBytes } from "node:crypto";
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

/** `operate` may push and read too; `admin` everything. */
export const SCOPES = ["push", "read", "operate", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

const TOKEN_PREFIX = "rwm_";
const TOKEN_BYTES = 32;
/** Enough to tell tokens apart, too little to guess one. */
const SHOWN_CHARACTERS = 10;
/** How exact the last use is. */
const USE_SECONDS = 60;

export interface Token {
  readonly id: number;
  readonly scope: Scope;
  /** Null: all pipelines. */
  readonly pipeline: string | null;
}

export interface ListedToken extends Token {
  /** Its first characters. */
  readonly prefix: string;
  readonly note: string | null;
  readonly createdAt: Date;
  /** To the minute; null: never. */
  readonly lastUsedAt: Date | null;
  readonly revokedAt: Date | null;
}

export interface NewToken {
  readonly scope: Scope;
  readonly pipeline: string | null;
  readonly note: string | null;
}

/** `text` is the token itself, which nothing keeps. */
export async function create(
  client: Queryable,
  wanted: NewToken,
): Promise<{ readonly id: number; readonly text: string }> {
  // Without the signs of base64url, so that a double click selects all of it.
  const text = TOKEN_PREFIX + randomBytes(TOKEN_BYTES).toString("hex");
  const { scope, pipeline, note } = wanted;
  const id = await client.number(sql`
    insert into rowmill.tokens (sha256, prefix, scope, pipeline, note)
    values (${hashOfToken(text)}, ${text.slice(0, SHOWN_CHARACTERS)}, ${scope}, ${pipeline}, ${note})
    returning id`);
  return { id, text };
}

/** Null: unknown or revoked. Notes that it was used. */
export async function find(client: Queryable, text: string): Promise<Token | null> {
  const found = await client.first<Token & { isStale: boolean }>(sql`
    select id, scope, pipeline,
      coalesce(last_used_at < now() - make_interval(secs => ${USE_SECONDS}), true) as "isStale"
    from rowmill.tokens
    where sha256 = ${hashOfToken(text)} and revoked_at is null`);
  if (found === null) return null;
  const { isStale, ...token } = found;
  if (isStale) await client.run(sql`update rowmill.tokens set last_used_at = now() where id = ${token.id}`);
  return token;
}

/** False: it was revoked since it was found. */
export async function isValid(client: Reader, id: number): Promise<boolean> {
  const valid = await client.value<boolean>(sql`
    select true
    from rowmill.tokens
    where id = ${id} and revoked_at is null`);
  return valid === true;
}

/** The newest first. */
export async function list(client: Reader, max: number): Promise<ListedToken[]> {
  return client.rows<ListedToken>(sql`
    select id, scope, pipeline, prefix, note, created_at as "createdAt", last_used_at as "lastUsedAt",
      revoked_at as "revokedAt"
    from rowmill.tokens
    order by id desc
    limit ${max}`);
}

/** Null: there is no such token. False: it was revoked before. */
export async function revoke(client: Queryable, id: number): Promise<boolean | null> {
  const revoked = await client.run(sql`
    update rowmill.tokens set revoked_at = now() where id = ${id} and revoked_at is null`);
  if (revoked > 0) return true;
  return (await client.value<boolean>(sql`select true from rowmill.tokens where id = ${id}`)) === true ? false : null;
}

function hashOfToken(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
