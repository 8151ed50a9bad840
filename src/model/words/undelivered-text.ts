/** Says why answers did not reach a target elsewhere. Pure. */
export interface Undelivered {
  readonly pipeline: string;
  readonly target: string;
  readonly waiting: number;
  readonly stale: number;
  readonly failed: number;
  /** Why the last one was refused, or is stale. Null: none was. */
  readonly reason: string | null;
  /** What the last write failed with as a whole; null: it did not. */
  readonly trouble: string | null;
  /** It has them all, and could not finish with them. */
  readonly unfinished: boolean;
  /** Until the next try, also to finish; not above 0: now. Null: nothing waits. */
  readonly nextMs: number | null;
}

/** Null: everything was delivered. */
export function undeliveredText(of: Undelivered): string | null {
  return waitingText(of) ?? lostText(of);
}

/** Time may help. Null: nothing waits for a refusal or a target in trouble. */
export function waitingText(of: Undelivered): string | null {
  const { target, waiting, trouble, reason, unfinished, nextMs } = of;
  if (unfinished) return `${target} could not finish, next try ${soon(nextMs ?? 0)}: ${trouble ?? ""}`;
  const why = trouble ?? reason;
  if (waiting === 0 || why === null) return null;
  return `${answers(waiting)} not delivered to ${target} yet, next try ${soon(nextMs ?? 0)}: ${why}`;
}

/** Only you can help. Null: none is stale or failed. */
export function lostText({ pipeline, target, stale, failed, reason }: Undelivered): string | null {
  const left = stale + failed;
  if (left === 0) return null;
  const why = (reason ?? "").replace(/[.]$/, "");
  return `${answers(left)} not delivered to ${target}: ${why}. Deliver again: rowmill deliver ${pipeline} --replay`;
}

function answers(count: number): string {
  return `${count.toLocaleString("en-US")} ${count === 1 ? "answer was" : "answers were"}`;
}

function soon(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 1) return "now";
  return seconds < 120 ? `in ${seconds} s` : `in ${Math.round(seconds / 60)} min`;
}
