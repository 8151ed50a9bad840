/** How deliveries to targets elsewhere look in `rowmill status`: apart from rows, whose answers are there. Pure. */
import { asSentence } from "../../model/words/as-sentence.js";
import { proseLine } from "../../model/words/one-line.js";
import type { Standing } from "../../store/deliveries/deliverers.js";
import { counted, fit, formatCount, formatWait } from "../screen/text.js";

const REASON_CHARACTERS = 160;

/** A paragraph for each pipeline, and one for each thing that you may want to act on. */
export function deliveryLines(standings: readonly Standing[]): string[] {
  return standings.flatMap((standing) => [
    "",
    proseLine(`${standing.pipeline}: ${countsText(standing)}`),
    ...deliveryProblems(standing).flatMap(({ sign, text, command }) => [
      "",
      proseLine(`${sign} ${standing.pipeline}: ${asSentence(text)}${command === null ? "" : ` ${command}`}`),
    ]),
  ]);
}

function countsText({ target, waiting, delivered, stale, failed }: Standing): string {
  const others = [
    `${formatCount(waiting)} waiting`,
    ...(stale === 0 ? [] : [`${formatCount(stale)} stale`]),
    ...(failed === 0 ? [] : [`${formatCount(failed)} failed`]),
  ];
  return `${counted(delivered, "answer")} delivered to ${target}, ${others.join(", ")}`;
}

export interface DeliveryProblem {
  readonly sign: "!" | "✗";
  readonly text: string;
  /** Null: time helps. */
  readonly command: string | null;
}

export function deliveryProblems(standing: Standing): readonly DeliveryProblem[] {
  const { pipeline, target, trouble, nextMs, stale, failed, reason } = standing;
  const again = nextMs === null ? "" : `, next try ${nextMs <= 0 ? "now" : `in ${formatWait(nextMs)}`}`;
  const left = stale + failed;
  return [
    ...(trouble === null
      ? []
      : [
          {
            sign: "!",
            text: `${target} takes no answers${again}: ${fit(trouble, REASON_CHARACTERS)}`,
            command: null,
          } as const,
        ]),
    ...(left === 0
      ? []
      : [
          {
            sign: "✗",
            text: `${counted(left, "answer")} not delivered to ${target}: ${fit(reason ?? "", REASON_CHARACTERS)}`,
            command: `To deliver them again: rowmill deliver ${pipeline} --replay`,
          } as const,
        ]),
  ];
}
