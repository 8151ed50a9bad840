/** Writes CSV and TSV: a record's bytes as they stand, and the cells of its answer after them. Pure. */
import type { AnswerColumn } from "../model/answer/answer-columns.js";
import { answerText, withoutFormula } from "./answer-texts.js";
import type { Encoder, EncoderOptions } from "./encoder.js";
import type { AnsweredRecord, FailedRecord, FileLook, GoodRecord } from "./file-types.js";

const BYTE_ORDER_MARK = "\ufeff";

export class CsvEncoder implements Encoder {
  readonly notes: readonly string[] = [];
  readonly #look: FileLook;
  readonly #columns: readonly string[];
  readonly #options: EncoderOptions;
  readonly #delimiter: string;
  readonly #mustQuote: RegExp;
  /** Bytes of the input can stand in the output. */
  readonly #keepsBytes: boolean;

  constructor(look: FileLook, columns: readonly string[], options: EncoderOptions) {
    const isSame = options.format === look.format;
    const usual = options.format === "tsv" ? "\t" : ",";
    this.#look = look;
    this.#columns = columns;
    this.#options = options;
    this.#delimiter = (isSame ? look.delimiter : null) ?? usual;
    this.#mustQuote = new RegExp(
      String.raw`["\r\n\u2028\u2029]|^\s|\s$|^$|${this.#delimiter === "|" ? "\\" : ""}${this.#delimiter}`,
    );
    this.#keepsBytes = isCsv(look) && (look.delimiter === null || look.delimiter === this.#delimiter);
  }

  head(): Buffer {
    const { added, lineEnd } = this.#options;
    const mark = this.#look.bom || this.#look.encoding.startsWith("utf-16") ? BYTE_ORDER_MARK : "";
    const isKept = this.#keepsBytes && (this.#look.delimiter !== null || !this.#look.head.includes(this.#delimiter));
    const names = isKept ? this.#look.head : this.#columns.map((name) => this.#cell(name)).join(this.#delimiter);
    const more = added.map((name) => this.#delimiter + this.#cell(name)).join("");
    return Buffer.from(mark + names + more + lineEnd);
  }

  encode(records: readonly AnsweredRecord[]): Buffer {
    return Buffer.concat(records.flatMap((one) => this.#parts(one)));
  }

  end(): Buffer {
    return Buffer.alloc(0);
  }

  #parts({ record, answer, error }: AnsweredRecord): readonly Buffer[] {
    const { answer: columns, errors, escapeFormulas, lineEnd } = this.#options;
    const cells = columns.map((column: AnswerColumn) => {
      return answerText(column, answer?.[column.field] ?? null, escapeFormulas);
    });
    if (errors) cells.push(error !== null && escapeFormulas ? withoutFormula(error) : error);
    const added = cells.map((cell) => this.#delimiter + this.#cell(cell)).join("");
    const own = "problem" in record ? this.#failed(record) : this.#good(record);
    const isBlank = own.length === 0 && added === "";
    return [own, Buffer.from((isBlank ? '""' : added) + lineEnd)];
  }

  #good(record: GoodRecord): Buffer {
    const { raw, cells } = record;
    const isKept = this.#look.delimiter !== null || raw?.[0] === QUOTE || raw?.includes(this.#delimiter) === false;
    if (raw !== null && this.#keepsBytes && isKept) return raw;
    return Buffer.from(this.#columns.map((name) => this.#cell(cells[name] ?? null)).join(this.#delimiter));
  }

  /** The bytes too, if they leave the columns in their places; else the whole line is the first cell. */
  #failed({ raw, width = 0 }: FailedRecord): Buffer {
    const count = this.#columns.length;
    const isKept = raw !== null && this.#keepsBytes && this.#look.delimiter !== null && width > 0 && width <= count;
    const first = raw === null ? Buffer.alloc(0) : isKept ? raw : quoted(raw);
    return Buffer.concat([first, Buffer.from(this.#delimiter.repeat(Math.max(0, count - (isKept ? width : 1))))]);
  }

  /** Null: an empty cell without quotes. */
  #cell(text: string | null): string {
    if (text === null) return "";
    return this.#mustQuote.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }
}

const QUOTE = 0x22;

function isCsv({ format }: FileLook): boolean {
  return format === "csv" || format === "tsv";
}

/** Bytes stay as they are, also those that are no text. */
function quoted(raw: Buffer): Buffer {
  return Buffer.from(`"${raw.toString("latin1").replaceAll('"', '""')}"`, "latin1");
}
