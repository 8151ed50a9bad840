/**
 * Runs the commands that the documentation shows. A block of shell code under the line `<!-- runs in CI -->` is run as it stands,
 * in the repository, by bash. Fails when one fails, or when there is none.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

const blockMinutesMax = 10;
const block = /<!-- runs in CI -->\n\n```sh\n([\s\S]*?)```/g;

const pages = ["README.md", "CONTRIBUTING.md", ...readdirSync("docs").map((name) => `docs/${name}`)];
let blocks = 0;
for (const page of pages.filter((name) => name.endsWith(".md"))) {
  for (const [, commands] of readFileSync(page, "utf8").matchAll(block)) {
    console.log(`-- ${page}:\n${commands}`);
    execFileSync("bash", ["-euo", "pipefail", "-c", commands], {
      stdio: "inherit",
      timeout: blockMinutesMax * 60_000,
    });
    blocks++;
  }
}
if (blocks === 0) throw new Error("No page shows a command that CI runs.");
console.log(`${blocks} blocks of commands ran`);
