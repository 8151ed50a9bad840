/** How deliveries to targets elsewhere look in `rowmill status`: apart from rows, whose answers are there. Pure. */
import { proseLine } from "../../model/words/one-line.js";
import { lostText, waitingText } from "../../model/words/undelivered-text.js";
import type { Standing } from "../../store/deliveries/deliverers.js";
import { counted, fit, formatCount } from "../screen/text.js";

const REASON_CHARACTERS = 160;

/** A paragraph for each pipeline, and one for each thing that you may want to act on. */
export function deliveryLines(standings: readonly Standing[]): string[] {
  return standings.flatMap((standing) => [
    "",
    proseLine(`${standing.pipeline}: ${countsText(standing)}`),
    ...deliveryProblems(standing).flatMap(({ sign, text }) => ["", proseLine(`${sign} ${text}`)]),
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
}

export function deliveryProblems(standing: Standing): readonly DeliveryProblem[] {
  const { pipeline, reason, trouble } = standing;
  const short = {
    ...standing,
    reason: reason === null ? null : fit(reason, REASON_CHARACTERS),
    trouble: trouble === null ? null : fit(trouble, REASON_CHARACTERS),
  };
  const [waits, lost] = [waitingText(short), lostText(short)];
  return [
    ...(waits === null ? [] : [{ sign: "!", text: `${pipeline}: ${waits}` } as const]),
    ...(lost === null ? [] : [{ sign: "✗", text: `${pipeline}: ${lost}` } as const]),
  ];
}
