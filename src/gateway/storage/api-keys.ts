/**
 * Owns the keys that a gateway accepts: from code, a file or a variable, or its own key in `api-key` of the state
 * folder, which appears whole or not at all. The owner of files and batches is the name before a key, or a hash of the
 * key. No key is in a message, in the journal, or with what it owns.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RowmillError } from "../../model/errors.js";
import { hasCode } from "../../model/file-errors.js";

const KEYS_MAX = 1_000;
const KEY_CHARS_MAX = 512;
const KEY_FILE_BYTES_MAX = KEYS_MAX * KEY_CHARS_MAX;
/** Shorter keys are accepted with a warning. */
const KEY_CHARS_SAFE = 16;
const OWN_KEY_BYTES = 32;
const OWNER_HASH_CHARS = 32;
/** A bearer token (RFC 6750), which has no colon. */
const KEY_PATTERN = /^[\w.~+/-]+=*$/;
const NAME_PATTERN = /^[\w.-]{1,64}$/;

export interface ApiKey {
  readonly key: string;
  /** Keys of one name share files and batches. Absent: the key has its own. */
  readonly name?: string;
}

/** The owner of a file or batch, or the caller. Null if the gateway has no keys: such a caller sees everything. */
export type Owner = string | null;

export interface KnownKey {
  readonly digest: Buffer;
  readonly owner: string;
}

export function maySee(caller: Owner, owner: Owner): boolean {
  return caller === null || caller === owner;
}

export function knownKey(given: string | ApiKey): KnownKey {
  const { key, name = undefined } = typeof given === "string" ? { key: given } : given;
  const digest = digestOf(key);
  const owner = name === undefined ? `key:${digest.toString("hex", 0, OWNER_HASH_CHARS / 2)}` : `name:${name}`;
  return { digest, owner };
}

/** Null for an unknown key. Takes the same time for known and unknown ones. */
export function ownerOf(key: string, known: readonly KnownKey[]): string | null {
  const digest = digestOf(key);
  return known.filter((candidate) => timingSafeEqual(candidate.digest, digest))[0]?.owner ?? null;
}

function digestOf(key: string): Buffer {
  return createHash("sha256").update(key, "utf8").digest();
}

/**
 * Keys on lines of their own or separated by commas, each `KEY` or `NAME:KEY`, without lines that begin with `#`.
 * @throws RowmillError `usage` for no key, or an unusable one
 */
function parseKeys(text: string, where: string): ApiKey[] {
  const lines = text.split("\n").filter((line) => !line.trim().startsWith("#"));
  const entries = lines.flatMap((line) => line.split(",")).map((entry) => entry.trim());
  const keys = entries.filter((entry) => entry !== "").map((entry, index) => parseKey(entry, index, where));
  if (keys.length === 0) {
    throw new RowmillError("usage", `There is no key in ${where}.`, {
      hints: [
        "Write one key per line. Make one: openssl rand -hex 32",
        "Without --api-key-file and ROWMILL_GATEWAY_KEYS, the gateway makes its own key.",
      ],
    });
  }
  if (keys.length > KEYS_MAX)
    throw new RowmillError("usage", `${where} has more than ${KEYS_MAX} keys, the most that a gateway accepts.`);
  if (new Set(keys.map(({ key }) => key)).size < keys.length)
    throw new RowmillError("usage", `${where} has the same key twice.`);
  return keys;
}

function parseKey(entry: string, index: number, where: string): ApiKey {
  const colon = entry.indexOf(":");
  const name = colon === -1 ? undefined : entry.slice(0, colon).trim();
  const key = entry.slice(colon + 1).trim();
  if (!KEY_PATTERN.test(key) || key.length > KEY_CHARS_MAX) {
    throw new RowmillError("usage", `Key ${index + 1} in ${where} cannot be used.`, {
      hints: [`A key has at most ${KEY_CHARS_MAX} letters, digits and the characters - . _ ~ + / with = at its end.`],
    });
  }
  if (name !== undefined && !NAME_PATTERN.test(name)) {
    throw new RowmillError("usage", `The name of key ${index + 1} in ${where} cannot be used.`, {
      hints: ["A name has at most 64 letters, digits and the characters . _ - before a colon: NAME:KEY"],
    });
  }
  return name === undefined ? { key } : { key, name };
}

export interface GivenKeys {
  readonly keys: readonly ApiKey[];
  /** For whoever started the gateway. */
  readonly warnings: readonly string[];
}

export function keysFromVariable(text: string, name: string): GivenKeys {
  const keys = parseKeys(text, name);
  return { keys, warnings: shortKeyWarnings(keys, name) };
}

/** @throws RowmillError `usage` for an unreadable file, no key, or an unusable one */
export function keysFromFile(path: string): GivenKeys {
  const keys = parseKeys(readKeyFile(path), path);
  return { keys, warnings: [...readableWarnings(path), ...shortKeyWarnings(keys, path)] };
}

/** The own key of the gateway on this state folder, created at the first start. */
export function ownKeyOf(dataDir: string): GivenKeys & { readonly path: string } {
  const path = join(dataDir, "api-key");
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  if (statSync(path, { throwIfNoEntry: false }) === undefined) makeOwnKey(path);
  return { ...keysFromFile(path), path };
}

/** If two gateways start at once, the first one's key stays. */
function makeOwnKey(path: string): void {
  const aside = `${path}.${process.pid}.tmp`;
  writeFileSync(aside, `rowmill-${randomBytes(OWN_KEY_BYTES).toString("hex")}\n`, { mode: 0o600 });
  try {
    linkSync(aside, path);
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function readKeyFile(path: string): string {
  try {
    const { size } = statSync(path);
    if (size <= KEY_FILE_BYTES_MAX) return readFileSync(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RowmillError("usage", `The key file ${path} cannot be read: ${reason}`, { cause });
  }
  throw new RowmillError("usage", `The key file ${path} has more than ${KEY_FILE_BYTES_MAX} bytes.`);
}

function readableWarnings(path: string): string[] {
  const isReadable = process.platform !== "win32" && (statSync(path).mode & 0o077) !== 0;
  return isReadable
    ? [`Other users of this machine can read the keys in ${path}. Make it private: chmod 600 ${path}`]
    : [];
}

function shortKeyWarnings(keys: readonly ApiKey[], where: string): string[] {
  const short = keys.filter(({ key }) => key.length < KEY_CHARS_SAFE).length;
  if (short === 0) return [];
  return [`Keys with fewer than ${KEY_CHARS_SAFE} characters can be guessed. ${where} has ${short} of them.`];
}
