/**
 * Draws docs/pictures/demo.svg and demo-dark.svg: the output of the real `rowmill demo` in a terminal. Replaces the
 * id of the batch, which differs from run to run, and drops the progress lines that a terminal draws over.
 * `--check`: compares only. Needs a build in dist.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repository, run } from "./docs-project.mjs";
import { escaped, framed, monospace, writeBothThemes } from "./svg-picture.mjs";

const columns = 110;
/** Of common monospace fonts, 0.602 em. */
const charWidth = 7.23;
const fontSize = 12;
const lineHeight = 17;
const margin = 20;
const barHeight = 36;
const answersShown = 2;

const dots = ["#ff5f57", "#febc2e", "#28c840"];

const folder = await mkdtemp(join(tmpdir(), "rowmill-picture-"));
try {
  const main = join(repository, "dist", "cli", "main.js");
  const env = { ...process.env, NO_COLOR: "1" };
  const said = await run(process.execPath, [main, "demo"], { cwd: folder, env });
  const screen = screenOf(said);
  await writeBothThemes("demo", (colours) => picture(screen, colours));
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** The lines in the groups in which they appear: the command, the notes, the report. */
function screenOf(said) {
  const lines = said
    .replaceAll(/^( {2}batch )[0-9a-f]{8}(?=:)/gm, "$13473fe9e")
    .split("\n")
    .filter((line) => !line.startsWith("movies: waiting "));
  const from = lines.findIndex((line) => /^\d+ answers in the table/.test(line));
  const report = sectionsOf(lines.slice(from));
  const notes = lines.slice(0, from - 1);
  if (from < 2 || report.length < 4) throw new Error(`The output of the demo has changed:\n${said}`);
  const [answers, went, cost, tables] = report;
  const shown = [shortened(answers), went, cost, tables].flatMap((section) => ["", ...section]);
  while (shown.at(-1) === "") shown.pop();
  return [["$ npx rowmill demo"], ...notes.map((note) => [note]), shown].map((group) => group.flatMap(broken));
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

/** Breaks between words. */
function broken(line) {
  if (line === "") return [""];
  return line.match(new RegExp(`.{1,${columns}}(?:\\s|$)`, "gu")) ?? [line];
}

function picture(groups, colours) {
  const width = Math.round(columns * charWidth + 2 * margin);
  const count = groups.flat().length;
  const height = barHeight + margin + count * lineHeight + margin / 2;
  let row = 0;
  const texts = groups.map((group, index) => {
    const lines = group.map((line) => textOf(line, barHeight + margin + row++ * lineHeight));
    const shown = lines.filter((line) => line !== "").join("\n");
    return `<g class="says" style="animation-delay:${delayOf(index, groups.length)}s">\n${shown}\n</g>`;
  });
  const style = `text { font-family: ${monospace}; font-size: ${fontSize}px; fill: ${colours.ink}; white-space: pre; }
.bold { font-weight: 700; fill: ${colours.bright}; }
.says { animation: come 0.2s backwards; }
@keyframes come { from { opacity: 0; } }
@media (prefers-reduced-motion: reduce) { .says { animation: none; } }`;
  const bar = `M1 ${barHeight}V10a9 9 0 0 1 9-9h${width - 20}a9 9 0 0 1 9 9v${barHeight - 10}z`;
  return framed(
    { width, height, label: "The output of rowmill demo in a terminal", style, colours },
    `<path d="${bar}" fill="${colours.bar}"/>
${dots.map((colour, index) => `<circle cx="${22 + index * 20}" cy="18" r="6" fill="${colour}"/>`).join("\n")}
${texts.join("\n")}`,
  );
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
