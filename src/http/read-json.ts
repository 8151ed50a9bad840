/** Reads a JSON body. Bytes, depth and values are bounded before it is parsed, and while it still arrives. */
import { BodyRefused, malformed } from "./body-refusal.js";
import { JsonGuard, type JsonLimits } from "./json-guard.js";
import { bodyChunks, refusable, type BodyLimits, type Read } from "./read-body.js";

export interface JsonBody {
  readonly value: unknown;
  /** As it came, without a byte order mark: numbers keep all their digits here. */
  readonly text: string;
}

/** `null` for a body without any bytes. */
export async function readJson(request: Request, limits: BodyLimits & JsonLimits): Promise<Read<JsonBody | null>> {
  return refusable(async () => {
    const guard = new JsonGuard(limits);
    const chunks: Buffer[] = [];
    for await (const chunk of bodyChunks(request, limits)) {
      const refusal = guard.push(chunk);
      if (refusal !== null) throw new BodyRefused(refusal);
      chunks.push(chunk);
    }
    return chunks.length === 0 ? null : parseBody(Buffer.concat(chunks));
  });
}

function parseBody(bytes: Buffer): JsonBody {
  const text = textOf(bytes);
  try {
    return { value: JSON.parse(text) as unknown, text };
  } catch (error) {
    if (error instanceof SyntaxError) throw new BodyRefused(malformed("json_malformed"), error);
    throw error;
  }
}

function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw new BodyRefused(malformed("body_not_utf8"), error);
    throw error;
  }
}
