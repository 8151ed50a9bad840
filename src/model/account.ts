/** An account in words, and what a batch of another account waits for, in words and as variables. Pure. */

/** An account for people: `https://api.openai.com/v1, organization org, project p`; what is not set is left out. */
export function accountText(account: string): string {
  const [baseUrl = "", organization = "", project = ""] = account.split("|");
  const parts = [baseUrl, organization && `organization ${organization}`, project && `project ${project}`];
  return parts.filter((part) => part !== "").join(", ");
}

export interface HeldBatch {
  readonly id: string;
  readonly pipeline: string;
  /** That it was sent with. */
  readonly account: string;
  readonly presentAccount: string;
}

/** In the order of an account's parts; the key is no part of it, since it is a secret. */
const VARIABLES = ["OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"] as const;

/** As for a shell: an empty variable counts as absent. `OPENAI_API_KEY` comes last, without its value. */
export function missingVariables(held: Pick<HeldBatch, "account" | "presentAccount">): string[] {
  const present = held.presentAccount.split("|");
  const parts = held.account.split("|");
  const differing = VARIABLES.flatMap((name, index) =>
    parts[index] === present[index] ? [] : [`${name}=${parts[index] ?? ""}`],
  );
  return [...differing, "OPENAI_API_KEY"];
}

export function heldText(held: HeldBatch): { readonly wrong: string; readonly mends: readonly string[] } {
  const variables = missingVariables(held).slice(0, -1).join(" ");
  return {
    wrong: `Batch ${held.id} of ${held.pipeline} was sent with ${accountText(held.account)}, but the worker is set up for ${accountText(held.presentAccount)}: its rows wait, the others go on.`,
    mends: [
      `To collect it, start rowmill up with ${variables} and OPENAI_API_KEY of that account.`,
      `To give it up: ${abandonCommand(held)}`,
    ],
  };
}

export function abandonCommand({ id }: Pick<HeldBatch, "id">): string {
  return `rowmill cancel --abandon ${id}`;
}
