/**
 * Owns running the user's config file. TypeScript and JavaScript go through jiti, where the name `rowmill` is this
 * running copy itself, so that a config outside of any node_modules works and its `z` is ours. Nothing is
 * written: jiti's cache on disk is off, because a config may hold secrets. What needs no translation is left to Node
 * (`runPlainScript`).
 *
 * A config is a program of the user's: it may throw, hang or be no module at all. Each of these ends in a
 * `config_invalid` that names the file and, where it can be known, the line.
 */
import path from "node:path";
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import * as publicFace from "../../index.js";
import { commonjs } from "../../model/commonjs.js";
import { RowmillError } from "../../model/errors.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { findJsonMistake } from "./json-position.js";

/** For the whole evaluation, imports and top-level awaits included. */
const EVALUATION_MS_MAX = 30_000;

const DEFAULT_EXPORT = "End it with `export default defineConfig({ … })`.";

/** What the file exports by default, or the parsed JSON; not looked at yet. `msMax`: when a hanging one is given up. */
export async function evaluateConfig(file: string, msMax: number = EVALUATION_MS_MAX): Promise<unknown> {
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
  throw new RowmillError("config_invalid", `${file} has no default export`, { hints: [DEFAULT_EXPORT] });
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

/**
 * Runs the configs that need neither jiti nor the Babel that it brings, which take 140 ms of processor time: modules that are JavaScript as
 * they stand, import only Rowmill and what Node brings along, and hold no function. (The text of a function is part of the definition's
 * hash, and Babel prints it in its own way: it must be the same wherever the config is run.) Most configs that `rowmill init` writes are such.
 * Whatever is not certain is left to jiti, and so is what fails.
 */

/** Comments and imports with which a file begins, where no text of the user's can look like one. */
const HEADING =
  /^\uFEFF?(?:\s|\/\/.*|\/\*[^]*?\*\/|import\b(?:[\w$*{},\s]+\bfrom\b)?\s*(["'])(?:rowmill|node:[\w/]+)\1\s*;?)*/;
/** Functions of any kind, further imports, and what only jiti gives to a module. */
const NOT_PLAIN =
  /=>|\b(?:function|class|import|require|module|exports|__dirname|__filename)\b|\)(?:\s|\/\/.*|\/\*[^]*?\*\/)*\{/;
/** Type arguments can be read as comparisons; all else of TypeScript is no JavaScript. */
const PERHAPS_TYPED = /[<>]/;

/** This running copy, wherever the config is. */
const ownFace = new URL("../../index.js", import.meta.url).href;

let runs = 0;

/** What the module exports; null: jiti has to run it. Reads the file afresh each time. */
async function runPlainScript(file: string): Promise<unknown> {
  try {
    const text = await readFile(file, "utf8");
    const [head = ""] = HEADING.exec(text) ?? [];
    const rest = text.slice(head.length);
    const isTyped = path.extname(file).endsWith("ts") && PERHAPS_TYPED.test(rest);
    if (isTyped || NOT_PLAIN.test(rest) || !/\bexport\s+default\b/.test(rest)) return null;
    const imports = head.replace(/^\uFEFF/, "").replaceAll(/(["'])rowmill\1/g, () => JSON.stringify(ownFace));
    runs++;
    // Of its own each time, since Node keeps what it has run; and by its name in a stack, which would show the whole config.
    const name = `${pathToFileURL(file).href}?${runs}`;
    const module = Buffer.from(`${imports}${rest}\n//# sourceURL=${name}`).toString("base64");
    return await import(`data:text/javascript;base64,${module}`);
  } catch {
    return null;
  }
}

/** Of JavaScript, as Node sees it. */
export async function isModule(file: string): Promise<boolean> {
  const extension = path.extname(file);
  return extension === ".mjs" || (extension === ".js" && (await isInModulePackage(path.dirname(file))));
}

/** The nearest package.json decides, as it does for Node. */
async function isInModulePackage(folder: string): Promise<boolean> {
  try {
    const manifest: unknown = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    return (
      typeof manifest === "object" && manifest !== null && "type" in manifest && manifest.type === "module"
    );
  } catch {
    const parent = path.dirname(folder);
    return parent !== folder && isInModulePackage(parent);
  }
}
