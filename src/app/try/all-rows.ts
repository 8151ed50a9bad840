/** What the prompt of a try would cost for all rows by batch, by the size of its own answers. Only reads. */
import { costNanoUsd } from "../../model/provider/pricing.js";
import type { Database } from "../../postgres/database.js";
import type { TryAnswer } from "../../store/tries/tries.js";
import type { Asking } from "../../worker/context.js";

export interface AllRows {
  /** That match the config's condition; null: counting took too long. */
  readonly rows: number | null;
  readonly answersCounted: number;
  readonly likelyNanoUsdEach: number;
  /** Null: the rows were not counted. */
  readonly likelyNanoUsd: number | null;
}

/** Null: no answer tells its size, or the price is unknown. */
export async function allRowsByBatch(
  database: Database,
  { rates, source }: Pick<Asking, "rates" | "source">,
  answers: readonly TryAnswer[],
): Promise<AllRows | null> {
  const sized = answers.filter(({ outputTokens }) => outputTokens > 0);
  const sum = sized
    .map((answer) => costNanoUsd(answer, rates, "batch"))
    .reduce<number | null>((before, cost) => (before === null || cost === null ? null : before + cost), 0);
  if (sized.length === 0 || sum === null) return null;
  const rows = await database.transaction((tx) => source.countRows(tx), { readOnly: true });
  const each = sum / sized.length;
  return {
    rows,
    answersCounted: sized.length,
    likelyNanoUsdEach: each,
    likelyNanoUsd: rows === null ? null : Math.ceil(each * rows),
  };
}
