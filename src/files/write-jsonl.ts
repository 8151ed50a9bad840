/** Writes JSONL: a line's bytes as they stand, with the fields of its answer before the closing brace. Pure. */
import { answerJson } from "./answer-texts.js";
import { freeName } from "./column-names.js";
import type { Encoder, EncoderOptions } from "./encoder.js";
import type { AnsweredRecord, FailedRecord, FileLook, GoodRecord } from "./file-types.js";

const CLOSING_BRACE = 0x7d;
const EMPTY = Buffer.alloc(0);

export class JsonlEncoder implements Encoder {
  readonly notes: readonly string[] = [];
  readonly #look: FileLook;
  readonly #options: EncoderOptions;
  /** Names as JSON. */
  readonly #added: readonly string[];
  readonly #columns: readonly (readonly [name: string, json: string])[];
  /** Holds the text of a line that failed. */
  readonly #lineName: string;

  constructor(look: FileLook, columns: readonly string[], options: EncoderOptions) {
    this.#look = look;
    this.#options = options;
    this.#added = options.added.map((name) => JSON.stringify(name));
    this.#columns = columns.map((name) => [name, JSON.stringify(name)]);
    this.#lineName = JSON.stringify(freeName("line", new Set([...columns, ...options.added])));
  }

  head(): Buffer {
    return EMPTY;
  }

  encode(records: readonly AnsweredRecord[]): Buffer {
    return Buffer.concat(records.flatMap((one) => this.#parts(one)));
  }

  end(): Buffer {
    return EMPTY;
  }

  #parts({ record, answer, error }: AnsweredRecord): readonly Buffer[] {
    const { answer: columns, errors, lineEnd } = this.#options;
    const values = columns.map((column) => answerJson(column, answer?.[column.field] ?? null));
    if (errors) values.push(JSON.stringify(error));
    const added = values.map((value, index) => `${this.#added[index]}:${value}`).join(",");
    const [before, after] = "problem" in record ? this.#failed(record) : this.#good(record);
    const comma = added === "" || before.at(-1) === OPENING_BRACE ? "" : ",";
    return [before, Buffer.from(comma + added), after, Buffer.from(lineEnd)];
  }

  /** Before and after the place for more fields. */
  #good({ raw, cells }: GoodRecord): readonly [Buffer, Buffer] {
    if (raw !== null && this.#look.format === "jsonl") {
      const brace = raw.lastIndexOf(CLOSING_BRACE);
      const isEmpty = Object.keys(cells).length === 0;
      const before = isEmpty ? raw.subarray(0, raw.indexOf(OPENING_BRACE) + 1) : raw.subarray(0, brace);
      return [before, raw.subarray(isEmpty ? before.length : brace)];
    }
    const members = this.#columns.map(([name, json], index) => `${json}:${this.#json(cells[name] ?? null, index)}`);
    return [Buffer.from(`{${members.join(",")}`), CLOSED];
  }

  #json(cell: string | null, index: number): string {
    if (cell === null) return "null";
    const kind = this.#look.kinds?.[index] ?? "text";
    return kind === "text" || (kind === "number" && !/\d$/.test(cell)) ? JSON.stringify(cell) : cell;
  }

  #failed({ raw }: FailedRecord): readonly [Buffer, Buffer] {
    return [Buffer.from(`{${this.#lineName}:${JSON.stringify(raw?.toString() ?? null)}`), CLOSED];
  }
}

const OPENING_BRACE = 0x7b;
const CLOSED = Buffer.from("}");
