/**
 * Special texts by which a message chooses how the demo model ends, so that one row of data makes each ending:
 * `[[demo:refuse]]`, `[[demo:error 500]]`, `[[demo:invalid-once]]`. Pure.
 *
 * A text with `-once` has its effect when the model first sees that message, and none afterwards.
 */

export const demoEndings = [
  "refuse",
  "invalid",
  "mismatch",
  "error",
  "truncate",
  "empty",
  "no-choices",
  "filter",
  "nul",
] as const;
export type DemoEnding = (typeof demoEndings)[number];

export interface DemoBehaviour {
  readonly ending: DemoEnding;
  /** Of `error`: the HTTP status. */
  readonly status: number;
  readonly once: boolean;
  /** As it is journalled: `error 429-once`. */
  readonly name: string;
}

const ERROR_STATUS_DEFAULT = 500;
const pattern = /\[\[demo:([a-z-]+?)(?: ([45]\d\d))?(-once)?\]\]/g;

/** The first special text of the message, or null. */
export function behaviourOf(text: string): DemoBehaviour | null {
  if (!text.includes("[[demo:")) return null;
  for (const [, word, digits, once] of text.matchAll(pattern)) {
    const ending = demoEndings.find((known) => known === word);
    if (ending === undefined) continue;
    const status = digits === undefined ? ERROR_STATUS_DEFAULT : Number(digits);
    const name = `${ending}${digits === undefined ? "" : ` ${digits}`}${once ?? ""}`;
    return { ending, status, once: once !== undefined, name };
  }
  return null;
}

/** The message without its special texts, so that they do not show up in answers. */
export function withoutBehaviour(text: string): string {
  return text.includes("[[demo:") ? text.replaceAll(pattern, " ").trim() : text;
}
