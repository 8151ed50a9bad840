/** Random identifiers in OpenAI's shapes. */
import { randomBytes } from "node:crypto";

const ID_BYTES = 16;

export function newFileId(): string {
  return `file-${randomBytes(ID_BYTES).toString("hex")}`;
}

export function newBatchId(): string {
  return `batch_${randomBytes(ID_BYTES).toString("hex")}`;
}

export function newRequestId(): string {
  return `req_${randomBytes(ID_BYTES).toString("hex")}`;
}
