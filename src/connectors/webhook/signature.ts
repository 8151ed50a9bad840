/**
 * Signs a delivery by Standard Webhooks 1.0 (https://www.standardwebhooks.com): HMAC-SHA256 over id, time, body. Pure.
 */
import { createHmac } from "node:crypto";

const SECRET = /^whsec_(?<key>(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/;
const KEY_BYTES_MIN = 24;
const KEY_BYTES_MAX = 64;

/** The key in a secret such as `whsec_MfKQ9r8G…`. Null: it is none. */
export function signingKey(secret: string): Buffer | null {
  const key = Buffer.from(SECRET.exec(secret)?.groups?.["key"] ?? "", "base64");
  return key.length < KEY_BYTES_MIN || key.length > KEY_BYTES_MAX ? null : key;
}

export interface Message {
  /** Without a full stop, which separates the signed parts. */
  readonly id: string;
  /** Of this attempt. */
  readonly seconds: number;
  readonly body: string;
}

/** One signature for each key, in their order: while a secret is replaced, a receiver accepts either. */
export function signatures({ id, seconds, body }: Message, keys: readonly Buffer[]): string {
  return keys
    .map((key) => `v1,${createHmac("sha256", key).update(`${id}.${seconds}.${body}`).digest("base64")}`)
    .join(" ");
}
