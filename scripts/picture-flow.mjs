/** Draws docs/pictures/flow.svg and flow-dark.svg: the way of a row. `--check`: compares only. */
import { escaped, framed, monospace, sans, writeBothThemes } from "./svg-picture.mjs";

const width = 800;
const height = 360;
/** `at`: left and top corner. Title, then lines. */
const boxes = [
  {
    at: [40, 64],
    size: [204, 104],
    colour: "blue",
    title: "movies",
    lines: ["your table, unchanged:", "a trigger appends keys", "and does nothing else"],
  },
  {
    at: [316, 64],
    size: [204, 104],
    colour: "green",
    title: "rowmill.*",
    lines: ["the ledger: one request per row,", "batches, attempts, cost,", "a reason for every move"],
  },
  {
    at: [610, 150],
    size: [160, 84],
    colour: "amber",
    title: "Batch API",
    lines: ["minutes to hours,", "half the price"],
  },
  {
    at: [40, 240],
    size: [204, 84],
    colour: "blue",
    title: "movie_labels",
    lines: ["typed columns,", "one row for each of yours"],
  },
  {
    at: [316, 240],
    size: [204, 84],
    colour: "green",
    title: "rowmill up",
    lines: ["one worker or several;", "a crash loses nothing"],
  },
];

/** The words next to the arrow are at `at`. */
const arrows = [
  { path: "M244 116H310", words: ["keys"], at: [277, 106], anchor: "middle" },
  { path: "M400 168V234", words: ["1,000 rows wait, or", "10 minutes pass"], at: [410, 198] },
  {
    path: "M520 262C570 262 570 192 604 192",
    words: ["a file;", "intent first"],
    at: [552, 172],
    anchor: "middle",
  },
  {
    path: "M690 234C690 302 620 302 526 302",
    words: ["every answer, also of", "expired batches"],
    at: [596, 322],
  },
  { path: "M316 282H250", words: ["checked"], at: [283, 272], anchor: "middle" },
];

await writeBothThemes("flow", picture);

function picture(colours) {
  const style = `text { font-family: ${sans}; font-size: 13px; fill: ${colours.ink}; }
.title { font-family: ${monospace}; font-size: 14px; font-weight: 700; fill: ${colours.bright}; }
.words { font-size: 12px; fill: ${colours.dim}; }
.arrow { fill: none; stroke: ${colours.dim}; stroke-width: 1.5; marker-end: url(#head); }`;
  return framed(
    { width, height, label: "The way of a row through Rowmill", style, colours },
    `<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0L8 4L0 8z" fill="${colours.dim}"/></marker></defs>
<rect x="20" y="20" width="520" height="320" rx="8" fill="none" stroke="${colours.line}" stroke-dasharray="4 4"/>
<text x="36" y="46" class="words">your PostgreSQL, and the machine next to it</text>
<text x="610" y="134" class="words">the provider</text>
${arrows.map(arrow).join("\n")}
${boxes.map((each) => box(each, colours)).join("\n")}`,
  );
}

function box({ at: [x, y], size: [w, h], colour, title, lines }, colours) {
  const texts = lines.map((line, index) => `<text x="${x + 14}" y="${y + 50 + index * 19}">${escaped(line)}</text>`);
  return `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="8" fill="${colours.bar}"
  stroke="${colours[colour]}" stroke-width="1.5"/>
<text x="${x + 14}" y="${y + 26}" class="title">${escaped(title)}</text>
${texts.join("\n")}`;
}

function arrow({ path, words, at: [x, y], anchor = "start" }) {
  const lines = words.map(
    (line, index) =>
      `<text x="${x}" y="${y + index * 16}" text-anchor="${anchor}" class="words">${escaped(line)}</text>`,
  );
  return `<path d="${path}" class="arrow"/>\n${lines.join("\n")}`;
}
