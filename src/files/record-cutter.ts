/**
 * Cuts bytes of UTF-8 into records: lines of JSONL, or records of CSV with their cells. Holds one record and one chunk.
 * A broken record costs itself alone: a quote that is never closed costs its line, and reading resumes on the next one.
 * csv-parse ends at such a record, so it cannot do this; the tests compare both on all other input.
 */
import { isUtf8 } from "node:buffer";
import type { LineEnd, Place } from "./file-types.js";

export const RECORD_BYTES_MAX = 16 * 1024 * 1024;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const QUOTE = 0x22;
const NONE = -1;
const BUFFER_BYTES_MIN = 512 * 1024;

const CELL_START = 0;
const PLAIN = 1;
const QUOTED = 2;
/** After a quote inside of a quoted cell. */
const QUOTE_SEEN = 3;
/** Looks for the end of the line on which the record broke. */
const BROKEN = 4;
/** Drops a record that is too large, up to the end of its line. */
const DROPPING = 5;

export interface CutRecord {
  readonly line: number;
  /** Null: it was too large to hold. */
  readonly raw: Buffer | null;
  /** Of CSV; empty if there is a problem with its quotes or bytes. */
  readonly cells: readonly string[];
  /** How many cells; 0 if its quotes are broken. */
  readonly width: number;
  readonly problem: string | null;
  /** Its line end; null: the file ends without. */
  readonly lineEnd: LineEnd | null;
  /** After the line end. */
  readonly next: Place;
}

export interface CutOptions {
  /** One byte. Null: no cells are cut off. */
  readonly delimiter: number | null;
  /** False: quotes mean nothing, as in JSONL. */
  readonly hasQuotes: boolean;
  /** Of the first byte, in the whole text. */
  readonly at: number;
  readonly line: number;
}

export class RecordCutter {
  readonly #delimiter: number;
  readonly #quote: number;
  #buffer = Buffer.alloc(0);
  #filled = 0;
  #isEnded = false;
  /** Of the record, in the buffer; other places count from it. */
  #start = 0;
  #scanned = 0;
  #state = CELL_START;
  /** Start, end, and whether it is quoted (1) with quotes inside (2). */
  #cells: number[] = [];
  #cellAt = 0;
  #cellKind = 0;
  #quoteAt = 0;
  #quoteLine = 0;
  #problem: string | null = null;
  /** Line ends inside of the record. */
  #inner = 0;
  #line: number;
  #at: number;

  constructor({ delimiter, hasQuotes, at, line }: CutOptions) {
    this.#delimiter = delimiter ?? NONE;
    this.#quote = hasQuotes ? QUOTE : NONE;
    this.#at = at;
    this.#line = line;
  }

  /** Where the next record begins. */
  get place(): Place {
    return { at: this.#at, line: this.#line };
  }

  push(chunk: Buffer): void {
    if (this.#filled + chunk.length > this.#buffer.length) {
      const held = this.#buffer.subarray(this.#start, this.#filled);
      // Never in place: records that were given out are views of the old one.
      const next = Buffer.allocUnsafeSlow(Math.max(BUFFER_BYTES_MIN, held.length * 2) + chunk.length);
      held.copy(next);
      [this.#buffer, this.#start, this.#filled] = [next, 0, held.length];
    }
    chunk.copy(this.#buffer, this.#filled);
    this.#filled += chunk.length;
  }

  /** No more bytes come. */
  end(): void {
    this.#isEnded = true;
  }

  /** Null: more bytes are needed, or there are none. Blank lines are passed over. */
  next(): CutRecord | null {
    for (;;) {
      if (!this.#scan()) return null;
      const record = this.#taken();
      if (record.raw === null || record.raw.length > 0) return record;
    }
  }

  /** True if the record is complete: `#scanned` is at its line end, or at the end of the file. */
  #scan(): boolean {
    for (;;) {
      const state = this.#state;
      if (state < BROKEN ? this.#scanCells() : this.#scanToLineEnd()) return this.#isLineEndWhole();
      if (this.#state !== state && this.#state >= BROKEN) continue;
      if (!this.#isEnded) return false;
      if (this.#state !== QUOTED) return this.#filled > this.#start || this.#problem !== null;
      this.#break("never closed");
    }
  }

  /** The line feed after a carriage return may still come. */
  #isLineEndWhole(): boolean {
    const at = this.#start + this.#scanned;
    return this.#buffer[at] === LINE_FEED || this.#isEnded || at + 1 < this.#filled;
  }

  /** True at a line end outside of quotes; false at the end of what is there, or when the record broke. */
  #scanCells(): boolean {
    const [buffer, start, delimiter, quote] = [this.#buffer, this.#start, this.#delimiter, this.#quote];
    const length = Math.min(this.#filled - start, RECORD_BYTES_MAX + 1);
    let [at, state] = [this.#scanned, this.#state];
    for (; at < length; at++) {
      const byte = buffer[start + at];
      if (state === QUOTED) {
        if (byte === quote) state = QUOTE_SEEN;
        else if (byte === CARRIAGE_RETURN || (byte === LINE_FEED && buffer[start + at - 1] !== CARRIAGE_RETURN))
          this.#inner += 1;
      } else if (byte === delimiter) {
        this.#closeCell(at, state);
        this.#cellAt = at + 1;
        state = CELL_START;
      } else if (byte === LINE_FEED || byte === CARRIAGE_RETURN) {
        [this.#scanned, this.#state] = [at, state];
        return true;
      } else if (state === CELL_START) {
        state = byte === quote ? QUOTED : PLAIN;
        if (state === QUOTED) [this.#quoteAt, this.#quoteLine, this.#cellKind] = [at, this.#line + this.#inner, 1];
      } else if (state === QUOTE_SEEN) {
        if (byte === quote) [state, this.#cellKind] = [QUOTED, 2];
        else {
          this.#break("closed, and text follows it");
          return false;
        }
      }
    }
    [this.#scanned, this.#state] = [at, state];
    if (at > RECORD_BYTES_MAX) this.#tooLarge();
    return false;
  }

  #closeCell(at: number, state: number): void {
    if (state === QUOTE_SEEN) this.#cells.push(this.#cellAt + 1, at - 1, this.#cellKind);
    else this.#cells.push(this.#cellAt, at, 0);
  }

  /** Reading resumes after the line on which the quote was opened. */
  #break(how: string): void {
    const place = this.#quoteLine === this.#line ? "" : ` at line ${this.#quoteLine}`;
    this.#problem = `A quote that is opened${place} is ${how}. Write each quote inside of a cell twice.`;
    this.#state = BROKEN;
    this.#inner = this.#quoteLine - this.#line;
    this.#scanned = this.#quoteAt;
  }

  #tooLarge(): void {
    if (this.#state === QUOTED || this.#state === QUOTE_SEEN) {
      this.#break(`not closed within ${RECORD_BYTES_MAX / 1024 / 1024} MiB`);
      return;
    }
    this.#problem = `It is larger than ${RECORD_BYTES_MAX / 1024 / 1024} MiB, which is too large for a record.`;
    this.#state = DROPPING;
  }

  #scanToLineEnd(): boolean {
    const [buffer, start, length] = [this.#buffer, this.#start, this.#filled - this.#start];
    let at = this.#scanned;
    while (at < length && buffer[start + at] !== LINE_FEED && buffer[start + at] !== CARRIAGE_RETURN) at += 1;
    this.#scanned = at;
    if (at < length) return true;
    if (at > RECORD_BYTES_MAX) this.#state = DROPPING;
    if (this.#state === DROPPING) [this.#start, this.#at, this.#scanned] = [start + at, this.#at + at, 0];
    return false;
  }

  #taken(): CutRecord {
    const [start, end] = [this.#start, this.#start + this.#scanned];
    const isDropped = this.#state === DROPPING;
    if (this.#problem === null) this.#closeCell(this.#scanned, this.#state);
    const raw = isDropped ? null : this.#buffer.subarray(start, end);
    const problem = this.#problem ?? (raw === null ? null : problemOfBytes(raw));
    const lineEnd = lineEndAt(this.#buffer, end, this.#filled);
    const cells = problem === null ? this.#texts() : [];
    const [line, width] = [this.#line, this.#problem === null ? this.#cells.length / 3 : 0];
    this.#begin(end + (lineEnd?.length ?? 0));
    return { line, raw, cells, width, problem, lineEnd, next: this.place };
  }

  #texts(): readonly string[] {
    const texts: string[] = [];
    for (let at = 0; at < this.#cells.length; at += 3) {
      const [from = 0, to = 0, kind = 0] = [this.#cells[at], this.#cells[at + 1], this.#cells[at + 2]];
      const text = this.#buffer.toString("utf8", this.#start + from, this.#start + to);
      texts.push(kind === 2 ? text.replaceAll('""', '"') : text);
    }
    return texts;
  }

  #begin(start: number): void {
    this.#at += start - this.#start;
    this.#line += this.#inner + 1;
    [this.#start, this.#scanned, this.#state] = [start, 0, CELL_START];
    [this.#cells, this.#cellAt, this.#inner, this.#problem] = [[], 0, 0, null];
  }
}

function problemOfBytes(raw: Buffer): string | null {
  if (!isUtf8(raw)) return "It holds bytes that are not UTF-8. Save the file as UTF-8, or name its encoding.";
  if (raw.includes(0)) return "It holds a NUL byte, which a table cannot store. Remove it.";
  return null;
}

function lineEndAt(buffer: Buffer, at: number, filled: number): LineEnd | null {
  if (at >= filled) return null;
  if (buffer[at] === LINE_FEED) return "\n";
  return at + 1 < filled && buffer[at + 1] === LINE_FEED ? "\r\n" : "\r";
}
