/** Reads which requests a batch of ours asks that the ledger has lost, by our own custom ids. Only reads; keeps names, never a line. */
import { RowmillError } from "../model/errors.js";
import { parseCustomId, type CustomId } from "../model/custom-id.js";
import { readInputLine } from "../providers/openai/input-line.js";
import { ProviderError, type Provider, type ProviderBatch } from "../model/former-provider.js";
import { fingerprintOfQuestion } from "../worker/context.js";
import { answerBounds } from "../worker/file-limits.js";

/** Twice what the largest known provider takes in a batch. */
const LINES_MAX = 100_000;

export interface LostLine {
  readonly name: CustomId;
  readonly customId: string;
  /** Of what was asked; null: only the answer can be read, which does not say. */
  readonly fingerprint: string | null;
  /** The most tokens that the answer may have; null: only the answer can be read. */
  readonly room: number | null;
  /** 1-based, in the file that was read. */
  readonly line: number;
}

export interface LostLines {
  readonly named: readonly LostLine[];
  /** What the batch is priced by: the model that was asked, else one that gave an answer; null: no line names one. */
  readonly model: string | null;
  readonly lines: number;
  readonly bytes: number;
}

/** Which files of an ended batch can still be read. One that is not ended has none. */
export async function readableFiles(
  provider: Provider,
  batch: ProviderBatch,
  signal: AbortSignal,
): Promise<{ readonly readable: readonly string[]; readonly gone: readonly string[] }> {
  const readable: string[] = [];
  const gone: string[] = [];
  for (const fileId of [batch.outputFileId, batch.errorFileId]) {
    if (fileId === null || !batch.terminal) continue;
    ((await isThere(provider, fileId, signal)) ? readable : gone).push(fileId);
  }
  return { readable, gone };
}

export async function isThere(provider: Provider, fileId: string, signal: AbortSignal): Promise<boolean> {
  const lines = provider.readLines(fileId, { signal })[Symbol.asyncIterator]();
  try {
    await lines.next();
    return true;
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    return false;
  } finally {
    await lines.return?.();
  }
}

/** From the input file, or from `files` of answers where that one is gone. @throws RowmillError `refused` when neither can be read. */
export async function readLostLines(
  provider: Provider,
  wanted: { batch: ProviderBatch; files: readonly string[]; signal: AbortSignal },
): Promise<LostLines> {
  const named = new Map<string, LostLine>();
  let lines = 0;
  let bytes = 0;
  let asked: string | null = null;
  let answeredBy: string | null = null;
  for await (const text of linesOf(provider, wanted)) {
    lines++;
    bytes += Buffer.byteLength(text) + 1;
    if (lines > LINES_MAX)
      throw new RowmillError("refused", `${wanted.batch.id} has more than ${LINES_MAX} lines.`);
    const line = readInputLine(text);
    asked ??= line?.model ?? null;
    answeredBy ??= line?.answeredBy ?? null;
    const { customId = "", body = null, room = null } = line ?? {};
    const name = parseCustomId(customId);
    if (name === null || named.has(name.requestId)) continue;
    const fingerprint = body === null ? null : fingerprintOfQuestion(provider, body);
    named.set(name.requestId, { name, customId, fingerprint, room, line: lines });
  }
  return { named: [...named.values()], model: asked ?? answeredBy, lines, bytes };
}

async function* linesOf(
  provider: Provider,
  { batch, files, signal }: { batch: ProviderBatch; files: readonly string[]; signal: AbortSignal },
): AsyncGenerator<string> {
  try {
    yield* provider.readLines(batch.inputFileId, { signal });
    return;
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    if (!batch.terminal)
      throw new RowmillError(
        "refused",
        `${batch.id} is ${batch.statusText}, and its input file is gone, so nobody can tell yet which rows it asks about.`,
        { cause: error, hints: ["When it has ended its answers say so: give the command again then."] },
      );
  }
  const bounds = answerBounds(LINES_MAX);
  for (const fileId of files) yield* provider.readLines(fileId, { signal, bounds });
}
