/** Identifiers in the shapes that OpenAI uses. They come from the system's random source; nothing can crash here. */
import { randomBytes } from "node:crypto";

const FILE_ID_BYTES = 16;
const BATCH_ID_BYTES = 16;
const REQUEST_ID_BYTES = 16;

export function newFileId(): string {
  return `file-${randomBytes(FILE_ID_BYTES).toString("hex")}`;
}

export function newBatchId(): string {
  return `batch_${randomBytes(BATCH_ID_BYTES).toString("hex")}`;
}

export function newRequestId(): string {
  return `req_${randomBytes(REQUEST_ID_BYTES).toString("hex")}`;
}
