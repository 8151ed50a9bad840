/** Owns how refused pushes are described, with what to do about them. Pure. */
import { counted } from "./counted.js";

export interface RefusedPushFacts {
  /** Null: the caller was not known. */
  readonly pipeline: string | null;
  /** `429: …` as it was answered, or what was wrong with the rows: one of a few texts, without values. */
  readonly reason: string;
  readonly pushes: number;
  /** 0: the whole push was refused, unread. */
  readonly rows: number;
  /** A key, or a part of what came. */
  readonly example: string | null;
  /** From a source that Rowmill reads: no one pushed these rows. */
  readonly isRead: boolean;
}

export interface RefusedPushText {
  /** Without the pipeline, and without a full stop. */
  readonly wrong: string;
  readonly fix: string;
}

/** By the status that was answered. */
const FIXES: Readonly<Record<string, string>> = {
  "400": "Fix the sender: its body is not JSON that Rowmill can read",
  "413": "Send smaller pushes, or send the rows as lines (application/x-ndjson)",
  "415": "Send the body with gzip, or as it is",
  "500": "See the log of rowmill up, then send these rows again; rows that arrived count once",
  "429": "Send these rows again; rows that arrived count once",
  "503": "Check the database with rowmill doctor, then send these rows again; rows that arrived count once",
};
const FIX_TOKEN = "Compare the sender's token with the valid ones: rowmill tokens";
const FIX_SOURCE = "Fix these rows there; the next reading of them takes them in";
const FIX_ROWS = "Fix these rows at the sender, and send them again";

export function refusedPushText(refusal: RefusedPushFacts): RefusedPushText {
  const { pipeline, reason, pushes, rows, example } = refusal;
  const [, status, answered] = /^([45]\d\d): (.*)$/s.exec(reason) ?? [];
  const why = (answered ?? reason).replace(/[.]$/, "");
  const what =
    rows === 0
      ? `${counted(pushes, "push")} refused${status === undefined ? "" : ` with status ${status}`}`
      : `${counted(rows, "row")} of ${counted(pushes, "push")} refused`;
  const such = example === null ? "" : `, such as ${JSON.stringify(example)}`;
  if (refusal.isRead) return { wrong: `${counted(rows, "row")} of its source refused${such}: ${why}`, fix: FIX_SOURCE };
  const otherwise = rows > 0 ? FIX_ROWS : pipeline === null ? FIX_TOKEN : "Send these rows again";
  return { wrong: `${what}${such}: ${why}`, fix: FIXES[status ?? ""] ?? otherwise };
}
