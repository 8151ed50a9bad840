/** How deliveries to targets elsewhere look in `rowmill status` and `rowmill show`: apart from rows. Pure. */
import { proseLine } from "../../model/words/one-line.js";
import { lostText, waitingText } from "../../model/words/undelivered-text.js";
import type { RowDelivery, Standing } from "../../store/deliveries/deliverers.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, fit, formatCount, formatTime } from "../screen/text.js";

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

/** Of one row, for `rowmill show`. */
export function rowDeliveryLines(delivery: RowDelivery, { ago }: Pick<Terminal, "ago">): string[] {
  const { target, state, deleted, fence, failures, reason, changedAt, nextAt } = delivery;
  const what = deleted ? "that it has no answer anymore: " : "";
  const since = ago(changedAt);
  const changed = since === null ? formatTime(changedAt) : `${formatTime(changedAt)} (${since})`;
  const next = nextAt === null ? [] : [`next try ${formatTime(nextAt)}`];
  const refusals = failures === 0 ? [] : [`refused ${failures === 1 ? "once" : `${failures} times`}`];
  return [
    proseLine(`${what}${[state, ...refusals, ...next].join(", ")}`),
    ...(reason === null ? [] : [proseLine(`reason: ${reason}`)]),
    proseLine(`to ${target}, with the fence ${fence}, since ${changed}`),
  ];
}
