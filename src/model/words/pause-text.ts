/** Why a pipeline is paused, always with the command that ends it. Pure. */

export interface PauseFacts {
  readonly name: string;
  /** `person`: its reason is what someone typed. */
  readonly pauseKind: string | null;
  readonly pauseReason: string | null;
}

const HAS_COMMAND = /\browmill [a-z]+/;

/** Null: it is not paused. */
export function pauseText({ name, pauseKind, pauseReason }: PauseFacts): string | null {
  if (pauseReason === null) return null;
  if (pauseKind !== "person" && HAS_COMMAND.test(pauseReason)) return pauseReason;
  const reason = /[.!?…]$/.test(pauseReason) ? pauseReason : `${pauseReason}.`;
  return `${reason} ${wayOn(name, pauseKind)}`;
}

function wayOn(name: string, kind: string | null): string {
  if (kind === "person") return `Resume it: rowmill resume ${name}`;
  if (kind === "budget") return "Then start it again: rowmill up";
  if (kind === "deployment") return "See what Rowmill knows about it: rowmill deployment";
  return `To try now: rowmill resume ${name}`;
}

/** For a line without room for the reason. */
export function pauseCommand({ name, pauseKind }: Pick<PauseFacts, "name" | "pauseKind">): string {
  if (pauseKind === "deployment") return "rowmill deployment";
  // A raised budget counts from the next start on; resumed before, it would pause again.
  return pauseKind === "budget" ? "rowmill up" : `rowmill resume ${name}`;
}
