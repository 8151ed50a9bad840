/** Reads a line of a batch's input file that other code wrote. Pure; nothing of it is trusted. */
import { isOverfull, LINE_VALUES_MAX } from "../../model/json/json-values.js";
import type { Json } from "../../model/pipeline.js";
import { roomOf } from "./encoder.js";
import { asRecord, textOf } from "./wire.js";

export interface WireLine {
  readonly customId: string;
  /** The endpoint, such as `/v1/chat/completions`; null: it is not said. */
  readonly url: string | null;
  readonly model: string | null;
  /** Of a line of answers: the model that gave this one. */
  readonly answeredBy: string | null;
  /** What was asked; null: the line does not say, as a line of answers. */
  readonly body: Json | null;
  /** The most tokens that the answer may have; null: it is not said. */
  readonly room: number | null;
}

/** Null: no line of a batch. Output and error lines can be read too: they name no endpoint and no model here. */
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
  const answeredBy = textOf(asRecord(asRecord(entry["response"])?.["body"])?.["model"]);
  // It came out of JSON.parse.
  return {
    customId,
    url: textOf(entry["url"]),
    model: textOf(body?.["model"]),
    answeredBy,
    body: body as Json,
    room: roomOf(body),
  };
}
