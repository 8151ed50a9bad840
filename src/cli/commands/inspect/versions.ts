/** `rowmill versions`: what a pipeline's config was, what each version cost and how it did. Needs no API key. */
import { versionChanges } from "../../../app/story/version-changes.js";
import * as costStore from "../../../store/batches/costs.js";
import * as changes from "../../../store/pipelines/changes.js";
import * as definitions from "../../../store/pipelines/definitions.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { loadProject, registeredPipeline, withExistingLedger } from "../../project.js";
import { versionJson, versionLines, type VersionFacts } from "../../reports/version-text.js";
import { undecidedText } from "../../screen/changed-rows.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { counted } from "../../screen/text.js";

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

/** Of their sums: a line of a few numbers each. */
const VERSIONS_MAX = 10_000;
