/** Owns the options that choose failed rows, of `failures` and `retry`: `--reason`, `--key`, `--where`. Pure. */
import { RowmillError } from "../model/errors.js";
import { nearMatch } from "../model/words/near-match.js";
import type { ProjectOptions } from "./cli.js";

const KEYS_MAX = 1_000;

export interface WhichRows {
  readonly reason?: readonly string[];
  readonly key?: readonly string[];
  readonly where?: string;
}

export type WhichRowsOptions = ProjectOptions & WhichRows;

export function isFiltered({ reason, key, where }: WhichRows): boolean {
  return reason !== undefined || key !== undefined || where !== undefined;
}

/** `pipeline`: as named; `reasons`: those that rows may have. @throws RowmillError `usage` */
export function checkWhichRows(
  { reason = [], key = [], where }: WhichRows,
  { command, pipeline, reasons }: { command: string; pipeline: string | undefined; reasons: readonly string[] },
): void {
  const unknown = reason.find((each) => !reasons.includes(each));
  if (unknown !== undefined) throw unknownReason(unknown, reasons);
  if (pipeline === undefined && key.length > 0)
    throw new RowmillError("usage", "--key: name the pipeline of the row.", {
      hints: [`For example: rowmill ${command} PIPELINE --key KEY`],
    });
  if (pipeline === undefined && where !== undefined)
    throw new RowmillError("usage", "--where: name the pipeline whose table it is about.", {
      hints: [`For example: rowmill ${command} PIPELINE --where 'year > 2000'`],
    });
  if (where?.trim() === "")
    throw new RowmillError("usage", "--where: expected a condition in SQL, found nothing.", {
      hints: [`For example: rowmill ${command} ${pipeline ?? "PIPELINE"} --where 'year > 2000'`],
    });
  if (key.length > KEYS_MAX)
    throw new RowmillError("usage", `--key: expected at most ${KEYS_MAX} keys per command, found ${key.length}.`, {
      hints: ["Name them with a condition instead, such as --where 'id in (1, 2, 3)'."],
    });
}

function unknownReason(reason: string, reasons: readonly string[]): RowmillError {
  const near = nearMatch(reason, reasons);
  const meant = near === null ? "." : `; did you mean "${near}"?`;
  return new RowmillError("usage", `--reason: there is no reason "${reason}"${meant}`, {
    hints: [`There are: ${reasons.join(", ")}.`, "See those of your rows: rowmill failures"],
  });
}
