/** `rowmill failures`: the rows that failed, grouped by reason. Reads only. */
import { examineSource } from "../../../app/open/bind-pipeline.js";
import { groupFailures, retryCosts } from "../../../app/story/failures.js";
import { spelledKeys } from "../../../app/story/row-key.js";
import { formatUsd } from "../../../model/provider/pricing.js";
import { FAILED_REASONS, fixOf, OTHER_REASONS } from "../../../model/words/failure-fixes.js";
import { proseLine } from "../../../model/words/one-line.js";
import type { Database } from "../../../postgres/database.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import * as failures from "../../../store/requests/failures.js";
import type { FailureGroup, Failures } from "../../../store/requests/failures.js";
import type { Cli } from "../../cli.js";
import { configOf, notInConfig, registeredPipelines, withProjectLedger, type Project } from "../../project.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted, fit, fitKey } from "../../screen/text.js";
import { checkWhichRows, isFiltered, type WhichRowsOptions } from "../../which-rows.js";

const GROUPS_SHOWN = 20;
const REASONS: readonly string[] = [...FAILED_REASONS, ...OTHER_REASONS];
const MESSAGE_CHARACTERS = 400;

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

/** With what sending the rows of each group again would likely cost. */
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

export interface ShownFailure extends Omit<FailureGroup, "pipelineId" | "cause"> {
  readonly pipeline: string;
  readonly fix: string;
  /** What sending these rows again would likely cost; 0: their answers are kept. Null: unknown, or they cannot be. */
  readonly retryNanoUsd: number | null;
}

export function failuresJson(shown: readonly ShownFailure[], more: Failures["more"]): object {
  return {
    failures: shown.map(({ retryNanoUsd, ...failure }) => ({
      ...failure,
      retryUsd: retryNanoUsd === null ? null : retryNanoUsd / 1e9,
    })),
    more,
  };
}

/** The reasons with an empty line between them. */
export function failuresLines(
  shown: readonly ShownFailure[],
  more: Failures["more"],
  style: Pick<Terminal, "bold">,
): string[] {
  const blocks = shown.map((failure) => failureLines(failure, style));
  const rest = more.groups === 0 ? [] : [moreLine(more)];
  return [...blocks, rest]
    .filter((block) => block.length > 0)
    .flatMap((block, index) => (index === 0 ? block : ["", ...block]));
}

export function failureLines(failure: ShownFailure, style: Pick<Terminal, "bold">): string[] {
  const { pipeline, reason, rows, kept, key, message, fix, retryNanoUsd } = failure;
  const answers = kept === 0 ? "" : `, ${counted(kept, "answer")} kept`;
  const show = reason === "refusedKey" ? fitKey(key) : `${key}: ${showCommandOf(pipeline, key)}`;
  return [
    style.bold(proseLine(`${pipeline}: ${counted(rows, "row")} ${reason}${answers}`)),
    ...[fit(message, MESSAGE_CHARACTERS), `Example: ${show}`, `Hint: ${fix}`, ...costLine(retryNanoUsd)].map(
      (text) => `  ${proseLine(text)}`,
    ),
  ];
}

function costLine(retryNanoUsd: number | null): readonly string[] {
  if (retryNanoUsd === null) return [];
  return [`To retry: ${retryNanoUsd === 0 ? "no cost" : `about ${formatUsd(retryNanoUsd)}`}`];
}

function moreLine(more: Failures["more"]): string {
  return `… and ${counted(more.groups, "more reason")} (${counted(more.rows, "row")})`;
}

function showCommandOf(pipeline: string, key: string): string {
  const dashes = key.startsWith("-") ? "-- " : "";
  return `rowmill show ${pipeline} ${dashes}${shellWord(key)}`;
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
