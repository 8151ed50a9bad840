/** `rowmill failures`: the rows that failed, grouped by reason. Reads only. */
import { fixOf } from "../../model/words/failure-fixes.js";
import * as failures from "../../store/requests/failures.js";
import type { FailureGroup } from "../../store/requests/failures.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { failureLines, moreLine, type ShownFailure } from "../screen/failure-text.js";
import { configOf, loadProject, registeredPipelines, withExistingLedger, type Project } from "../project.js";

/** Per pipeline; the rest is counted. */
const GROUPS_SHOWN = 20;

export interface FailuresOptions extends ProjectOptions {
  readonly json?: true;
}

export async function runFailures(
  { terminal }: Cli,
  name: string | undefined,
  options: FailuresOptions,
): Promise<number> {
  const project = await loadProject(terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const rows = await registeredPipelines(database, name === undefined ? [] : [name]);
    const wanted = { pipelineIds: rows.map(({ id }) => id), groupsMax: GROUPS_SHOWN, rowsMax: null };
    const { groups, more } = await terminal.during("Reading failures", () =>
      failures.readFailures(database, wanted),
    );
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
