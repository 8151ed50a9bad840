/** Owns what fixes a failed row, by its reason: one sentence, with the command or the key of the config. Pure. */
import type { PipelineConfig } from "../pipeline.js";
import type { AttemptOutcome } from "./what-next.js";

/** `request` is unknown if the config lacks the pipeline. */
export interface FixFor {
  readonly name: string;
  readonly request?: Pick<PipelineConfig["request"], "maxOutputTokens"> | undefined;
}

type Fix = (pipeline: FixFor) => string;

const again = (reason: AttemptOutcome, name: string) => `rowmill retry ${name} --reason ${reason}`;
const unchanged = (reason: AttemptOutcome, name: string) => `To send them again unchanged: ${again(reason, name)}`;
const provider = (reason: AttemptOutcome): Fix => {
  return ({ name }) => `When the provider works again, send them again: ${again(reason, name)}`;
};

/** What to change after a failure of the model. A changed request is sent again without a command. */
export const CHANGES = {
  truncated: ({ name, request }: FixFor) => {
    const now = request === undefined ? "" : `now ${request.maxOutputTokens}; `;
    return `Raise pipelines.${name}.request.maxOutputTokens (${now}reasoning counts), or lower request.reasoningEffort`;
  },
  invalid: ({ name }: FixFor) =>
    `Say in pipelines.${name}.request what the answer must look like, describe its fields in answer, ` +
    "loosen answer or validate, or change request.model",
  refused: ({ name }: FixFor) => `Change the messages or the model: pipelines.${name}.request`,
} as const satisfies Partial<Record<AttemptOutcome, Fix>>;

const FIXES = {
  truncated: (pipeline) => `${CHANGES.truncated(pipeline)}, and start rowmill up again.`,
  invalid: (pipeline) =>
    `${CHANGES.invalid(pipeline)}, and start rowmill up again. ${unchanged("invalid", pipeline.name)}`,
  refused: (pipeline) =>
    `${CHANGES.refused(pipeline)}, and start rowmill up again. ${unchanged("refused", pipeline.name)}`,
  unwritable: ({ name }) =>
    "Change the target so that it accepts the answer. " +
    `Then write the kept answer, at no cost: ${again("unwritable", name)}`,
  permanent: ({ name }) =>
    `Change what the provider refused: in the row, or in pipelines.${name}.request. ` + unchanged("permanent", name),
  batchRefused: provider("batchRefused"),
  rateLimited: provider("rateLimited"),
  expired: provider("expired"),
  cancelled: provider("cancelled"),
  transient: provider("transient"),
  missing: provider("missing"),
  empty: ({ name }) =>
    `Fill the columns that pipelines.${name}.request.user reads, or leave such rows out with source.where.`,
  unrenderable: ({ name }) =>
    `Fix the function in pipelines.${name}.request and start rowmill up again. Then: ${again("unrenderable", name)}`,
  tooLarge: ({ name }) =>
    `Remove a column from pipelines.${name}.source.columns, or store a shorter text in another column.`,
} as const satisfies Partial<Record<AttemptOutcome, Fix>>;

export type FailedReason = keyof typeof FIXES;
/** All outcomes after which a row may stay failed. */
export const FAILED_REASONS = Object.keys(FIXES).filter((reason): reason is FailedReason =>
  Object.hasOwn(FIXES, reason),
);

/** The reason of a row that you dropped with its batch. */
export const DROPPED = "dropped";
/** What `failures` also lists: such rows, and rows without a usable key. */
export const OTHER_REASONS = [DROPPED, "refusedKey"] as const;

/** `reason`: an outcome, or `refusedKey` for a row whose key cannot name a request, or a newer version's word. */
export function fixOf(reason: string, pipeline: FixFor): string {
  if (reason === DROPPED) return `To send these rows anyway: rowmill retry ${pipeline.name} --reason dropped`;
  const known = FAILED_REASONS.find((each) => each === reason);
  if (known !== undefined) return FIXES[known](pipeline);
  return reason === "refusedKey"
    ? `Give such rows a key of at most 1 kB without nulls, or exclude them in pipelines.${pipeline.name}.source.where.`
    : `See what happened: rowmill show ${pipeline.name} KEY`;
}
