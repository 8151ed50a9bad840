/** Reads a line of a batch's input file that other code wrote. Pure; nothing of it is trusted. */
import { asRecord, textOf } from "./openai-wire.js";

export interface InputLine {
  readonly customId: string;
  /** The endpoint, such as `/v1/chat/completions`; null: it is not said. */
  readonly url: string | null;
  readonly model: string | null;
}

/** Null: no line of a batch. Output and error lines can be read too: they name no endpoint and no model here. */
export function readInputLine(line: string): InputLine | null {
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
  return { customId, url: textOf(entry["url"]), model: textOf(asRecord(entry["body"])?.["model"]) };
}
