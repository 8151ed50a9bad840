/** `rowmill show`: one row's whole story, from its cells to its result. Reads only. */
import type { Cli, ProjectOptions } from "../cli.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { configOf, loadProject, registeredPipeline, withExistingLedger } from "../project.js";
import { renderStory } from "../words/row-story-text.js";
import { choiceOf } from "../../app/open/providers.js";
import { readRowStory } from "../../app/story/row-story.js";

export interface ShowOptions extends ProjectOptions {
  readonly json?: true;
}

export async function runShow(
  { terminal }: Cli,
  wanted: { pipeline: string; key: readonly string[] },
  options: ShowOptions,
): Promise<number> {
  const project = await loadProject(terminal, options.config);
  const story = await withExistingLedger(project, async ({ database }) => {
    const row = await registeredPipeline(database, wanted.pipeline);
    return readRowStory(database, row, { config: configOf(project, row.name), key: wanted.key });
  });
  const { dialect } = choiceOf(project, story.pipeline);
  const lines = options.json
    ? JSON.stringify(story, undefined, 2).split("\n")
    : renderStory(story, { ...terminal, accountText: (account) => dialect.accountText(account) });
  for (const line of lines) terminal.print(line);
  if (story.request !== null) return EXIT_STATUS.ok;
  if (!options.json) terminal.note(`There is no request for this key in ${story.pipeline}.`);
  return EXIT_STATUS.usage;
}
