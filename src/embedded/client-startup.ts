/** Owns the first packets of a connection and their answers. Pure. No password: only the owner can reach the socket. */
import { randomInt } from "node:crypto";
import { EMBEDDED_DATABASE, EMBEDDED_USER } from "./embedded-paths.js";
import type { Settings } from "./client-session.js";
import {
  AUTHENTICATION_OK,
  backendKeyData,
  message,
  readyForQuery,
  startupParameters,
  type WireError,
} from "./wire-messages.js";

const CANCEL_REQUEST = 80877102;
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const PROTOCOL_MAJOR = 3;

/** Known, but without effect. */
const IGNORED = new Set(["user", "database", "options", "replication", "application_name"]);

export type FirstPacket =
  /** Answered with N, not offered. Another first packet follows. */
  | { readonly kind: "encryption" }
  /** A running statement cannot be interrupted. The protocol has no answer. */
  | { readonly kind: "cancel" }
  | { readonly kind: "start"; readonly settings: Settings; readonly olderProtocol: boolean }
  | { readonly kind: "refused"; readonly error: WireError };

export function readFirstPacket(bytes: Buffer): FirstPacket {
  if (bytes.length < 8) return refused("08P01", "the first packet is too short");
  const code = bytes.readInt32BE(4);
  if (code === SSL_REQUEST || code === GSS_REQUEST) return { kind: "encryption" };
  if (code === CANCEL_REQUEST) return { kind: "cancel" };
  if (code >> 16 !== PROTOCOL_MAJOR) return refused("0A000", "only version 3 of PostgreSQL's protocol is supported");
  const parameters = startupParameters(bytes);
  const user = parameters.get("user") ?? "";
  const database = parameters.get("database") ?? user;
  if (database !== EMBEDDED_DATABASE) {
    return refused("3D000", `database "${database}" does not exist`, `It is named "${EMBEDDED_DATABASE}".`);
  }
  const settings = startupSettings(parameters);
  if (settings === null) return refused("22023", "options must have the form -c name=value");
  if (user !== EMBEDDED_USER) settings.set("session_authorization", user);
  return { kind: "start", settings, olderProtocol: (code & 0xffff) !== 0 };
}

/** The answer to a good start. `reported`: the values of a fresh session. */
export function greeting(reported: Settings, settings: Settings, olderProtocol: boolean): Buffer {
  const own = new Map([...settings].map(([name, value]) => [name.toLowerCase(), value]));
  const statuses = [...reported].map(([name, value]) => message("S", name, own.get(name.toLowerCase()) ?? value));
  // NegotiateProtocolVersion: minor version 0, no options.
  const negotiation = olderProtocol ? [message("v", Buffer.alloc(8))] : [];
  const key = backendKeyData(process.pid, randomInt(2 ** 31 - 1));
  return Buffer.concat([...negotiation, AUTHENTICATION_OK, ...statuses, key, readyForQuery("I")]);
}

function startupSettings(parameters: ReadonlyMap<string, string>): Map<string, string> | null {
  const settings = optionSettings(parameters.get("options") ?? "");
  if (settings === null) return null;
  for (const [name, value] of parameters) {
    const isUtf8 = name === "client_encoding" && /^'?utf-?8'?$/i.test(value);
    if (!isUtf8 && !IGNORED.has(name) && !name.startsWith("_pq_.")) settings.set(name, value);
  }
  return settings;
}

/** `-c name=value` and `--name=value`, separated by blanks; a backslash keeps the next character. */
function optionSettings(options: string): Map<string, string> | null {
  const words = (options.match(/(?:\\.|[^\\\s])+/gs) ?? []).map((word) => word.replace(/\\(.)/gs, "$1"));
  const settings = new Map<string, string>();
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? "";
    const assignment = word === "-c" ? words[(at += 1)] : /^(?:-c|--)(.+)$/s.exec(word)?.[1];
    const equals = assignment?.indexOf("=") ?? -1;
    if (assignment === undefined || equals < 1) return null;
    settings.set(assignment.slice(0, equals), assignment.slice(equals + 1));
  }
  return settings;
}

function refused(code: string, text: string, hint?: string): FirstPacket {
  const error: WireError = { severity: "FATAL", code, message: text, ...(hint === undefined ? {} : { hint }) };
  return { kind: "refused", error };
}
