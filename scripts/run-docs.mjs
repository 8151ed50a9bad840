/**
 * Runs what the documentation shows. A block of `sh` under the line `<!-- runs in CI -->` is run as it stands, in the
 * repository, by bash. Blocks of `sh` and `sql` under `<!-- runs in CI with PostgreSQL -->` run in a project of their
 * page: one fresh database and one folder for all blocks of a page, in their order (docs-project.mjs). A block of
 * `text` under `<!-- compared by CI -->` after one of them must be in its output. What only CI needs before them
 * stands in a comment that begins with `in CI, as SQL:`; `in CI, a batch of other code for:` is followed by a query
 * whose rows (`name`, `text`) become the lines of a batch, and sets BATCH_ID. Fails when one fails, or when there is
 * none. Arguments: the pages; without any, all.
 */
import { readdirSync, readFileSync } from "node:fs";
import { createJiti } from "jiti";
import { repository, run, startDocsProject } from "./docs-project.mjs";

const block =
  /<!-- runs in CI( with PostgreSQL)? -->\n\n```(sh|sql)\n([\s\S]*?)```(?:\n\n<!-- compared by CI -->\n\n```text\n([\s\S]*?)```)?|<!-- in CI, (as SQL|a batch of other code for):\n([\s\S]*?)-->/g;

const docs = readdirSync("docs", { recursive: true, encoding: "utf8" }).map((name) => `docs/${name}`);
const everyPage = ["README.md", "CONTRIBUTING.md", ...docs];
const pages = process.argv.length > 2 ? process.argv.slice(2) : everyPage;
let blocks = 0;
for (const page of pages.filter((name) => name.endsWith(".md"))) {
  let project = null;
  try {
    for (const found of readFileSync(page, "utf8").matchAll(block)) {
      const [, withDatabase, language, shown, sample, preparation, hidden] = found;
      console.log(`-- ${page}:\n${hidden ?? shown}`);
      if (shown !== undefined) blocks++;
      if (shown !== undefined && withDatabase === undefined) {
        await bash(shown, { cwd: repository });
        continue;
      }
      project ??= await startDocsProject();
      if (preparation === "as SQL" || language === "sql") console.log(await runSql(project, hidden ?? shown));
      else if (preparation !== undefined) await createForeignBatch(project, hidden);
      else requireSample(await project.run("bash", ["-euo", "pipefail", "-c", shown], { show: true }), sample);
    }
  } finally {
    await project?.close();
  }
}
if (blocks === 0) throw new Error("No page shows a command that CI runs.");
console.log(`${blocks} blocks of commands ran`);

/** Windows' line ends and a byte order mark are no part of what a page can show. */
function requireSample(said, sample = "") {
  if (said.replaceAll(/[\r\uFEFF]/g, "").includes(sample)) return;
  throw new Error(`The page shows another output:\n${sample}`);
}

function bash(commands, options) {
  return run("bash", ["-euo", "pipefail", "-c", commands], { show: true, ...options });
}

/** As pasted into an SQL editor; what its last statement gave, as text. */
async function runSql({ client }, text) {
  const results = [await client.query(text)].flat();
  return JSON.stringify(results.at(-1)?.rows ?? [], undefined, 1);
}

async function createForeignBatch(project, query) {
  const { createTutorialBatch } = await createJiti(import.meta.url).import("../test/support/tutorial-batch.ts");
  const { rows } = await project.client.query(query);
  const lines = rows.map(({ name, text }) => ({ customId: name, text }));
  project.env.BATCH_ID = (await createTutorialBatch(project.gateway.url, lines)).batchId;
}
