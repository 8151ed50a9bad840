/** What each format answers to write a file. */
import type { AnswerColumn } from "../model/answer/answer-columns.js";
import type { AnsweredRecord, FileFormat, LineEnd } from "./file-types.js";

export interface EncoderOptions {
  readonly format: FileFormat;
  readonly answer: readonly AnswerColumn[];
  /** Names in the output, the one for errors last. */
  readonly added: readonly string[];
  readonly errors: boolean;
  readonly escapeFormulas: boolean;
  readonly lineEnd: LineEnd;
}

export interface Encoder {
  /** For display. */
  readonly notes: readonly string[];
  head(): Buffer;
  encode(records: readonly AnsweredRecord[]): Buffer;
  end(): Buffer;
}
