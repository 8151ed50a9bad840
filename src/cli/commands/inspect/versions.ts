/** `rowmill versions`: what a pipeline's config was, what each version cost and how it did. Needs no API key. */
import { versionChanges } from "../../../app/story/version-changes.js";
import { formatUsd } from "../../../model/provider/pricing.js";
import { proseLine } from "../../../model/words/one-line.js";
import * as costStore from "../../../store/batches/costs.js";
import type { CostSums } from "../../../store/batches/costs.js";
import * as changes from "../../../store/pipelines/changes.js";
import * as definitions from "../../../store/pipelines/definitions.js";
import type { Version } from "../../../store/pipelines/definitions.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { loadProject, registeredPipeline, withExistingLedger } from "../../project.js";
import { undecidedText } from "../../screen/changed-rows.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted, formatCount, formatTime } from "../../screen/text.js";

/** Of their sums: a line of a few numbers each. */
const VERSIONS_MAX = 10_000;

export interface VersionsOptions extends ProjectOptions {
  readonly limit: number;
  readonly json?: true;
}

export async function runVersions({ terminal }: Cli, name: string, options: VersionsOptions): Promise<number> {
  const project = await loadProject(terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const { id } = await registeredPipeline(database, name);
    const [found, inUse, spent, change] = await terminal.during(
      "Reading versions",
      async () =>
        [
          await definitions.versions(database, id, options.limit),
          await definitions.answersInUse(database, id),
          await costStore.costs(database, { by: ["version"], pipelineIds: [id], sinceMs: null, max: VERSIONS_MAX }),
          await changes.changeOf(database, id),
        ] as const,
    );
    const costOf = new Map(spent.lines.map((line) => [line.version, line]));
    const facts = found.versions.map((version): VersionFacts => ({
      ...version,
      changes: version.followed === null ? [] : versionChanges(version.followed, version.kept),
      answersInUse: inUse.get(version.version) ?? 0,
      sums: costOf.get(version.version) ?? null,
    }));
    const undecided = change?.decision === "undecided" ? (change.rows ?? 0) : 0;
    if (options.json) {
      terminal.data(JSON.stringify({ pipeline: name, versions: facts.map(versionJson), undecided, more: found.more }));
      return EXIT_STATUS.ok;
    }
    for (const line of versionLines(facts, terminal)) terminal.quote(line);
    if (found.more > 0)
      terminal.print(`… and ${counted(found.more, "older version")}. Show more: --limit ${options.limit * 5}`);
    if (undecided > 0) terminal.note(`! ${name}: ${undecidedText(name, undecided)}`);
    return EXIT_STATUS.ok;
  });
}

export type VersionFacts = Omit<Version, "kept" | "followed"> & {
  /** From the version that it follows, in words; empty for the first. */
  readonly changes: readonly string[];
  /** Rows whose answer in the target it asked. */
  readonly answersInUse: number;
  /** Of its batches; null: it has none. */
  readonly sums: CostSums | null;
};

export function versionLines(versions: readonly VersionFacts[], { bold, ago }: Pick<Terminal, "bold" | "ago">) {
  return versions.flatMap((one, index): string[] => {
    const [since, until] = [one.since, one.until].map((at) => at && formatTime(at));
    const age = ago(one.since);
    const when = until ? `${since} to ${until}` : `since ${since}${age === null ? "" : ` (${age})`}`;
    // Not the one with the number before: an earlier version was taken again.
    const follows = one.follows === null || one.follows === one.version - 1 ? "" : `, after version ${one.follows}`;
    return [
      ...(index === 0 ? [] : [""]),
      bold(`version ${one.version}, ${when}${follows}`),
      ...one.changes.map((change) => `  ${proseLine(change)}`),
      ...figureLines(one).map((line) => `  ${line}`),
    ];
  });
}

function figureLines({ sums, answersInUse }: VersionFacts): string[] {
  if (sums === null) return ["no batch yet"];
  const { batches, requests, succeeded, failed, spentNanoUsd, unpriced } = sums;
  const share = failed === 0 ? "" : ` (${percent(failed / (succeeded + failed))})`;
  const isUnknown = unpriced > 0 && spentNanoUsd === 0;
  return [
    `${counted(requests, "request")} in ${counted(batches, "batch")}: ${formatCount(succeeded)} succeeded, ` +
      `${formatCount(failed)} failed${share}; ${isUnknown ? "unknown price" : formatUsd(spentNanoUsd)}`,
    `${counted(answersInUse, "answer")} in use`,
  ];
}

/** `0.4%`, `12%`; never 0% of something. */
function percent(share: number): string {
  const percents = share * 100;
  if (percents < 0.1) return "< 0.1%";
  return `${percents < 10 ? percents.toFixed(1) : Math.round(percents)}%`;
}

/** Of `versions --json`. */
export function versionJson({ version, hash, since, until, follows, changes, answersInUse, sums }: VersionFacts) {
  const ended = (sums?.succeeded ?? 0) + (sums?.failed ?? 0);
  return {
    version,
    definitionHash: hash,
    since,
    until,
    follows,
    changes,
    answersInUse,
    batches: sums?.batches ?? 0,
    requests: sums?.requests ?? 0,
    succeeded: sums?.succeeded ?? 0,
    failed: sums?.failed ?? 0,
    failureShare: ended === 0 ? null : (sums?.failed ?? 0) / ended,
    spentUsd: (sums?.spentNanoUsd ?? 0) / 1e9,
    unpriced: sums?.unpriced ?? 0,
  };
}
