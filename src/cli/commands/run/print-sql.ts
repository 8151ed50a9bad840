/** `rowmill up --print-sql`: what `up` would run, as a script to review. Changes nothing, and needs no key. */
import { installationSql } from "../../../app/open/installation-sql.js";
import { startLook } from "../../../app/doctor/look.js";
import { hasDatabase, openProjectDatabase } from "../../../app/open/open-database.js";
import { RowmillError } from "../../../model/errors.js";
import type { Cli } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { loadProject, onlyPipelines } from "../../project.js";

/** `usage` when a pipeline's tables do not match its config: the script then lacks its part. */
export async function printSql(
  { terminal }: Cli,
  names: readonly string[],
  options: { readonly config?: string },
): Promise<number> {
  const { config, environment } = onlyPipelines(await loadProject(terminal, options.config), names);
  if (!(await hasDatabase(config))) {
    throw new RowmillError("not_found", "The embedded database does not exist yet, so there is no SQL to print.", {
      hints: ["Only you use it, so it needs no review. To create it: rowmill up"],
    });
  }
  const opened = await openProjectDatabase(config, environment);
  try {
    const look = startLook({
      cwd: process.cwd(),
      configFile: options.config,
      variables: {},
      nodeVersion: process.versions.node,
    });
    const script = await installationSql(Object.assign(look, { config, environment, opened }));
    for (const line of script.text.split("\n")) terminal.data(line);
    return script.complete ? EXIT_STATUS.ok : EXIT_STATUS.usage;
  } finally {
    await opened.close();
  }
}
