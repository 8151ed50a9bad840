/**
 * Runs what the documentation shows. A block of `sh` under the line `<!-- runs in CI -->` is run as it stands, in the repository, by
 * bash. Blocks of `sh` and `sql` under `<!-- runs in CI with PostgreSQL -->` run in a project of their page: one fresh database and one
 * folder for all blocks of a page, in their order (docs-project.mjs). What only CI needs before them stands in a comment that begins
 * with `in CI, as SQL:`. Fails when one fails, or when there is none. Arguments: the pages; without any, all.
 */
import { readdirSync, readFileSync } from "node:fs";
import { repository, run, startDocsProject } from "./docs-project.mjs";

const block =
  /<!-- runs in CI( with PostgreSQL)? -->\n\n```(sh|sql)\n([\s\S]*?)```|<!-- in CI, as SQL:\n([\s\S]*?)-->/g;

const everyPage = ["README.md", "CONTRIBUTING.md", ...readdirSync("docs").map((name) => `docs/${name}`)];
const pages = process.argv.length > 2 ? process.argv.slice(2) : everyPage;
let blocks = 0;
for (const page of pages.filter((name) => name.endsWith(".md"))) {
  let project = null;
  try {
    for (const [, withDatabase, language, shown, hidden] of readFileSync(page, "utf8").matchAll(block)) {
      const inRepository = hidden === undefined && withDatabase === undefined;
      if (!inRepository) project ??= await startDocsProject();
      console.log(`-- ${page}:\n${hidden ?? shown}`);
      if (hidden !== undefined || language === "sql") console.log(await runSql(project, hidden ?? shown));
      else if (inRepository) await bash(shown, { cwd: repository });
      else await project.run("bash", ["-euo", "pipefail", "-c", shown], { show: true });
      if (hidden === undefined) blocks++;
    }
  } finally {
    await project?.close();
  }
}
if (blocks === 0) throw new Error("No page shows a command that CI runs.");
console.log(`${blocks} blocks of commands ran`);

function bash(commands, options) {
  return run("bash", ["-euo", "pipefail", "-c", commands], { show: true, ...options });
}

/** As pasted into an SQL editor; what its last statement gave, as text. */
async function runSql({ client }, text) {
  const results = [await client.query(text)].flat();
  return JSON.stringify(results.at(-1)?.rows ?? [], undefined, 1);
}
