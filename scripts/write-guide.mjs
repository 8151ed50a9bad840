/**
 * Writes the outputs of docs/guide.md. Runs the blocks under the page's marks in their order, in an empty folder with
 * Rowmill installed in it, with a fresh PostgreSQL and the demo model, and puts what each printed into the block below
 * it. `<!-- run -->` marks a block of `sh`, of `sql`, or a `diff`, which is applied to the config. `exits with N` names
 * the expected status; `beside the next` leaves a command running while the next block runs; `as a screen` takes the
 * frame of a command that draws over the whole terminal, as soon as a batch runs.
 * `--check`: compares instead of writing. Ids, times, and figures that a sample decides differ from run to run and are
 * not compared; where nothing else differs, the page stays as it is. Needs a build in dist.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";
import { format, resolveConfig } from "prettier";
import { asTable, repository, startDocsProject } from "./docs-project.mjs";

const page = join(repository, "docs", "guide.md");
const block =
  /<!-- run(?<how>[^\n]*) -->\n\n```(?<language>sh|sql|diff)\n(?<text>[\s\S]*?)```(?:\n\n<!-- its output -->\n\n```text\n(?<before>[\s\S]*?)```)?/g;
const outputMark = "\n\n<!-- its output -->\n\n```text\n";
/** So long that a batch can be looked at while it runs. */
const batchDelayMs = 1_000;
const framesMax = 200;
const frameMs = 200;
/** Numbers on lines with one of these words come from a sample or a clock. */
const sampled = / running |\bsampled\b|\babout\b|\bestimated\b|\bbytes\b|ms each|tokens, \$/;
const volatile = [
  /\b[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\b/g,
  /\bbatch_[\da-f]{32}\b/g,
  /\b(?=[a-f]*\d)[\da-f]{8}\b/g,
  /\b\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?/g,
  /\b\d+(?:\.\d+)? (?:ms|s|min)\b/g,
  /\b\d\d:\d\d:\d\d\b/g,
  /(?<= running .*)\bnow\b/g,
  /\b\d+m\d+\.\d+s\b/g,
  /127\.0\.0\.1:\d+/g,
];

const project = await startDocsProject({ gateway: { batchDelayMs } });
try {
  await preparePsql();
  await writeFile(join(project.folder, "package.json"), '{ "type": "module" }\n');
  const before = await readFile(page, "utf8");
  const after = await withOutputs(before);
  const laidOut = await format(after, { ...(await resolveConfig(page)), filepath: page });
  if (stable(before) === stable(laidOut)) console.log("docs/guide.md is as the commands say");
  else if (process.argv.includes("--check")) throw difference(before, laidOut);
  else await writeFile(page, laidOut);
} finally {
  await project.close();
}

/** The page's commands use psql, which not every machine has. */
async function preparePsql() {
  const bin = join(project.folder, "node_modules", ".bin");
  await mkdir(bin, { recursive: true });
  const script = join(repository, "test", "support", "psql.mjs");
  await writeFile(join(bin, "psql"), `#!/bin/sh\nexec "${process.execPath}" "${script}" "$@"\n`);
  await chmod(join(bin, "psql"), 0o755);
}

async function withOutputs(text) {
  const outputs = [];
  let beside = null;
  for (const { groups } of text.matchAll(block)) {
    console.log(`-- ${groups.language}:\n${groups.text}`);
    const output = start(groups);
    if (groups.how.includes("beside the next")) {
      beside = output;
      // It fails where it is awaited.
      output.catch(() => undefined);
    } else {
      await output;
      await beside;
      beside = null;
    }
    outputs.push(output);
  }
  if (outputs.length === 0) throw new Error("docs/guide.md has no block to run.");
  const said = await Promise.all(outputs);
  return text.replaceAll(block, (whole, ...rest) => {
    const { before } = rest.at(-1);
    const output = said.shift();
    if (before === undefined) return whole;
    return `${whole.slice(0, whole.indexOf(outputMark))}${outputMark}${output}\n\`\`\``;
  });
}

async function start({ how, language, text }) {
  if (language === "diff") return applyDiff(text);
  if (language === "sql") return asTable([await project.client.query(text)].flat().at(-1));
  if (how.includes("as a screen")) return screenOf(text.trim());
  const status = Number(/exits with (\d+)/.exec(how)?.[1] ?? 0);
  const said = await project.run("bash", ["-uo", "pipefail", "-c", `exec 2>&1\n${text}`], { accept: [status] });
  console.log(said);
  return withoutProgress(said);
}

/** Lines of progress, which a terminal draws over, depend on the clock. */
function withoutProgress(said) {
  return said
    .split("\n")
    .filter((line) => !/^\w+: waiting [\d,]+, batched /.test(line))
    .join("\n")
    .trimEnd();
}

/** Lines that begin with `-` or a space stand in the config, once; those with `+` or a space take their place. */
async function applyDiff(text) {
  const config = join(project.folder, "rowmill.config.ts");
  const side = (signs) =>
    text
      .split("\n")
      .filter((line) => signs.includes(line[0]))
      .map((line) => line.slice(1))
      .join("\n");
  const before = await readFile(config, "utf8");
  const parts = before.split(side(" -"));
  if (parts.length !== 2) throw new Error(`This is not in the config exactly once:\n${side(" -")}\n\n${before}`);
  await writeFile(config, parts.join(side(" +")));
  return "";
}

/** `npx rowmill …`, drawn on a terminal of 80 by 24: the first frame in which a batch runs. */
async function screenOf(command) {
  const [, rowmill, ...args] = command.split(" ");
  const preload = join(repository, "scripts", "terminal-80x24.mjs");
  const script = join(project.folder, "node_modules", ".bin", rowmill);
  await untilABatchRuns();
  const child = spawn(process.execPath, ["--import", preload, script, ...args], {
    cwd: project.folder,
    env: project.env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  let drawn = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (drawn += text));
  try {
    for (let look = 0; look < framesMax; look++) {
      const frames = drawn.split("\u001b[H").slice(1);
      const shown = frames.find((frame) => frame.endsWith("\u001b[J") && / running\b/.test(frame));
      if (shown !== undefined) return lines(stripVTControlCharacters(shown));
      await pause(frameMs);
    }
  } finally {
    child.kill("SIGINT");
    await ended;
  }
  throw new Error(`No batch was seen running:\n${stripVTControlCharacters(drawn)}`);
}

function lines(frame) {
  return frame.replaceAll("\r", "").replaceAll(/ +$/gm, "").trimEnd();
}

async function untilABatchRuns() {
  for (let look = 0; look < framesMax; look++) {
    const status = await project.run("rowmill", ["status", "--json"], { accept: [0, 2] });
    if (/"state":\s*"running"/.test(status)) return;
    await pause(frameMs);
  }
  throw new Error("No batch ran while the next command was to look at it.");
}

/** The text without what differs from run to run; columns are as wide as what stands in them. */
function stable(text) {
  const masked = volatile.reduce((rest, pattern) => rest.replaceAll(pattern, "·"), text);
  return masked
    .split("\n")
    .map((line) => (sampled.test(line) ? line.replaceAll(/\d[\d,.]*/g, "·") : line))
    .map((line) => line.replaceAll(/ {2,}/g, "  ").replaceAll(/-{3,}/g, "---"))
    .join("\n");
}

function difference(before, after) {
  const [was, is] = [before, after].map((text) => stable(text).split("\n"));
  const at = is.findIndex((line, index) => line !== was[index]);
  const around = (text) =>
    text
      .split("\n")
      .slice(at, at + 3)
      .join("\n");
  return new Error(
    `docs/guide.md, line ${at + 1}, is:\n${around(before)}\nand would be:\n${around(after)}\n` +
      "Write it again: node scripts/write-guide.mjs",
  );
}
