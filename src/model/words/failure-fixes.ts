/** What fixes a failure, by its reason: one sentence for a person, with the command or the key of the config. Pure. */
import type { PipelineConfig } from "../pipeline.js";
import type { AttemptOutcome } from "./what-next.js";

/** A pipeline by its name; `request` is not known where the config lacks the pipeline. */
export interface FixFor {
  readonly name: string;
  readonly request?: Pick<PipelineConfig["request"], "maxOutputTokens"> | undefined;
}

type Fix = (pipeline: FixFor) => string;

const again = (reason: AttemptOutcome, name: string) => `rowmill retry ${name} --reason ${reason}`;
const provider = (reason: AttemptOutcome): Fix => {
  return ({ name }) => `When the provider is well again, ask again: ${again(reason, name)}`;
};

/** Of the model's own failures, what to change; a changed request is asked again without a command. */
export const CHANGES = {
  truncated: ({ name, request }: FixFor) => {
    const now = request === undefined ? "" : `now ${request.maxOutputTokens}; `;
    return `Raise pipelines.${name}.request.maxOutputTokens (${now}what a reasoning model thinks counts), or lower request.reasoningEffort`;
  },
  invalid: ({ name }: FixFor) =>
    `Say in pipelines.${name}.request what the answer must look like, describe the fields of answer, loosen answer or validate, or change request.model`,
  refused: ({ name }: FixFor) => `Change the messages or the model in pipelines.${name}.request`,
} as const satisfies Partial<Record<AttemptOutcome, Fix>>;

const FIXES = {
  truncated: (pipeline) => `${CHANGES.truncated(pipeline)}, and start rowmill up again.`,
  invalid: (pipeline) =>
    `${CHANGES.invalid(pipeline)}, and start rowmill up again. As it is: ${again("invalid", pipeline.name)}`,
  refused: (pipeline) =>
    `${CHANGES.refused(pipeline)}, and start rowmill up again. As it is: ${again("refused", pipeline.name)}`,
  unwritable: ({ name }) =>
    `Change the target so that it takes the answer; then write what is kept, at no cost: ${again("unwritable", name)}`,
  permanent: ({ name }) =>
    `Change what the provider refuses in pipelines.${name}.request, or in the row. As it is: ${again("permanent", name)}`,
  batchRefused: provider("batchRefused"),
  rateLimited: provider("rateLimited"),
  expired: provider("expired"),
  cancelled: provider("cancelled"),
  transient: provider("transient"),
  missing: provider("missing"),
  empty: ({ name }) =>
    `Fill the columns that pipelines.${name}.request.user reads; leave such rows out with source.where.`,
  unrenderable: ({ name }) =>
    `Fix the function in pipelines.${name}.request, and start rowmill up again; then: ${again("unrenderable", name)}`,
  tooLarge: ({ name }) =>
    `Leave a column out of pipelines.${name}.source.columns, or keep a shorter text in a column of its own.`,
} as const satisfies Partial<Record<AttemptOutcome, Fix>>;

export type FailedReason = keyof typeof FIXES;
/** Every outcome after which a row may stay failed. */
export const FAILED_REASONS = Object.keys(FIXES).filter((reason): reason is FailedReason =>
  Object.hasOwn(FIXES, reason),
);

/** `reason`: an outcome, or `refusedKey` for a row whose key can name no request. A newer version's is not known. */
export function fixOf(reason: string, pipeline: FixFor): string {
  const known = FAILED_REASONS.find((each) => each === reason);
  if (known !== undefined) return FIXES[known](pipeline);
  return reason === "refusedKey"
    ? `Give such rows a whole key of at most 1 kB, or leave them out with pipelines.${pipeline.name}.source.where.`
    : `See what happened: rowmill show ${pipeline.name} KEY`;
}
