/** Finds a file's encoding, and turns its bytes into UTF-8. Pure. */
import { isUtf8 } from "node:buffer";
import type { FileEncoding } from "./file-types.js";

const MARKS: readonly (readonly [FileEncoding, Buffer])[] = [
  ["utf-8", Buffer.from([0xef, 0xbb, 0xbf])],
  ["utf-16le", Buffer.from([0xff, 0xfe])],
  ["utf-16be", Buffer.from([0xfe, 0xff])],
];

export interface FoundEncoding {
  readonly encoding: FileEncoding;
  readonly bom: boolean;
}

/** `given`: what the user said, which only a byte order mark of the same encoding may add to. */
export function encodingOf(sample: Buffer, given?: FileEncoding): FoundEncoding {
  for (const [encoding, mark] of MARKS) {
    if ((given ?? encoding) === encoding && sample.subarray(0, mark.length).equals(mark))
      return { encoding, bom: true };
  }
  return { encoding: given ?? encodingWithoutMark(sample), bom: false };
}

/** UTF-16 has a zero in each character of ASCII: always the second byte, or always the first. */
const ZERO_SHARE_MIN = 0.3;
/** For other scripts, where line ends and separators have one. */
const ZERO_SHARE_MIN_WITH_LINE_ENDS = 0.02;
const ZERO_SIDES_RATIO = 8;

function encodingWithoutMark(sample: Buffer): FileEncoding {
  if (isUtf16(sample, 1)) return "utf-16le";
  if (isUtf16(sample, 0)) return "utf-16be";
  const whole = sample.subarray(0, sample.length - cutOff(sample));
  return isUtf8(whole) || seemsUtf8(whole) ? "utf-8" : "latin1";
}

/** `side`: which byte of a character of ASCII is zero. */
function isUtf16(sample: Buffer, side: 0 | 1): boolean {
  let [here, there, lineEnds] = [0, 0, 0];
  for (let at = sample.indexOf(0); at !== -1; at = sample.indexOf(0, at + 1)) {
    if (at % 2 !== side) there += 1;
    else {
      here += 1;
      const other = sample[side === 1 ? at - 1 : at + 1];
      if (other === 0x0a || other === 0x0d) lineEnds += 1;
    }
  }
  const share = lineEnds > 0 ? ZERO_SHARE_MIN_WITH_LINE_ENDS : ZERO_SHARE_MIN;
  return here > (sample.length / 2) * share && here > there * ZERO_SIDES_RATIO;
}

/** Bytes at the end that begin a character whose rest is not in the sample. */
function cutOff(sample: Buffer): number {
  for (let back = 1; back <= Math.min(3, sample.length); back++) {
    const length = lengthOf(sample[sample.length - back] ?? 0);
    if (length > 0) return length > back ? back : 0;
  }
  return 0;
}

/** Of a character in UTF-8, by its first byte; 0: that begins none. */
function lengthOf(first: number): number {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

/** More characters beyond ASCII are right than wrong: some lines are broken, and they fail alone. */
function seemsUtf8(sample: Buffer): boolean {
  let [right, wrong] = [0, 0];
  for (let at = 0; at < sample.length;) {
    const length = lengthOf(sample[at] ?? 0);
    const isRight = length > 0 && (length === 1 || isUtf8(sample.subarray(at, at + length)));
    if (!isRight) wrong += 1;
    else if (length > 1) right += 1;
    at += isRight ? length : 1;
  }
  return right > wrong;
}

export interface Decoder {
  decode(chunk: Buffer): Buffer;
  /** What is left over at the end. */
  end(): Buffer;
}

const EMPTY = Buffer.alloc(0);

/** Bytes that are no character stay invalid, so that their record fails alone. */
export function asUtf8(encoding: FileEncoding, bom: boolean): Decoder {
  const decoder = encoding === "utf-8" ? { decode: (chunk: Buffer) => chunk, end: () => EMPTY } : null;
  const other =
    encoding === "latin1" ? { decode: fromLatin1, end: () => EMPTY } : utf16Decoder(encoding === "utf-16be");
  return withoutMark(decoder ?? other, bom);
}

/** Of windows-1252, 0x80 to 0x9F; the five that it leaves open are control characters, as in browsers. */
const WINDOWS_1252 =
  "\u20ac\u0081\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u008d\u017d\u008f" +
  "\u0090\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u009d\u017e\u0178";

function fromLatin1(chunk: Buffer): Buffer {
  const text = chunk.toString("latin1");
  // eslint-disable-next-line no-control-regex
  return Buffer.from(text.replace(/[\u0080-\u009f]/g, (one) => WINDOWS_1252[one.charCodeAt(0) - 0x80] ?? one));
}

const NO_CHARACTER = Buffer.from([0xff]);

function utf16Decoder(isBigEndian: boolean): Decoder {
  let held: Buffer = EMPTY;
  return {
    decode(chunk) {
      const bytes = held.length === 0 ? Buffer.from(chunk) : Buffer.concat([held, chunk]);
      let whole = bytes.length - (bytes.length % 2);
      // The first half of a surrogate pair waits for the second.
      const high = whole >= 2 ? (bytes[isBigEndian ? whole - 2 : whole - 1] ?? 0) : 0;
      if (high >= 0xd8 && high <= 0xdb) whole -= 2;
      held = Buffer.from(bytes.subarray(whole));
      const units = bytes.subarray(0, whole);
      return fromUtf16(isBigEndian ? units.swap16() : units);
    },
    end: () => (held.length === 0 ? EMPTY : NO_CHARACTER),
  };
}

const HALF_PAIR = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

function fromUtf16(units: Buffer): Buffer {
  const text = units.toString("utf16le");
  if (text.isWellFormed()) return Buffer.from(text);
  return Buffer.concat(
    text.split(HALF_PAIR).flatMap((part, at) => [at === 0 ? EMPTY : NO_CHARACTER, Buffer.from(part)]),
  );
}

function withoutMark(decoder: Decoder, bom: boolean): Decoder {
  if (!bom) return decoder;
  const mark = Buffer.from("\ufeff");
  let held: Buffer | null = EMPTY;
  return {
    decode(chunk) {
      const text = decoder.decode(chunk);
      if (held === null) return text;
      held = Buffer.concat([held, text]);
      if (held.length < mark.length) return EMPTY;
      const rest = held.subarray(mark.length);
      held = null;
      return rest;
    },
    end: decoder.end,
  };
}
