/** `rowmill failures`: the rows that failed, grouped by reason. Reads only. */
import { FAILED_REASONS, fixOf, OTHER_REASONS } from "../../../model/words/failure-fixes.js";
import { examineSource } from "../../../app/open/bind-pipeline.js";
import { groupFailures } from "../../../app/story/group-failures.js";
import { retryCosts } from "../../../app/story/retry-cost.js";
import { spelledKeys } from "../../../app/story/row-key.js";
import type { Database } from "../../../postgres/database.js";
import * as failures from "../../../store/requests/failures.js";
import type { FailureGroup, Failures } from "../../../store/requests/failures.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import type { Cli } from "../../cli.js";
import { configOf, notInConfig, registeredPipelines, withProjectLedger, type Project } from "../../project.js";
import { failuresJson, failuresLines, type ShownFailure } from "../../reports/failure-text.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { checkWhichRows, isFiltered, type WhichRowsOptions } from "../../which-rows.js";

const GROUPS_SHOWN = 20;
const REASONS: readonly string[] = [...FAILED_REASONS, ...OTHER_REASONS];

export interface FailuresOptions extends WhichRowsOptions {
  readonly json?: true;
}

export async function runFailures(
  { terminal }: Cli,
  name: string | undefined,
  options: FailuresOptions,
): Promise<number> {
  checkWhichRows(options, { command: "failures", pipeline: name, reasons: REASONS });
  return withProjectLedger(terminal, options, async ({ database, project }) => {
    const rows = await registeredPipelines(database, name === undefined ? [] : [name]);
    const { shown, more } = await terminal.during("Reading failures", async () => {
      const read = await readGroups(database, project, { rows, options });
      return { more: read.more, shown: await priced(database, project, { rows, groups: read.groups }) };
    });
    if (options.json) terminal.data(JSON.stringify(failuresJson(shown, more)));
    else if (shown.length === 0) terminal.print(isFiltered(options) ? "No failed row matches." : "✓ No row failed.");
    else for (const line of failuresLines(shown, more, terminal)) terminal.print(line);
    return EXIT_STATUS.ok;
  });
}

interface Asked {
  readonly rows: readonly PipelineRow[];
  readonly options: FailuresOptions;
}

async function readGroups(database: Database, project: Project, { rows, options }: Asked): Promise<Failures> {
  const { reason, key, where } = options;
  const [row] = rows;
  const wanted = {
    pipelineIds: rows.map(({ id }) => id),
    groupsMax: GROUPS_SHOWN,
    rowsMax: null,
    dropped: true,
    ...(reason === undefined ? {} : { reasons: reason }),
  } as const;
  if (row === undefined || (key === undefined && where === undefined)) return failures.readFailures(database, wanted);
  const config = configOf(project, row.name);
  if (config === undefined) throw notInConfig(project, row.name);
  const { table } = await examineSource(database, config);
  const keys = key === undefined ? null : await database.transaction((tx) => spelledKeys(tx, table, key));
  if (where === undefined) return failures.readFailures(database, { ...wanted, ...(keys === null ? {} : { keys }) });
  const meant = { pipelineId: row.id, reasons: reason ?? REASONS, keys };
  return groupFailures(database, { table, config }, { meant, where, groupsMax: GROUPS_SHOWN });
}

interface Priced {
  readonly rows: readonly PipelineRow[];
  readonly groups: readonly FailureGroup[];
}

/** With what asking the rows of each group again would likely cost. */
async function priced(database: Database, project: Project, { rows, groups }: Priced): Promise<ShownFailure[]> {
  const costs = new Map<number, ReadonlyMap<string, number>>();
  for (const row of rows) {
    const ours = groups.filter(({ pipelineId, reason }) => pipelineId === row.id && reason !== "refusedKey");
    const config = configOf(project, row.name);
    const reasons = [...new Set(ours.filter(({ kept, rows: all }) => kept < all).map(({ reason }) => reason))];
    if (config !== undefined) costs.set(row.id, await retryCosts(database, project, { row, config, reasons }));
  }
  return groups.flatMap(({ pipelineId, cause: _cause, ...group }): ShownFailure[] => {
    const row = rows.find(({ id }) => id === pipelineId);
    if (row === undefined) return [];
    const { request } = configOf(project, row.name) ?? {};
    const each = costs.get(pipelineId)?.get(group.reason) ?? null;
    const lost = group.rows - group.kept;
    const isFree = lost === 0 && group.reason !== "refusedKey";
    const retryNanoUsd = isFree ? 0 : each === null ? null : each * lost;
    return [{ pipeline: row.name, ...group, fix: fixOf(group.reason, { name: row.name, request }), retryNanoUsd }];
  });
}
