/**
 * The output file of a batch that was never stored: where its ids stand in the input, and its lines, made while they
 * are read.
 */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** Where the custom ids stand in an input file, in the order of the answers. */
export interface AskedIds {
  readonly input: Buffer;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
}

const REQUESTS_MAX = 1_000_000;
const PIECE_BYTES = 256 * 1024;
/** A reader that takes nothing for this long has gone. */
const DRAIN_MS_MAX = 600_000;
const ID_MARK = Buffer.from('"custom_id":"');
const LINE_FEED = 0x0a;
const QUOTE = 0x22;

export function askedIds(input: Buffer, order: "asked" | "random"): AskedIds {
  const places: (readonly [start: number, end: number])[] = [];
  for (let at = 0; at < input.length;) {
    const mark = input.indexOf(ID_MARK, at);
    const start = mark + ID_MARK.length;
    const end = input.indexOf(QUOTE, start);
    if (mark < 0 || end < 0 || places.length === REQUESTS_MAX)
      throw new Error("a line without an id, or too many lines");
    places.push([start, end]);
    const next = input.indexOf(LINE_FEED, end);
    at = next < 0 ? input.length : next + 1;
  }
  if (order === "random") shuffle(places);
  const starts = Uint32Array.from(places, ([start]) => start);
  return { input, starts, ends: Uint32Array.from(places, ([, end]) => end) };
}

/** By a generator with a fixed seed: the same order in each run. */
function shuffle(list: (readonly [number, number])[]): void {
  let seed = 42;
  for (let last = list.length - 1; last > 0; last--) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    const other = seed % (last + 1);
    const [mine, theirs] = [list[last], list[other]];
    if (mine !== undefined && theirs !== undefined) [list[last], list[other]] = [theirs, mine];
  }
}

/** All lines but for their ids are the same. */
export class AnswerLines {
  readonly #head = Buffer.from('{"id":"batch_req_1","custom_id":"');
  readonly #tail: Buffer;

  constructor(content: string) {
    this.#tail = Buffer.from(tailText(content));
  }

  bytesOf({ starts, ends }: AskedIds): number {
    const ids = ends.reduce((sum, end, index) => sum + end - (starts[index] ?? 0), 0);
    return ids + starts.length * (this.#head.length + this.#tail.length);
  }

  /** Ends the response. A piece holds at least one line. */
  async send(response: ServerResponse, { input, starts, ends }: AskedIds): Promise<void> {
    const frame = this.#head.length + this.#tail.length;
    let piece = Buffer.allocUnsafe(Math.max(PIECE_BYTES, 2 * frame));
    let filled = 0;
    for (let index = 0; index < starts.length; index++) {
      const [start = 0, end = 0] = [starts[index], ends[index]];
      if (filled + frame + end - start > piece.length) {
        await write(response, piece.subarray(0, filled));
        piece = Buffer.allocUnsafe(piece.length);
        filled = 0;
      }
      filled += this.#head.copy(piece, filled);
      filled += input.copy(piece, filled, start, end);
      filled += this.#tail.copy(piece, filled);
    }
    await write(response, piece.subarray(0, filled));
    response.end();
  }
}

async function write(response: ServerResponse, piece: Buffer): Promise<void> {
  if (response.destroyed) throw new Error("the reader has gone");
  if (response.write(piece)) return;
  const patience = new AbortController();
  const { signal } = patience;
  const events = ["drain", "close"].map((name) => once(response, name, { signal }));
  // The ones that lose the race are ended, and say so.
  for (const event of events) event.catch(() => undefined);
  await Promise.race([...events, sleep(DRAIN_MS_MAX, null, { signal })]).finally(() => patience.abort());
}

function tailText(content: string): string {
  const usage = {
    prompt_tokens: 130,
    completion_tokens: 40,
    total_tokens: 170,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  };
  const message = { role: "assistant", content, refusal: null, annotations: [] };
  const body = {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1_760_000_000,
    model: "gpt-4o-mini-2024-07-18",
    choices: [{ index: 0, message, logprobs: null, finish_reason: "stop" }],
    usage,
    service_tier: "default",
    system_fingerprint: "fp_1",
  };
  const response = { status_code: 200, request_id: "req_1", body };
  return `","response":${JSON.stringify(response)},"error":null}\n`;
}
