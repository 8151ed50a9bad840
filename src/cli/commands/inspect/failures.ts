/** `rowmill failures`: the rows that failed, grouped by reason. Reads only. */
import { proseLine } from "../../../model/words/one-line.js";
import { RowmillError } from "../../../model/errors.js";
import { FAILED_REASONS, fixOf, OTHER_REASONS } from "../../../model/words/failure-fixes.js";
import { nearMatch } from "../../../model/words/near-match.js";
import { formatUsd } from "../../../model/provider/pricing.js";
import { examineSource } from "../../../app/open/bind-pipeline.js";
import { retryCosts } from "../../../app/story/retry-cost.js";
import { spelledKeys } from "../../../app/story/row-key.js";
import { failedRowsWhere } from "../../../app/story/rows-where.js";
import type { Database } from "../../../postgres/database.js";
import * as failures from "../../../store/requests/failures.js";
import type { FailureGroup } from "../../../store/requests/failures.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted, fit, fitKey } from "../../screen/text.js";
import {
  configOf,
  loadProject,
  notInConfig,
  registeredPipelines,
  withExistingLedger,
  type Project,
} from "../../project.js";

const GROUPS_SHOWN = 20;
const KEYS_MAX = 1_000;

export interface FailuresOptions extends ProjectOptions {
  readonly reason?: readonly string[];
  readonly key?: readonly string[];
  readonly where?: string;
  readonly json?: true;
}

export async function runFailures(
  { terminal }: Cli,
  name: string | undefined,
  options: FailuresOptions,
): Promise<number> {
  checkOptions(name, options);
  const project = await loadProject(terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const rows = await registeredPipelines(database, name === undefined ? [] : [name]);
    const { shown, more } = await terminal.during("Reading failures", async () => {
      const keys = await keysMeant(database, project, { row: rows[0], options });
      const { reason: reasons } = options;
      const read = await failures.readFailures(database, {
        pipelineIds: rows.map(({ id }) => id),
        groupsMax: GROUPS_SHOWN,
        rowsMax: null,
        dropped: true,
        ...(reasons === undefined ? {} : { reasons }),
        ...(keys === null ? {} : { keys }),
      });
      return { ...read, shown: await priced(database, project, { rows, groups: read.groups }) };
    });
    if (options.json) terminal.data(JSON.stringify({ failures: shown.map(shownJson), more }));
    else if (shown.length === 0) terminal.print(isFiltered(options) ? "No failed row matches." : "✓ No row failed.");
    else for (const line of linesOf(shown, more, terminal)) terminal.print(line);
    return EXIT_STATUS.ok;
  });
}

function isFiltered({ reason, key, where }: FailuresOptions): boolean {
  return reason !== undefined || key !== undefined || where !== undefined;
}

const REASONS: readonly string[] = [...FAILED_REASONS, ...OTHER_REASONS];

function checkOptions(name: string | undefined, { reason = [], key = [], where }: FailuresOptions): void {
  const unknown = reason.find((each) => !REASONS.includes(each));
  if (unknown !== undefined) {
    const near = nearMatch(unknown, REASONS);
    const meant = near === null ? "." : `; did you mean "${near}"?`;
    throw new RowmillError("usage", `--reason: there is no reason "${unknown}"${meant}`, {
      hints: [`There are: ${REASONS.join(", ")}.`],
    });
  }
  if (name === undefined && (key.length > 0 || where !== undefined))
    throw new RowmillError("usage", `${key.length > 0 ? "--key" : "--where"}: name the pipeline of the rows.`, {
      hints: ["For example: rowmill failures PIPELINE --where 'year > 2000'"],
    });
  if (key.length > KEYS_MAX)
    throw new RowmillError("usage", `--key: expected at most ${KEYS_MAX} keys per command, found ${key.length}.`);
}

/** Null: all. */
async function keysMeant(
  database: Database,
  project: Project,
  {
    row,
    options: { key, where, reason },
  }: { readonly row: PipelineRow | undefined; readonly options: FailuresOptions },
): Promise<readonly string[] | null> {
  if (row === undefined || (key === undefined && where === undefined)) return null;
  const config = configOf(project, row.name);
  if (config === undefined) throw notInConfig(project, row.name);
  const { table } = await examineSource(database, config);
  const keys = key === undefined ? null : await database.transaction((tx) => spelledKeys(tx, table, key));
  if (where === undefined) return keys;
  const reasons = reason ?? REASONS;
  const of = { table, sourceWhere: config.source.where, meant: { pipelineId: row.id, reasons, keys } };
  return (await failedRowsWhere(database, of, where)).keys;
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
  return groups.flatMap(({ pipelineId, ...group }): ShownFailure[] => {
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

function shownJson({ retryNanoUsd, ...shown }: ShownFailure): object {
  return { ...shown, retryUsd: retryNanoUsd === null ? null : retryNanoUsd / 1e9 };
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

export interface ShownFailure extends Omit<FailureGroup, "pipelineId"> {
  readonly pipeline: string;
  readonly fix: string;
  /** What asking these rows again would likely cost; 0: their answers are kept. Null: unknown, or they cannot be. */
  readonly retryNanoUsd: number | null;
}

const MESSAGE_CHARACTERS = 400;

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
