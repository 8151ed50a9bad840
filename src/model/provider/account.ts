/** What a batch of another account waits for, in words and as variables. Pure. */
import type { Dialect } from "./provider.js";

/** What says an account in words. */
export type AccountWords = Pick<Dialect, "name" | "title" | "accountText" | "accountVariables">;

export interface HeldBatch {
  readonly id: string;
  readonly pipeline: string;
  /** The name of the provider that has it. */
  readonly provider: string;
  /** That it was sent with. */
  readonly account: string;
  readonly presentAccount: string;
}

/** `words`: of the batch's provider, and of the one that its pipeline asks now. */
export function heldText(
  held: HeldBatch,
  words: { readonly of: AccountWords; readonly present: AccountWords },
): { readonly wrong: string; readonly mends: readonly string[] } {
  const { of, present } = words;
  return {
    wrong: `Batch ${held.id} of ${held.pipeline} was sent with ${of.accountText(held.account)}, but the worker is set up for ${present.accountText(held.presentAccount)}: its rows wait, the others go on.`,
    mends: [
      of.name === present.name
        ? `To collect it, start rowmill up with ${variablesText(held, of)} of that account.`
        : `To collect it, give ${held.pipeline} its former provider in the config, ${of.title}, and start rowmill up.`,
      `To give it up: ${abandonCommand(held)}`,
    ],
  };
}

/** Secrets come last, without their values. */
function variablesText({ account, presentAccount }: HeldBatch, words: AccountWords): string {
  const all = words.accountVariables(account, presentAccount);
  const values = all.filter((variable) => variable.includes("="));
  const secrets = all.filter((variable) => !variable.includes("="));
  return [values.join(" "), ...secrets].filter((part) => part !== "").join(" and ");
}

export function abandonCommand({ id }: Pick<HeldBatch, "id">): string {
  return `rowmill cancel --abandon ${id}`;
}
