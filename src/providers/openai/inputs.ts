/** What a batch asked, read back from its input file, and which of its files are still there. Only reads. */
import {
  ProviderError,
  type BatchRef,
  type CallOptions,
  type InputLine,
  type Inputs,
} from "../../model/provider/provider.js";
import type { Connection } from "./connection.js";
import { fingerprintOfBody } from "./encoder.js";
import { readLines } from "./files.js";
import { readInputLine } from "./input-line.js";
import { refsOf } from "./refs.js";
import { asRecord } from "./wire.js";

export function openaiInputs(connection: Connection): Inputs {
  return {
    read: (batch, options) => readInput(connection, batch, options),
    kept: (batch, options) => lookAtFiles(connection, batch, options),
  };
}

async function* readInput(
  connection: Connection,
  batch: BatchRef,
  options?: CallOptions,
): AsyncGenerator<InputLine> {
  const { input } = refsOf(batch);
  if (input === "") throw new ProviderError("notFound", `batch ${batch.id} does not name its input file`);
  for await (const lines of readLines(connection, input, options))
    for (const line of lines) yield inputOf(line);
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
