/** Owns the words for rows that come from elsewhere, pushed or read, of which Rowmill keeps a copy. Pure. */
import type { ReplicaConfig } from "../pipeline.js";

/** What to do where there is no row yet. */
export function firstRowsHint({ sync }: ReplicaConfig): string {
  return sync === null
    ? "Push rows to it first: rowmill up --http 127.0.0.1:8788"
    : "Let Rowmill read them first: rowmill up";
}

/** A sentence. */
export function noRowsText({ sync }: ReplicaConfig): string {
  return sync === null
    ? "No row was pushed yet: rowmill up creates the table for them."
    : "No row was read yet: rowmill up creates the table for them.";
}
