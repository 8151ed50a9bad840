/** The tries of one row, as `rowmill show` lists them. Pure. */
import { formatUsd } from "../../model/provider/pricing.js";
import { proseLine } from "../../model/words/one-line.js";
import type { RowStory } from "../../app/story/row-story.js";
import type { RowTry } from "../../store/tries/tries.js";
import { formatCount, formatTime } from "../screen/text.js";
import { answerName, cellLines, labelled } from "./cells-text.js";

/** Of `rowmill try`: paid live, and no result before it is accepted. */
export function tryLines(tried: RowTry): string[] {
  const { outcome, askedAt, detail, cells, answer, acceptedAt, batchId } = tried;
  const shown = cells !== null ? cellLines(cells) : answer === null ? [] : labelled(`${answerName(outcome)}:`, answer);
  const accepted = acceptedAt === null ? [] : [`accepted ${formatTime(acceptedAt)}, in batch ${batchId}`];
  return [
    `${outcome ?? "unknown: its call was not finished"} ${formatTime(askedAt)}${askedText(tried)}`,
    ...(detail === null ? [] : [proseLine(detail)]),
    ...shown,
    ...triedUsageLines(tried),
    ...accepted,
  ];
}

/** What differed from the config then, and whether it is the pipeline's definition now. */
function askedText({ overridden, isCurrent }: RowTry): string {
  const changed = [
    ...(overridden.model === true ? ["another model"] : []),
    ...(overridden.prompt === undefined ? [] : [proseLine(overridden.prompt)]),
  ];
  if (changed.length > 0) return `, with ${changed.join(" and ")}`;
  return isCurrent ? "" : ", by another config";
}

function triedUsageLines(tried: RowTry): string[] {
  const { inputTokens, outputTokens, costNanoUsd, reservedNanoUsd, model, latencyMs } = tried;
  if (reservedNanoUsd > 0) return [`${proseLine(model)}: counted at up to ${formatUsd(reservedNanoUsd)}`];
  if (inputTokens + outputTokens === 0) return [];
  const cost = costNanoUsd === null ? "unknown price" : formatUsd(costNanoUsd);
  const took = latencyMs === null ? "" : `, ${formatCount(latencyMs)} ms`;
  const tokens = `${formatCount(inputTokens)} input and ${formatCount(outputTokens)} output tokens`;
  return [`${proseLine(model)}: ${tokens}, ${cost} live${took}`];
}

export function olderTries({ triesMore }: RowStory): string[] {
  return triesMore === 0 ? [] : [`${formatCount(triesMore)} more`];
}

/** As in `try --json`, with money in dollars. */
export function rowTryJson({ costNanoUsd, reservedNanoUsd, cells, answer, ...tried }: RowTry): object {
  return {
    ...tried,
    ...(cells === null ? { text: answer } : { answer: cells }),
    costUsd: costNanoUsd === null ? null : costNanoUsd / 1e9,
    reservedUsd: reservedNanoUsd / 1e9,
  };
}
