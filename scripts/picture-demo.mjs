/**
 * Draws docs/pictures/demo.svg: what `rowmill demo` says, in a terminal's window. Runs the real demo and takes its own words; the id of
 * the batch, which differs from run to run, is replaced, and so are the lines of progress left out that a terminal draws over.
 * `--check`: compares instead of writing. Needs a build in dist.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repository, run } from "./docs-project.mjs";
import { escaped, monospace, writeOrCheck } from "./svg-picture.mjs";

const columns = 110;
/** Of common monospace fonts, 0.602 em. */
const charWidth = 7.23;
const fontSize = 12;
const lineHeight = 17;
const margin = 20;
const barHeight = 36;
const answersShown = 2;

const colours = { paper: "#0d1117", bar: "#161b22", line: "#30363d", ink: "#d1d7e0", bright: "#ffffff" };
const dots = ["#ff5f57", "#febc2e", "#28c840"];

const folder = await mkdtemp(join(tmpdir(), "rowmill-picture-"));
try {
  const main = join(repository, "dist", "cli", "main.js");
  const env = { ...process.env, NO_COLOR: "1" };
  const said = await run(process.execPath, [main, "demo"], { cwd: folder, env });
  await writeOrCheck("docs/pictures/demo.svg", picture(screenOf(said)));
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** The lines of the picture in the groups in which they come: the command, the notes, the report. */
function screenOf(said) {
  const lines = said
    .replaceAll(/^( {2}batch )[0-9a-f]{8}(?=:)/gm, "$13473fe9e")
    .split("\n")
    .filter((line) => !line.startsWith("movies: waiting "));
  const from = lines.findIndex((line) => /^\d+ answers in the table/.test(line));
  const report = sectionsOf(lines.slice(from));
  const notes = lines.slice(0, from - 1);
  if (from < 2 || report.length < 4) throw new Error(`The demo does not speak as it did:\n${said}`);
  const [answers, went, cost, tables] = report;
  const shown = [shortened(answers), went, cost, tables].flatMap((section) => ["", ...section]);
  while (shown.at(-1) === "") shown.pop();
  return [["$ npx rowmill demo"], ...notes.map((note) => [note]), shown].map((group) =>
    group.flatMap(broken),
  );
}

/** A section begins with a line that is not indented. */
function sectionsOf(lines) {
  const sections = [];
  for (const line of lines) {
    if (/^\S/.test(line)) sections.push([]);
    sections.at(-1)?.push(line);
  }
  return sections.map((section) => (section.at(-1) === "" ? section.slice(0, -1) : section));
}

/** The first answers, each a paragraph. */
function shortened(section) {
  const starts = section.flatMap((line, index) => (/^ {2}\S/.test(line) ? [index] : []));
  return [...section.slice(0, starts[answersShown]), "  …"];
}

/** As a terminal breaks a line. */
function broken(line) {
  if (line === "") return [""];
  return line.match(new RegExp(`.{1,${columns}}`, "gu")) ?? [line];
}

function picture(groups) {
  const width = Math.round(columns * charWidth + 2 * margin);
  const count = groups.flat().length;
  const height = barHeight + margin + count * lineHeight + margin / 2;
  let row = 0;
  const texts = groups.map((group, index) => {
    const lines = group.map((line) => textOf(line, barHeight + margin + row++ * lineHeight));
    return `<g class="says" style="animation-delay:${delayOf(index, groups.length)}s">\n${lines.filter((line) => line !== "").join("\n")}\n</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="What rowmill demo says in a terminal">
<style>
text { font-family: ${monospace}; font-size: ${fontSize}px; fill: ${colours.ink}; white-space: pre; }
.bold { font-weight: 700; fill: ${colours.bright}; }
.says { animation: come 0.2s backwards; }
@keyframes come { from { opacity: 0; } }
@media (prefers-reduced-motion: reduce) { .says { animation: none; } }
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="10" fill="${colours.paper}" stroke="${colours.line}"/>
<path d="M1 ${barHeight}V10a9 9 0 0 1 9-9h${width - 20}a9 9 0 0 1 9 9v${barHeight - 10}z" fill="${colours.bar}"/>
${dots.map((colour, index) => `<circle cx="${22 + index * 20}" cy="18" r="6" fill="${colour}"/>`).join("\n")}
${texts.join("\n")}
</svg>
`;
}

/** The command at once, a note after the other, the report when the work is done. */
function delayOf(index, groups) {
  const steps = index === groups - 1 ? index + 2 : index;
  return (steps * 0.6).toFixed(1);
}

function textOf(line, y) {
  if (line === "") return "";
  const bold = /^(?:\$|\d+ answers|Where|What|The tables|NO LANGUAGE)/.test(line) ? ' class="bold"' : "";
  return `<text x="${margin}" y="${y}" xml:space="preserve"${bold}>${escaped(line)}</text>`;
}
