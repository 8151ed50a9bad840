/** Renders the rows of a try, and bounds what each live call may cost. Calls no one. */
import { costNanoUsd, type Rates } from "../../model/provider/pricing.js";
import type { ModelRequest } from "../../model/provider/outcome.js";
import { likelyOutput, type OutputSizes } from "../../model/request/output-limit.js";
import {
  SAMPLE_CHARACTERS_MAX,
  tokensPerByte,
  TOKENS_PER_MESSAGE,
  TOKENS_PER_REPLY,
} from "../../model/request/tokens.js";
import { tooLargeText, type SourceRow } from "../../sources/source.js";
import { firstAttempt, type Asking } from "../../worker/context.js";
import { encoderFor, promptOf } from "../../worker/rounds/estimate.js";

/** A row with its question, or why it has none. */
export type Prepared = { readonly row: SourceRow } & (
  | {
      readonly kind: "sent";
      readonly request: ModelRequest;
      readonly fingerprint: string;
      /** The most that its call can cost; 0: the price is unknown. */
      readonly boundNanoUsd: number;
    }
  | { readonly kind: "unsent"; readonly outcome: "empty" | "unrenderable" | "tooLarge"; readonly detail: string }
);

export interface Preparation {
  readonly rows: readonly Prepared[];
  /** How many of them are sent. */
  readonly sent: number;
  /** Null, as the bound: the price is unknown. */
  readonly likelyNanoUsd: number | null;
  readonly boundNanoUsd: number | null;
}

/** `sizes`: of the definition's past answers. */
export async function prepareTry(
  asking: Asking,
  rows: readonly SourceRow[],
  sizes: OutputSizes | null,
): Promise<Preparation> {
  const { config, rates, answer } = asking;
  const { request: asked } = config;
  const rendered = rows.map((row) => ({ row, rendered: renderRow(asking, row) }));
  const requests = rendered.flatMap(({ rendered }) => ("request" in rendered ? [rendered.request] : []));
  const prompts = requests.map(promptOf);
  const count = prompts.length === 0 ? () => 0 : await asking.provider.tokenizer(asked.model);
  const starts = prompts.map((prompt) => prompt.slice(0, SAMPLE_CHARACTERS_MAX));
  const ratio = tokensPerByte(starts, count);
  const encode = encoderFor(asking, ratio);
  const prepared = rendered.map(({ row, rendered }): Prepared => {
    if (!("request" in rendered)) return { row, kind: "unsent", ...rendered };
    const { request } = rendered;
    const { fingerprint, boundTokens } = encode("", request, firstAttempt(config));
    const bound = liveNanoUsd(rates, { input: boundTokens, output: asked.maxOutputTokens }) ?? 0;
    return { row, kind: "sent", request, fingerprint, boundNanoUsd: bound };
  });
  const framing = 2 * TOKENS_PER_MESSAGE + TOKENS_PER_REPLY;
  const output = Math.ceil(likelyOutput(sizes, answer.schema, asked));
  const likely = prompts.map((prompt) =>
    liveNanoUsd(rates, { input: Math.ceil(Buffer.byteLength(prompt) * ratio.mean) + framing, output }),
  );
  const isPriced = rates.price !== null;
  return {
    rows: prepared,
    sent: requests.length,
    likelyNanoUsd: isPriced ? likely.reduce<number>((sum, cost) => sum + (cost ?? 0), 0) : null,
    boundNanoUsd: isPriced ? prepared.reduce((sum, one) => sum + boundOf(one), 0) : null,
  };
}

export function boundOf(one: Prepared): number {
  return one.kind === "sent" ? one.boundNanoUsd : 0;
}

function liveNanoUsd(rates: Rates, { input, output }: { readonly input: number; readonly output: number }) {
  return costNanoUsd({ inputTokens: input, cachedInputTokens: 0, outputTokens: output }, rates, "live");
}

type RenderedRow =
  | { readonly request: ModelRequest }
  | { readonly outcome: "empty" | "unrenderable" | "tooLarge"; readonly detail: string };

/** As a batch's rendering decides. */
function renderRow({ render }: Asking, { cells, hash }: SourceRow): RenderedRow {
  if (cells === null) return { outcome: "tooLarge", detail: tooLargeText(hash) };
  const rendered = render(cells);
  if (rendered.kind === "request") return { request: rendered.request };
  if (rendered.kind === "failed") return { outcome: "unrenderable", detail: rendered.message };
  return { outcome: "empty", detail: "There is nothing to ask about this row: its message is empty." };
}
