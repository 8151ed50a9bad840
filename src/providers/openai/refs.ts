/** What the ledger keeps for this adapter: the id of a staged file, and the ids of a batch's files. Pure. */
import type { Json } from "../../model/pipeline.js";
import { unreadableRefs } from "../../model/errors.js";
import type { BatchRef } from "../../model/provider/provider.js";
import { asRecord } from "./wire.js";

/** A type, not an interface: it is written as JSON. */
// eslint-disable-next-line typescript/consistent-type-definitions
export type Refs = {
  /** "": not said. */
  input: string;
  /** Null: not named, or not yet. */
  output: string | null;
  error: string | null;
};

export function refsOf({ refs }: BatchRef): Refs {
  const record = asRecord(refs);
  if (record === null) throw unreadableRefs("openai");
  const id = (name: string) => (typeof record[name] === "string" ? record[name] : null);
  return { input: id("input") ?? "", output: id("output"), error: id("error") };
}

export function fileIdOf(staged: Json | null): string {
  if (typeof staged !== "string") throw unreadableRefs("openai");
  return staged;
}
