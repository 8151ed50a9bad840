/** Reads back what a batch asked, and which of its files still exist. Trusts nothing. Only reads. */
import {
  ProviderError,
  type BatchRef,
  type CallOptions,
  type InputLine,
  type Inputs,
} from "../../model/provider/provider.js";
import type { Connection } from "./http/connection.js";
import { fingerprintOfBody, roomOf } from "./encoder.js";
import { readLines } from "./files.js";
import { refsOf } from "./refs.js";
import { asRecord, textOf } from "./wire.js";
import { isOverfull, LINE_VALUES_MAX } from "../../model/json/json-values.js";
import type { Json } from "../../model/pipeline.js";

export function openaiInputs(connection: Connection): Inputs {
  return {
    read: (batch, options) => readInput(connection, batch, options),
    kept: (batch, options) => lookAtFiles(connection, batch, options),
  };
}

async function* readInput(connection: Connection, batch: BatchRef, options?: CallOptions): AsyncGenerator<InputLine> {
  const { input } = refsOf(batch);
  if (input === "") throw new ProviderError("notFound", `batch ${batch.id} does not name its input file`);
  for await (const lines of readLines(connection, input, options)) for (const line of lines) yield inputOf(line);
}

function inputOf(text: string): InputLine {
  const line = readInputLine(text);
  const { customId = null, url = null, model = null, body = null, room = null } = line ?? {};
  const bytes = Buffer.byteLength(text) + 1;
  return { customId, bytes, endpoint: url, model, fingerprint: fingerprintOfBody(asRecord(body)), room };
}

async function lookAtFiles(connection: Connection, batch: BatchRef, options?: CallOptions) {
  const { input, output, error } = refsOf(batch);
  const isThere = (fileId: string) => canBeRead(connection, fileId, options);
  const gone: string[] = [];
  let results = false;
  for (const fileId of [output, error]) {
    if (fileId === null) continue;
    if (await isThere(fileId)) results = true;
    else gone.push(`file ${fileId}`);
  }
  return { input: input !== "" && (await isThere(input)), results, gone };
}

async function canBeRead(connection: Connection, fileId: string, options?: CallOptions): Promise<boolean> {
  const lines = readLines(connection, fileId, options);
  try {
    await lines.next();
    return true;
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    return false;
  } finally {
    await lines.return(undefined);
  }
}

interface WireLine {
  readonly customId: string;
  /** The endpoint, such as `/v1/chat/completions`; null: not said. */
  readonly url: string | null;
  readonly model: string | null;
  /** What was asked; null: not said, as in a line of answers. */
  readonly body: Json | null;
  /** The most tokens that the answer may have; null: not said. */
  readonly room: number | null;
}

/** Null: not a line of a batch. Lines of answers name no endpoint and no model. */
export function readInputLine(line: string): WireLine | null {
  if (isOverfull(line, LINE_VALUES_MAX)) return null;
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    // Other code's file: a broken line names no request.
    return null;
  }
  const entry = asRecord(json);
  const customId = textOf(entry?.["custom_id"]);
  if (entry === null || customId === null) return null;
  const body = asRecord(entry["body"]);
  // It came out of JSON.parse.
  return {
    customId,
    url: textOf(entry["url"]),
    model: textOf(body?.["model"]),
    body: body as Json,
    room: roomOf(body),
  };
}
