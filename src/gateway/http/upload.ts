/**
 * Receives an upload: the multipart file goes to disk unchanged, and is checked on the way. A client that hangs up
 * leaves at most a `.tmp` file, which is removed at once or at the next start.
 */
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { Readable, Transform, type TransformCallback } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Busboy } from "@fastify/busboy";
import { BodyRefused, type BodyRefusal } from "../../http/body-refusal.js";
import { bodyChunks } from "../../http/read-body.js";
import type { Owner } from "../storage/api-keys.js";
import { readExpiry } from "../protocol/expiry-field.js";
import type { FileStore } from "../storage/file-store.js";
import { LINE_BYTES_MAX } from "../protocol/input-lines.js";
import { parseJson } from "../protocol/json.js";
import type { Journal } from "../storage/journal.js";
import type { GatewaySettings } from "../settings.js";
import { newId, ok, refusal, type Answer } from "../protocol/wire.js";
import { bodyRefusal, type GatewayContext } from "./http-server.js";
import { noRoom } from "./quota.js";

const PURPOSES = ["fine-tune", "assistants", "batch", "user_data", "vision", "evals"];

/** What a form may have next to its file: fields, boundaries, headers. */
const FORM_BYTES_MAX = 1024 * 1024;
const FORM_LIMITS = { files: 1, fields: 16, fieldSize: 4_096, headerPairs: 64, headerSize: 16 * 1024 };

export interface FileParts {
  readonly settings: GatewaySettings;
  readonly files: FileStore;
  readonly journal: Journal;
}

interface Received {
  readonly filename: string;
  readonly bytes: number;
  readonly tooLarge: boolean;
  readonly isUtf8: boolean;
  readonly firstLine: string;
}

/** Returns the file object, or refuses and keeps nothing. */
export async function receiveUpload(context: GatewayContext, parts: FileParts, owner: Owner): Promise<Answer> {
  const contentType = context.req.header("content-type") ?? "";
  if (!/^multipart\/form-data\b/i.test(contentType))
    return refusal(400, "Expected a multipart/form-data body with a file.");
  if (!parts.files.hasRoom(parts.settings.limits.storedBytesMax)) return noRoom(parts.settings);
  const path = parts.files.temporaryPath();
  try {
    const { limits } = parts.settings;
    const body = bodyChunks(context.req.raw, { bytesMax: limits.bytesMax + FORM_BYTES_MAX });
    const { fields, received } = await readForm(body, { contentType, path, fileBytesMax: limits.bytesMax });
    return storeUpload(parts, { path, owner, fields, received });
  } catch (error) {
    if (error instanceof BodyRefused) return refuseBody(error.refusal);
    if (!isClientsFault(error, context.req.raw)) throw error;
    return refusal(400, CUT);
  } finally {
    await rm(path, { force: true });
  }
}

const CUT = "The multipart body could not be read to its end.";
const TOO_LARGE = "File is too large.";

function refuseBody(refused: BodyRefusal): Answer {
  if (refused.code === "body_too_large") return refusal(400, TOO_LARGE);
  return refused.code === "body_cut" ? refusal(400, CUT) : bodyRefusal(refused);
}

/** The form is malformed: the parser's errors have no code, those of the disk do. Or the client is gone. */
function isClientsFault(error: unknown, request: Request): boolean {
  return (error instanceof Error && !("code" in error)) || request.signal.aborted;
}

interface FormRules {
  readonly contentType: string;
  /** Where the file goes. */
  readonly path: string;
  readonly fileBytesMax: number;
}

interface Form {
  readonly fields: ReadonlyMap<string, string>;
  readonly received: Received | null;
}

/** Never by `formData()`, which holds the whole body in memory. */
async function readForm(body: AsyncIterable<Buffer>, { contentType, path, fileBytesMax }: FormRules): Promise<Form> {
  const limits = { ...FORM_LIMITS, fileSize: fileBytesMax };
  const form = new Busboy({ headers: { "content-type": contentType }, limits });
  const source = Readable.from(body, { objectMode: false });
  const fields = new Map<string, string>();
  const receiving: { readonly file: Readable; readonly done: Promise<Received> }[] = [];
  form.on("field", (name, value) => fields.set(name, value));
  form.on("file", (name, file, filename) => {
    if (name !== "file") return void file.resume();
    const done = receive(file, filename, path);
    done.catch((error: unknown) => source.destroy(error instanceof Error ? error : new Error(String(error))));
    receiving.push({ file, done });
  });
  try {
    await pipeline(source, form);
  } catch (error) {
    for (const { file } of receiving) file.destroy();
    await Promise.allSettled(receiving.map(({ done }) => done));
    throw error;
  }
  const [received = null] = await Promise.all(receiving.map(({ done }) => done));
  return { fields, received };
}

async function receive(file: Readable & { truncated?: boolean }, filename: string, path: string): Promise<Received> {
  const look = new Look();
  await pipeline(file, look, createWriteStream(path, { mode: 0o600 }));
  const { bytes, isUtf8, firstLine } = look;
  return { filename: filename || "upload", bytes, tooLarge: file.truncated === true, isUtf8, firstLine };
}

interface ArrivedUpload {
  readonly path: string;
  readonly owner: Owner;
  readonly fields: ReadonlyMap<string, string>;
  readonly received: Received | null;
}

function storeUpload(
  { settings, files, journal }: FileParts,
  { path, owner, fields, received }: ArrivedUpload,
): Answer {
  const purpose = fields.get("purpose");
  if (purpose === undefined) return missing("purpose");
  if (!PURPOSES.includes(purpose)) {
    const allowed = PURPOSES.map((name) => `'${name}'`).join(", ");
    return refusal(400, `'${purpose}' is not one of [${allowed}] - 'purpose'`);
  }
  if (received === null) return missing("file");
  const expiry = readExpiry(fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]"), "expires_after");
  if ("refused" in expiry) return expiry.refused;
  if (received.tooLarge) return refusal(400, TOO_LARGE);
  const wrong = purpose === "batch" ? batchFileProblem(received) : null;
  if (wrong !== null) return refusal(400, wrong);
  const ttlDefault = purpose === "batch" ? settings.fileTtlSeconds : null;
  const ttlSeconds = expiry.ttlSeconds ?? ttlDefault;
  const { filename } = received;
  const file = files.add({ id: newId("file-"), owner, from: path, filename, purpose, ttlSeconds });
  journal.append({ kind: "file", at: settings.clock.nowMs(), fileId: file.id, filename, bytes: file.bytes });
  return ok(file);
}

/** What OpenAI checks before it accepts a batch file; a bad line after the first passes (recorded). */
function batchFileProblem({ filename, bytes, isUtf8, firstLine }: Received): string | null {
  const wrongFormat = "Invalid file format for Batch API. Must be .jsonl";
  if (!filename.toLowerCase().endsWith(".jsonl") || bytes === 0) return wrongFormat;
  if (!isUtf8) return "Invalid file for Batch API. Must be utf-8 encoded";
  return firstLine.length < LINE_BYTES_MAX && parseJson(firstLine) === undefined ? wrongFormat : null;
}

function missing(name: string): Answer {
  return refusal(400, `Missing required parameter: '${name}'.`, { param: name, code: "missing_required_parameter" });
}

/** Passes bytes on unchanged; keeps their number, whether they are UTF-8, and the first line. */
class Look extends Transform {
  bytes = 0;
  isUtf8 = true;
  firstLine = "";
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #inFirstLine = true;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.bytes += chunk.length;
    this.#decode(chunk, true);
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    this.#decode(undefined, false);
    done();
  }

  #decode(chunk: Buffer | undefined, more: boolean): void {
    if (!this.isUtf8) return;
    try {
      this.#keepFirstLine(this.#decoder.decode(chunk, { stream: more }));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      this.isUtf8 = false;
    }
  }

  #keepFirstLine(text: string): void {
    if (!this.#inFirstLine) return;
    const end = text.indexOf("\n");
    this.firstLine += end === -1 ? text : text.slice(0, end);
    this.#inFirstLine = end === -1 && this.firstLine.length < LINE_BYTES_MAX;
  }
}
