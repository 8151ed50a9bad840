/**
 * Special texts by which a message chooses how the demo model ends, so that one row of data makes each ending:
 * `[[demo:refuse]]`, `[[demo:error 500]]`, `[[demo:invalid-once]]`. Pure.
 *
 * A text with `-once` has its effect when the model first sees that message, and none afterwards.
 */

const demoEndings = [
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
  /** As it is journalled: `error-once 429`. */
  readonly name: string;
}

const ERROR_STATUS_DEFAULT = 500;
const pattern = new RegExp(`\\[\\[demo:(${demoEndings.join("|")})(-once)?(?: ([45]\\d\\d))?\\]\\]`, "g");

/** The first special text of the message, or null. */
export function behaviourOf(text: string): DemoBehaviour | null {
  if (!text.includes("[[demo:")) return null;
  for (const [, word, once, digits] of text.matchAll(pattern)) {
    const ending = demoEndings.find((known) => known === word);
    if (ending === undefined) continue;
    const status = digits === undefined ? ERROR_STATUS_DEFAULT : Number(digits);
    const name = `${ending}${once ?? ""}${digits === undefined ? "" : ` ${digits}`}`;
    return { ending, status, once: once !== undefined, name };
  }
  return null;
}

/** The message without its special texts, so that they do not show up in answers. */
export function withoutBehaviour(text: string): string {
  return text.includes("[[demo:") ? text.replaceAll(pattern, " ").trim() : text;
}
