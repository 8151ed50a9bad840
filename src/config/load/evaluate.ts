/**
 * Owns running the user's config file. TypeScript and JavaScript go through jiti, where the name `rowmill` is this
 * running copy itself, so that a config outside of any node_modules works and its `z` is ours. Nothing is
 * written: jiti's cache on disk is off, because a config may hold secrets. What needs no translation is left to Node
 * (`plain-script.ts`).
 *
 * A config is a program of the user's: it may throw, hang or be no module at all. Each of these ends in a
 * `config_invalid` that names the file and, where it can be known, the line.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import * as publicFace from "../../index.js";
import { commonjs } from "../../model/commonjs.js";
import { RowmillError } from "../../model/errors.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { findJsonMistake } from "./json-position.js";
import { isModule, runPlainScript } from "./plain-script.js";

/** For the whole evaluation, imports and top-level awaits included. */
const evaluationMsMax = 30_000;

const defaultExport = "End it with `export default defineConfig({ … })`.";

/** What the file exports by default, or the parsed JSON; not looked at yet. `msMax`: when a hanging one is given up. */
export async function evaluateConfig(file: string, msMax: number = evaluationMsMax): Promise<unknown> {
  return path.extname(file) === ".json" ? readJson(file) : runModule(file, msMax);
}

async function readJson(file: string): Promise<unknown> {
  const text = (await readFile(file, "utf8")).replace(/^\uFEFF/, "");
  const mistake = findJsonMistake(text);
  if (mistake !== null) {
    const at = `${file}:${mistake.line}:${mistake.column}`;
    throw new RowmillError("config_invalid", `${at}: this is no JSON: expected ${mistake.expected} here`);
  }
  return JSON.parse(text);
}

async function runModule(file: string, msMax: number): Promise<unknown> {
  const plain = await withDeadline(runPlainScript(file), file, msMax);
  return exported(plain ?? (await runByJiti(file, msMax)), file);
}

async function runByJiti(file: string, msMax: number): Promise<unknown> {
  const jiti = (commonjs("jiti") as typeof import("jiti")).createJiti(file, {
    fsCache: false,
    // A config is read afresh each time; and a module that failed must not stay half loaded.
    moduleCache: false,
    virtualModules: { rowmill: publicFace },
    transformOptions: { retainLines: true },
  });
  try {
    if (!(await isModule(file))) return await withDeadline(jiti.import(file), file, msMax);
    // By itself it asks Node first, which finds `rowmill` or not: the text of a function, and with it the hash, would depend on that.
    const options = { filename: file, async: true, forceTranspile: true };
    const evaluation = Promise.resolve(jiti.evalModule(await readFile(file, "utf8"), options));
    return await withDeadline(evaluation, file, msMax);
  } catch (error) {
    if (error instanceof RowmillError) throw error;
    throw failureOf(error, file);
  }
}

async function withDeadline<T>(evaluation: Promise<T>, file: string, msMax: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    const message = `${file}: not evaluated after ${msMax / 1_000} s; does it await something that never comes?`;
    timer = setTimeout(() => reject(new RowmillError("config_invalid", message)), msMax);
  });
  try {
    return await Promise.race([evaluation, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

function exported(loaded: unknown, file: string): unknown {
  const isModule = typeof loaded === "object" && loaded !== null;
  if (isModule && Object.hasOwn(loaded, "default") && "default" in loaded) return loaded.default;
  // `module.exports = …` of a CommonJS config arrives as it is.
  if (isModule && Object.hasOwn(loaded, "pipelines")) return loaded;
  throw new RowmillError("config_invalid", `${file} has no default export`, { hints: [defaultExport] });
}

function failureOf(error: unknown, file: string): RowmillError {
  const raw = thrownMessage(error);
  const syntax = /^ParseError: (.*?)\s*\n\s*(\S.*:\d+:\d+)\s*$/s.exec(raw);
  if (syntax?.[1] !== undefined && syntax[2] !== undefined) {
    return new RowmillError("config_invalid", `${syntax[2]}: ${syntax[1]}`, { cause: error });
  }
  const missing = /^Cannot find (?:module|package) '([^']+)'/.exec(raw)?.[1];
  const place = (error instanceof Error ? lineIn(error.stack ?? "", file) : null) ?? file;
  const message = missing === undefined ? raw : `it imports "${missing}", which cannot be found`;
  const isPackage = missing !== undefined && !/^[./]/.test(missing);
  const install = `Install "${missing}" beside the config. (zod comes with Rowmill: \`import { z } from "rowmill"\`.)`;
  // What a config throws may have several lines: the mistakes of a schema, the place in a file.
  const [first = "", ...lines] = message.split(/\r?\n/);
  return new RowmillError("config_invalid", `${place}: ${first}`, {
    cause: error,
    lines,
    hints: isPackage ? [install] : [],
  });
}

/** `file:line` of the innermost stack frame in the config or in a file beside or below it that it imports. */
function lineIn(stack: string, file: string): string | null {
  const folder = path.dirname(file) + path.sep;
  const frames = stack.matchAll(/^\s+at (?:.*\()?(?:file:\/\/)?([^()]+?):(\d+):\d+\)?$/gm);
  for (const [, source = "", line = ""] of frames) {
    const isOfUser = source.startsWith(folder) && !source.includes(`${path.sep}node_modules${path.sep}`);
    if (isOfUser) return `${source}:${line}`;
  }
  return null;
}
