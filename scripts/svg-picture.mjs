/** Shared by the scripts that draw the pictures of the docs: two themes, the frame, text for XML, write or compare. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = dirname(dirname(fileURLToPath(import.meta.url)));
/** GitHub shows larger ones too; a picture of text has no reason to be one. */
const bytesMax = 40_000;

export const monospace = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
export const sans = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";

const light = {
  paper: "#ffffff",
  bar: "#f6f8fa",
  line: "#d1d9e0",
  ink: "#1f2328",
  dim: "#59636e",
  bright: "#000000",
  blue: "#0969da",
  green: "#1a7f37",
  amber: "#9a6700",
};
const dark = {
  paper: "#0d1117",
  bar: "#161b22",
  line: "#30363d",
  ink: "#d1d7e0",
  dim: "#9aa4b2",
  bright: "#ffffff",
  blue: "#1f6feb",
  green: "#238636",
  amber: "#9e6a03",
};

/** Writes or compares `docs/pictures/NAME.svg` for light pages and `NAME-dark.svg` for dark ones. */
export async function writeBothThemes(name, picture) {
  await writeOrCheck(`docs/pictures/${name}.svg`, picture(light));
  await writeOrCheck(`docs/pictures/${name}-dark.svg`, picture(dark));
}

/** The whole file: a rounded frame with the given content. */
export function framed({ width, height, label, style, colours }, content) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"
  role="img" aria-label="${escaped(label)}">
<style>
${style}
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="10"
  fill="${colours.paper}" stroke="${colours.line}"/>
${content}
</svg>
`;
}

/** Control characters have no place in XML, not even escaped. */
export function escaped(text) {
  return text
    .replace(/[\p{Cc}\p{Surrogate}]/gu, "�")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** With `--check` on the command line, compares instead; a difference is an error that names its first line. */
async function writeOrCheck(path, text) {
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
    `${path} is not as its script makes it. Line ${at + 1} would be:\n${lines[at] ?? "(the end)"}\n` +
      `Write it again: node ${process.argv[1]}`,
  );
}
