/** What goes into one batch file: decided line by line, so that rendering can stream. Pure. */

export interface PackingLimits {
  readonly requestsMax: number;
  /** Bytes of the whole file, line feeds included. */
  readonly bytesMax: number;
  /** The share of an enqueued-token limit that was reserved for this batch; null: no limit is known. */
  readonly tokensMax: number | null;
  /** The money that was reserved for this batch, in 1e-9 US dollars; null: no budget. */
  readonly nanoUsdMax: number | null;
}

export interface PackedSoFar {
  readonly requests: number;
  readonly bytes: number;
  readonly tokens: number;
  readonly nanoUsd: number;
}

/** Upper bounds for one line: `bytes` with its line feed. */
export interface LineSize {
  readonly bytes: number;
  readonly tokens: number;
  readonly nanoUsd: number;
}

export const NOTHING_PACKED: PackedSoFar = { requests: 0, bytes: 0, tokens: 0, nanoUsd: 0 };

/** `take`: it fits. `full`: it goes into another batch. `never`: it alone has more bytes than any file may have. */
export type Packing = "take" | "full" | "never";

export function pack(soFar: PackedSoFar, line: LineSize, limits: PackingLimits): Packing {
  if (line.bytes > limits.bytesMax) return "never";
  if (soFar.requests + 1 > limits.requestsMax) return "full";
  if (soFar.bytes + line.bytes > limits.bytesMax) return "full";
  if (limits.tokensMax !== null && soFar.tokens + line.tokens > limits.tokensMax) return "full";
  if (limits.nanoUsdMax !== null && soFar.nanoUsd + line.nanoUsd > limits.nanoUsdMax) return "full";
  return "take";
}

export function addLine(soFar: PackedSoFar, line: LineSize): PackedSoFar {
  return {
    requests: soFar.requests + 1,
    bytes: soFar.bytes + line.bytes,
    tokens: soFar.tokens + line.tokens,
    nanoUsd: soFar.nanoUsd + line.nanoUsd,
  };
}
