/** Finds what separates the cells of a CSV file. Pure. */
import { RecordCutter, type CutRecord } from "./record-cutter.js";

const CANDIDATES = [",", ";", "\t", "|"] as const;
const RECORDS_MAX = 500;
/** Of the readable records, that have as many cells as the header: prose with commas seldom has. */
const AGREEING_SHARE_MIN = 0.3;

export const DELIMITER_WORDS: Readonly<Record<string, string>> = { "\t": "tabs", ";": "semicolons", "|": "bars" };

/**
 * Null: a single column. One that breaks the header if no other fits, so that this is said. `isWhole`: the text is not
 * cut off at its end.
 */
export function delimiterOf(sample: Buffer, isWhole: boolean): string | null {
  let best: { readonly delimiter: string; readonly share: number; readonly cells: number } | null = null;
  let broken: string | null = null;
  for (const delimiter of CANDIDATES) {
    const [header, ...records] = recordsOf(sample, delimiter, { isWhole, max: RECORDS_MAX });
    if (header?.problem !== null && header?.width === 0) broken ??= delimiter;
    const cells = header?.cells.length ?? 0;
    if (cells < 2) continue;
    const readable = records.filter(({ problem }) => problem === null);
    const agreeing = readable.filter(({ width }) => width === cells).length;
    const share = readable.length === 0 ? 1 : agreeing / readable.length;
    const isBetter = best === null || share > best.share || (share === best.share && cells > best.cells);
    if (share >= AGREEING_SHARE_MIN && isBetter) best = { delimiter, share, cells };
  }
  return best?.delimiter ?? broken;
}

export interface SampleOptions {
  readonly isWhole: boolean;
  readonly max: number;
  readonly at?: number;
  readonly line?: number;
  readonly hasQuotes?: boolean;
}

/** The first records of a text; one that the sample cuts off is left out. */
export function recordsOf(sample: Buffer, delimiter: string | null, options: SampleOptions): readonly CutRecord[] {
  const { isWhole, max, at = 0, line = 1, hasQuotes = true } = options;
  const cutter = new RecordCutter({ delimiter: byteOf(delimiter), hasQuotes, at, line });
  cutter.push(sample.subarray(at));
  if (isWhole) cutter.end();
  const records: CutRecord[] = [];
  for (let record = cutter.next(); record !== null && records.length < max; record = cutter.next())
    records.push(record);
  return records;
}

export function byteOf(delimiter: string | null): number | null {
  return delimiter === null ? null : delimiter.charCodeAt(0);
}
