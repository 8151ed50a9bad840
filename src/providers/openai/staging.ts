/** Input files on their way into a batch: their names tell which batch and which content they are, so that a crashed worker's is found. */
import type { Json } from "../../model/pipeline.js";
import type { CallOptions, SpoolFile, Staged, Staging } from "../../model/provider/provider.js";
import type { Connection } from "./connection.js";
import { deleteFile, findInputs, inspectFile, uploadInput } from "./files.js";
import { fileIdOf } from "./refs.js";
import type { WireFile } from "./wire.js";

const SHA256_CHARACTERS = 16;

export function openaiStaging(connection: Connection): Staging {
  return {
    send: async (spool, options) => {
      const input = { path: spool.path, filename: inputFileName(spool) };
      return toStaged(await uploadInput(connection, input, options));
    },
    find: (spool, options) => findStaged(connection, spool, options),
    inspect: async (ref, options) => {
      const file = await inspectFile(connection, fileIdOf(ref), options);
      return file && { ...toStaged(file), ref };
    },
    remove: (ref, options) => deleteFile(connection, fileIdOf(ref), options),
  };
}

export function inputFileName({ batchId, sha256 }: Pick<SpoolFile, "batchId" | "sha256">): string {
  return `${inputFilePrefix(batchId)}${sha256.slice(0, SHA256_CHARACTERS)}.jsonl`;
}

export function inputFilePrefix(batchId: string): string {
  return `rowmill-${batchId}-`;
}

function toStaged({ id, readiness, details }: WireFile): Staged {
  return { ref: id, readiness, details };
}

async function findStaged(
  connection: Connection,
  spool: SpoolFile,
  options?: CallOptions,
): Promise<{ same: Staged | null; others: readonly Json[] }> {
  const files = await findInputs(connection, inputFilePrefix(spool.batchId), options);
  const filename = inputFileName(spool);
  const same = files.find(
    (file) => file.filename === filename && file.bytes === spool.bytes && file.readiness !== "failed",
  );
  const others = files.filter((file) => file !== same).map(({ id }) => id);
  return { same: same === undefined ? null : toStaged(same), others };
}
