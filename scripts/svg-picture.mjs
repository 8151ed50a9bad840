/** What the scripts that draw the documentation's pictures share: text for XML, and a file that is written or compared. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = dirname(dirname(fileURLToPath(import.meta.url)));
/** GitHub shows larger ones too; a picture of text has no reason to be one. */
const bytesMax = 40_000;

export const monospace = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
export const sans = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";

/** Control characters have no place in XML, not even escaped. */
export function escaped(text) {
  return text
    .replace(/[\p{Cc}\p{Surrogate}]/gu, "�")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** With `--check` on the command line the file is compared instead, and a difference is an error that names the first line of it. */
export async function writeOrCheck(path, text) {
  if (Buffer.byteLength(text) > bytesMax) throw new Error(`${path} would have more than ${bytesMax} bytes.`);
  if (/undefined|NaN|\[object/.test(text)) throw new Error(`${path} would show a value that is not there.`);
  const file = join(repository, path);
  if (!process.argv.includes("--check")) {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    console.log(`wrote ${path}`);
    return;
  }
  const there = await readFile(file, "utf8");
  if (there === text) return console.log(`${path} is as its script makes it`);
  const lines = text.split("\n");
  const at = there.split("\n").findIndex((line, index) => line !== lines[index]);
  throw new Error(
    `${path} is not as its script makes it. Line ${at + 1} would be:\n${lines[at] ?? "(the end)"}\nMake it anew: node ${process.argv[1]}`,
  );
}
