/** Owns the words for a source elsewhere: when it was read, what waits, and what is wrong. Pure. */
import { asSentence } from "../../model/words/as-sentence.js";
import type { SyncOverview } from "../../store/syncs/syncs.js";
import { counted, fit, formatCount, formatDuration, formatTime, formatWait } from "../screen/text.js";

const TROUBLE_CHARACTERS = 300;

/** One line, and another for what is wrong. */
export function syncText(sync: SyncOverview): string[] {
  const { pipeline, fullRows, endedAt, nextMs } = sync;
  const source = fullRows === null ? "its source" : `its source of ${counted(fullRows, "row")}`;
  const last = endedAt === null ? "was not read to its end yet" : `was last read at ${formatTime(endedAt)}`;
  const next = nextMs < 500 ? "its next reading is due" : `next reading in ${formatWait(nextMs)}`;
  return [`${pipeline}: ${underWay(sync) ?? `${source} ${last}; ${next}`}`, ...problems(sync)];
}

/** Null: nothing is. */
function underWay({ phase, isFull, rows, gone, failures }: SyncOverview): string | null {
  if (phase === "deleting") return `deleting ${counted(gone, "row")} that vanished from its source`;
  if (phase === "idle" || failures > 0) return null;
  return `reading ${isFull ? "all rows" : "changed rows"} of its source, ${formatCount(rows)} so far`;
}

function problems({ pipeline, trouble, troubleMs, failures, nextMs, held, gone }: SyncOverview): string[] {
  const why = trouble === null ? "" : asSentence(fit(trouble, TROUBLE_CHARACTERS));
  const since = failures > 1 && troubleMs !== null ? ` ${failures} times in ${formatDuration(troubleMs)}` : "";
  const next = nextMs < 500 ? "The next try is due." : `Next try in ${formatWait(nextMs)}.`;
  return [
    ...(trouble === null ? [] : [`! ${pipeline}: its source could not be read${since}: ${why} ${next}`]),
    ...(held
      ? [
          `! ${pipeline}: ${counted(gone, "row")} vanished from its source. If that is right: ` +
            `rowmill sync ${pipeline} --accept-deletions`,
        ]
      : []),
  ];
}
