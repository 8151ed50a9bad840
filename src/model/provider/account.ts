/** Owns what to do about a batch of another account, in words and as variables. Pure. */
import type { Dialect } from "./provider.js";

export type AccountWords = Pick<Dialect, "name" | "title" | "accountText" | "accountVariables">;

export interface HeldBatch {
  readonly id: string;
  readonly pipeline: string;
  readonly provider: string;
  /** The account that it was sent with. */
  readonly account: string;
  readonly presentAccount: string;
}

/** `words`: of the batch's provider, and of the one that its pipeline uses now. */
export function heldText(
  held: HeldBatch,
  words: { readonly of: AccountWords; readonly present: AccountWords },
): { readonly wrong: string; readonly fixes: readonly string[] } {
  const { of, present } = words;
  return {
    wrong:
      `Batch ${held.id} of ${held.pipeline} was sent with ${of.accountText(held.account)}, but the worker uses ` +
      `${present.accountText(held.presentAccount)}. Its rows wait; all others continue.`,
    fixes: [
      of.name === present.name
        ? `To collect it, start rowmill up with that account's ${variablesText(held, of)}.`
        : `To collect it, set the provider of ${held.pipeline} back to ${of.title}, and start rowmill up.`,
      `To give it up: ${abandonCommand(held)}`,
    ],
  };
}

/** Secrets last, without their values. */
function variablesText({ account, presentAccount }: HeldBatch, words: AccountWords): string {
  const all = words.accountVariables(account, presentAccount);
  const values = all.filter((variable) => variable.includes("="));
  const secrets = all.filter((variable) => !variable.includes("="));
  return [values.join(" "), ...secrets].filter((part) => part !== "").join(" and ");
}

export function abandonCommand({ id }: Pick<HeldBatch, "id">): string {
  return `rowmill cancel --abandon ${id}`;
}
