/**
 * Owns what needs your attention on a frame of `rowmill status --watch`: what is wrong and the command that helps, as
 * long as the frame has room for. Pure.
 */
import { undecidedWords } from "../screen/changed-rows.js";
import { layOut } from "../screen/lay-out.js";
import { counted, fit, formatCount, formatDuration, formatWait, shortId } from "../screen/text.js";
import { pauseCommand } from "../../model/words/pause-text.js";
import { refusedPushText } from "../../model/words/refused-push-text.js";
import { proseLine } from "../../model/words/one-line.js";
import { deliveryProblems } from "./delivery-text.js";
import { changedWorkers, type StatusFacts } from "./status-text.js";

/** Where less room is left for the reason, the command gets a line of its own. */
const REASON_COLUMNS_MIN = 24;
/** Of a problem, where there is room for all of it. */
const PROBLEM_CHARACTERS = 300;
/** Of a reason: what it says to do, which stands beside it. */
const COMMAND_AT_END = /[.,;] [^.,;]*: rowmill [^:]*$/;

interface Problem {
  readonly sign: "!" | "✗";
  readonly text: string;
  readonly command: string;
}

export interface ProblemRoom {
  readonly columns: number;
  /** Lines for all of them, */
  readonly lines: number;
  /** and as many more as nothing but events would use. */
  readonly spare: number;
  /** Spells commands as the reader types them: before a line is measured. */
  readonly spell: (text: string) => string;
}

/** Each cut to a line with its command; as there is room, the command on a line of its own, or all of the words. */
export function problemLines(facts: StatusFacts, { columns, lines, spare, spell }: ProblemRoom): string[] {
  const problems = problemsOf(facts).map(({ sign, text, command }) => ({
    words: spell(proseLine(`${sign} ${text}`)),
    command: spell(command),
  }));
  const brief = problems.map((problem) => onOneLine(problem, columns));
  if (brief.flat().length > lines) return cutGroups(brief, lines, spell);
  const longer = grown(brief, { by: problems.map((problem) => onTwoLines(problem, columns)), lines });
  const whole = problems.map((problem) => inFull(problem, columns));
  return grown(longer, { by: whole, lines: Math.max(lines, lines + spare) }).flat();
}

type Groups = readonly (readonly string[])[];

/** Each in its longer form, from the first on, as long as all of them fit. */
function grown(groups: Groups, { by, lines }: { readonly by: Groups; readonly lines: number }): Groups {
  let left = lines - groups.flat().length;
  return groups.map((group, at) => {
    const longer = by[at] ?? group;
    const more = longer.length - group.length;
    if (more > left) return group;
    left -= more;
    return longer;
  });
}

interface ProblemWords {
  readonly words: string;
  readonly command: string;
}

/** On two, where the terminal is too narrow. The command is never cut. */
function onOneLine(problem: ProblemWords, columns: number): string[] {
  const { words, command } = problem;
  const tail = ` | ${command}`;
  const room = columns - tail.length;
  return room < REASON_COLUMNS_MIN ? [fit(words, columns), `  ${command}`] : [fit(words, room) + tail];
}

function onTwoLines({ words, command }: ProblemWords, columns: number): string[] {
  const line = `${words} | ${command}`;
  return line.length <= columns ? [line] : [fit(words, columns), `  ${command}`];
}

function inFull({ words, command }: ProblemWords, columns: number): string[] {
  const lines = layOut(fit(words, PROBLEM_CHARACTERS), columns);
  const last = `${lines.at(-1) ?? ""} | ${command}`;
  return last.length <= columns ? [...lines.slice(0, -1), last] : [...lines, `  ${command}`];
}

/** The last line shown says how many are not. Lines of one stay together. */
function cutGroups(groups: Groups, room: number, spell: ProblemRoom["spell"]): string[] {
  let shown = 0;
  while (groups.slice(0, shown + 1).flat().length < room) shown += 1;
  const rest = groups.length - shown;
  return [...groups.slice(0, shown).flat(), spell(`  … ${formatCount(rest)} more: rowmill status`)].slice(0, room);
}

function problemsOf(facts: StatusFacts): Problem[] {
  const status = "rowmill status";
  return [
    ...(facts.workers.length > 0
      ? []
      : [{ sign: "!", text: "No worker is running, so nothing moves", command: "rowmill up" } as const]),
    ...changedWorkers(facts).map((text): Problem => ({ sign: "!", text, command: "rowmill up" })),
    ...facts.pipelines.flatMap((pipeline): Problem[] => {
      const { name, paused, pauseReason } = pipeline;
      if (paused === null) return [];
      const command = pauseReason === null ? lastCommand(paused) : pauseCommand(pipeline);
      const reason = paused.replace(COMMAND_AT_END, "");
      return [{ sign: "!", text: `${name}: ${pauseReason === null ? "" : "paused: "}${reason}`, command }];
    }),
    ...facts.pipelines.flatMap(({ name, heldBack }): Problem[] =>
      heldBack === null
        ? []
        : [{ sign: "!", text: `${name}: ${heldBack.replace(COMMAND_AT_END, "")}`, command: status }],
    ),
    ...facts.progress.flatMap((batch): Problem[] => {
      const { pipeline, id, trouble, failures } = batch;
      if (trouble === null) return [];
      const { message, sinceMs } = trouble;
      const tries =
        failures > 1 ? `failed ${counted(failures, "time")} in ${formatDuration(sinceMs)}` : "the last try failed";
      const text = `${pipeline} ${shortId(id)}: ${tries}: ${message}`;
      return [{ sign: "!", text, command: status }];
    }),
    ...facts.waits.map(({ place, model, waitMs, message }): Problem => ({
      sign: "!",
      text: `Nothing is sent to ${place} for ${model}, next try in ${formatWait(waitMs)}: ${message}`,
      command: status,
    })),
    ...facts.refusedPushes.map((refusal): Problem => ({
      sign: "!",
      text: `${refusal.pipeline ?? "Unknown caller"}: ${refusedPushText(refusal).wrong}`,
      command: status,
    })),
    ...facts.deliveries.flatMap((standing) =>
      deliveryProblems(standing).map(({ sign, text }): Problem => ({
        sign,
        text: text.replace(COMMAND_AT_END, ""),
        command: sign === "!" ? status : lastCommand(text),
      })),
    ),
    ...facts.held.map(({ wrong }): Problem => ({ sign: "!", text: wrong, command: status })),
    ...facts.overdue.map(({ pipeline, providerBatchId, windowHours }): Problem => ({
      sign: "!",
      text: `${pipeline}: ${providerBatchId} is at the provider longer than its window of ${windowHours} h`,
      command: status,
    })),
    ...facts.pipelines.flatMap(({ name, undecided }): Problem[] =>
      undecided === 0
        ? []
        : [{ sign: "!", text: `${name}: ${undecidedWords(undecided)}`, command: `rowmill approve ${name}` }],
    ),
    ...facts.pipelines.flatMap(({ name, failed }): Problem[] =>
      failed === 0
        ? []
        : [{ sign: "✗", text: `${name}: ${counted(failed, "row")} failed`, command: `rowmill failures ${name}` }],
    ),
  ];
}

/** Of a text that ends with one. */
function lastCommand(text: string): string {
  return /rowmill [^:]*$/.exec(text)?.[0].replace(/\.$/, "") ?? "rowmill status";
}
