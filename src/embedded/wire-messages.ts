/**
 * Owns the bytes of PostgreSQL's protocol, version 3: cuts a stream into messages, and makes the embedded server's own.
 * Pure. Source: PostgreSQL's documentation, "Message Formats".
 */

const HEADER_BYTES = 5;

export interface WireMessage {
  /** The first byte as a character; empty for the first packet of a connection, which has none. */
  readonly type: string;
  /** The whole message with its header. */
  readonly bytes: Buffer;
}

export type TransactionStatus = "I" | "T" | "E";

/** Cuts a stream into messages. Joins chunks once per message, not once per chunk. */
export class MessageCutter {
  readonly #bytesMax: number;
  #chunks: Buffer[] = [];
  #length = 0;
  #needed = HEADER_BYTES;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The next complete message, or null. `startup`: it has no type byte. @throws RangeError for an impossible length */
  next(startup: boolean): WireMessage | null {
    const typeBytes = startup ? 0 : 1;
    if (this.#length < Math.max(this.#needed, typeBytes + 4)) return null;
    const buffer = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = [buffer];
    const declared = buffer.readInt32BE(typeBytes);
    if (declared < 4 || declared > this.#bytesMax) throw new RangeError(`a message of ${declared} bytes`);
    const total = typeBytes + declared;
    if (buffer.length < total) {
      this.#needed = total;
      return null;
    }
    this.#needed = HEADER_BYTES;
    this.#chunks = buffer.length === total ? [] : [buffer.subarray(total)];
    this.#length = buffer.length - total;
    const type = startup ? "" : String.fromCharCode(buffer[0]!);
    return { type, bytes: buffer.subarray(0, total) };
  }
}

/** The place of each message in an answer. A cut last message ends with the bytes. */
export function* messagesIn(bytes: Buffer): Generator<{ type: string; start: number; end: number }> {
  for (let start = 0; start + HEADER_BYTES <= bytes.length;) {
    const end = Math.min(start + 1 + bytes.readInt32BE(start + 1), bytes.length);
    yield { type: String.fromCharCode(bytes[start]!), start, end };
    start = end;
  }
}

/** The text that starts at `at` and ends before the next zero byte. */
export function textAt(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString("utf8", at, end === -1 ? bytes.length : end);
}

export function message(type: string, ...parts: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(`${part}\0`) : part)));
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(type, 0, "latin1");
  header.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

export const SYNC_MESSAGE = message("S");
export const AUTHENTICATION_OK = message("R", Buffer.alloc(4));

export function queryMessage(sql: string): Buffer {
  return message("Q", sql);
}

export function readyForQuery(status: TransactionStatus): Buffer {
  return message("Z", Buffer.from(status));
}

export function backendKeyData(pid: number, secret: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeInt32BE(pid, 0);
  body.writeInt32BE(secret, 4);
  return message("K", body);
}

export interface WireError {
  readonly severity: "ERROR" | "FATAL";
  /** SQLSTATE. */
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

export function errorResponse(error: WireError): Buffer {
  const fields = [`S${error.severity}`, `V${error.severity}`, `C${error.code}`, `M${error.message}`];
  if (error.hint !== undefined) fields.push(`H${error.hint}`);
  return message("E", ...fields, Buffer.alloc(1));
}

/** The fields of an ErrorResponse by their letter: `M` message, `C` SQLSTATE, `S` severity. */
export function errorFields(bytes: Buffer): Map<string, string> {
  const fields = new Map<string, string>();
  for (let at = HEADER_BYTES; at < bytes.length && bytes[at] !== 0;) {
    const text = textAt(bytes, at + 1);
    fields.set(String.fromCharCode(bytes[at]!), text);
    at += 2 + Buffer.byteLength(text);
  }
  return fields;
}

/** The cells of a DataRow as text; null for SQL's null. */
export function dataRowCells(bytes: Buffer): (string | null)[] {
  const cells: (string | null)[] = [];
  let at = HEADER_BYTES + 2;
  for (let left = bytes.readInt16BE(HEADER_BYTES); left > 0; left -= 1) {
    const length = bytes.readInt32BE(at);
    at += 4;
    cells.push(length < 0 ? null : bytes.toString("utf8", at, at + length));
    at += Math.max(length, 0);
  }
  return cells;
}

/** What a StartupMessage asks for: `user`, `database`, settings. */
export function startupParameters(bytes: Buffer): Map<string, string> {
  const parameters = new Map<string, string>();
  for (let at = 8; at < bytes.length && bytes[at] !== 0;) {
    const name = textAt(bytes, at);
    at += Buffer.byteLength(name) + 1;
    const value = textAt(bytes, at);
    at += Buffer.byteLength(value) + 1;
    parameters.set(name, value);
  }
  return parameters;
}
