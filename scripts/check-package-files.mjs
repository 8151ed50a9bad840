/**
 * What lies in the installed package: `node scripts/check-package-files.mjs FOLDER`, where it is installed. Fails
 * when something is in it that no user needs, when something is missing that one does, when an install would run a
 * script, or when it has grown.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const bytesMax = 4_000_000;
const filesMax = 850;
const needed = [
  "LICENSE",
  "README.md",
  "CHANGELOG.md",
  "docs/cli.md",
  "docs/configuration.md",
  "docs/internals/state-machine.md",
  "docs/pictures/demo.svg",
  "dist/cli/main.js",
  "dist/index.js",
  "dist/index.d.ts",
  "dist/testing/testing.js",
  "dist/testing/testing.d.ts",
  "migrations/0001_ledger.sql",
  "examples/movies/movies.csv",
];
const allowed =
  /^(?:LICENSE|(?:README|CONTRIBUTING|CHANGELOG)\.md|package\.json|docs\/(?:internals\/)?[\w-]+\.md|docs\/pictures\/[\w-]+\.svg|dist\/[\w/.-]+\.(?:js|mjs|d\.ts)|migrations\/\d{4}_\w+\.sql|examples\/[\w-]+\/[\w.-]+\.(?:md|sql|csv|ts|mjs))$/;
const installScripts = ["preinstall", "install", "postinstall", "prepare", "prepublish"];

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("Usage: node scripts/check-package-files.mjs FOLDER");
const root = join(folder, "node_modules", "rowmill");
const files = readdirSync(root, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
  .filter((file) => !file.startsWith("node_modules/"));
const bytes = files.reduce((sum, file) => sum + statSync(join(root, file)).size, 0);
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const mistakes = [
  ...files.filter((file) => !allowed.test(file)).map((file) => `${file} has no place in it`),
  ...needed.filter((file) => !files.includes(file)).map((file) => `${file} is missing`),
  ...installScripts.filter((name) => name in manifest.scripts).map((name) => `it runs ${name} at an install`),
  ...files.filter((file) => file.endsWith(".js")).flatMap(mapMistakes),
  ...(bytes > bytesMax ? [`${bytes} bytes are more than ${bytesMax}`] : []),
  ...(files.length > filesMax ? [`${files.length} files are more than ${filesMax}`] : []),
];
if (mistakes.length > 0) throw new Error(`The package:\n  ${mistakes.join("\n  ")}`);
console.log(`the package: ${files.length} files, ${bytes} bytes`);

function mapMistakes(file) {
  const map = /^\/\/# sourceMappingURL=(.+)$/m.exec(readFileSync(join(root, file), "utf8"))?.[1];
  return map === undefined || existsSync(join(root, file, "..", map)) ? [] : [`${file} names the map ${map}`];
}
