/** `rowmill failures`: the rows that failed, grouped by reason. Reads only. */
import { proseLine } from "../../model/words/one-line.js";
import { fixOf } from "../../model/words/failure-fixes.js";
import * as failures from "../../store/requests/failures.js";
import type { FailureGroup } from "../../store/requests/failures.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, fit, fitKey } from "../screen/text.js";
import { configOf, loadProject, registeredPipelines, withExistingLedger, type Project } from "../project.js";

const GROUPS_SHOWN = 20;

export async function runFailures(
  { terminal }: Cli,
  name: string | undefined,
  options: ProjectOptions & { readonly json?: true },
): Promise<number> {
  const project = await loadProject(terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const rows = await registeredPipelines(database, name === undefined ? [] : [name]);
    const wanted = { pipelineIds: rows.map(({ id }) => id), groupsMax: GROUPS_SHOWN, rowsMax: null };
    const { groups, more } = await terminal.during("Reading failures", () => failures.readFailures(database, wanted));
    const shown = groups.flatMap((group) => shownFailure(project, rows, group));
    if (options.json) terminal.data(JSON.stringify({ failures: shown, more }));
    else if (shown.length === 0) terminal.print("✓ No row failed.");
    else for (const line of linesOf(shown, more, terminal)) terminal.print(line);
    return EXIT_STATUS.ok;
  });
}

function shownFailure(
  project: Project,
  rows: readonly PipelineRow[],
  { pipelineId, ...group }: FailureGroup,
): ShownFailure[] {
  const row = rows.find(({ id }) => id === pipelineId);
  if (row === undefined) return [];
  const { request } = configOf(project, row.name) ?? {};
  return [{ pipeline: row.name, ...group, fix: fixOf(group.reason, { name: row.name, request }) }];
}

function linesOf(
  shown: readonly ShownFailure[],
  more: { readonly groups: number; readonly rows: number },
  style: Cli["terminal"],
): string[] {
  const blocks = shown.map((failure) => failureLines(failure, style));
  const rest = more.groups === 0 ? [] : [moreLine(more)];
  return [...blocks, rest]
    .filter((block) => block.length > 0)
    .flatMap((block, index) => (index === 0 ? block : ["", ...block]));
}

/** The shape of one entry of `failures --json`. */
export interface ShownFailure extends Omit<FailureGroup, "pipelineId"> {
  readonly pipeline: string;
  readonly fix: string;
}

const MESSAGE_CHARACTERS = 400;

export function failureLines(failure: ShownFailure, style: Pick<Terminal, "bold">): string[] {
  const { pipeline, reason, rows, kept, key, message, fix } = failure;
  const answers = kept === 0 ? "" : `, ${counted(kept, "answer")} kept`;
  const show = reason === "refusedKey" ? fitKey(key) : `${key}: ${showCommandOf(pipeline, key)}`;
  return [
    style.bold(proseLine(`${pipeline}: ${counted(rows, "row")} ${reason}${answers}`)),
    ...[fit(message, MESSAGE_CHARACTERS), `Example: ${show}`, `Hint: ${fix}`].map((text) => `  ${proseLine(text)}`),
  ];
}

function moreLine(more: { readonly groups: number; readonly rows: number }): string {
  return `… and ${counted(more.groups, "more reason")} (${counted(more.rows, "row")})`;
}

function showCommandOf(pipeline: string, key: string): string {
  const dashes = key.startsWith("-") ? "-- " : "";
  return `rowmill show ${pipeline} ${dashes}${shellWord(key)}`;
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
