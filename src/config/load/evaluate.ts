/**
 * Owns running the user's config file. jiti runs it, with this running copy under the name `rowmill`, so that a config
 * works outside any node_modules and its `z` is ours. It writes nothing: a config may hold secrets.
 * A config is a program: if it throws, hangs or is not a module, a `config_invalid` names the file and the line.
 */
import path from "node:path";
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import * as publicFace from "../../index.js";
import { commonjs } from "../../model/commonjs.js";
import { RowmillError } from "../../model/errors.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { findJsonMistake } from "./json-position.js";

/** For the whole evaluation: imports, top-level awaits and a default export that is a promise. */
const EVALUATION_MS_MAX = 30_000;

const DEFAULT_EXPORT = "End it with `export default defineConfig({ … })`.";

/** The file's default export, or the parsed JSON, unchecked. A config that hangs is stopped after `msMax`. */
export async function evaluateConfig(file: string, msMax: number = EVALUATION_MS_MAX): Promise<unknown> {
  return path.extname(file) === ".json" ? readJson(file) : withDeadline(runModule(file), file, msMax);
}

async function readJson(file: string): Promise<unknown> {
  const text = (await readFile(file, "utf8")).replace(/^\uFEFF/, "");
  const mistake = findJsonMistake(text);
  if (mistake !== null) {
    const at = `${file}:${mistake.line}:${mistake.column}`;
    throw new RowmillError("config_invalid", `${at}: not valid JSON: expected ${mistake.expected} here`);
  }
  return JSON.parse(text);
}

async function runModule(file: string): Promise<unknown> {
  const plain = await runPlainScript(file);
  return plain === null ? runByJiti(file) : plain.exported;
}

async function runByJiti(file: string): Promise<unknown> {
  const jiti = (commonjs("jiti") as typeof import("jiti")).createJiti(file, {
    fsCache: false,
    // Each load reads the config again, and a module that failed must not stay half loaded.
    moduleCache: false,
    virtualModules: { rowmill: publicFace },
    transformOptions: { retainLines: true },
  });
  try {
    if (!(await isModule(file))) return await exported(await jiti.import(file), file);
    // Otherwise jiti asks Node first, and a function's text, and so the hash, would depend on Node's finding `rowmill`.
    const options = { filename: file, async: true, forceTranspile: true };
    return await exported(await jiti.evalModule(await readFile(file, "utf8"), options), file);
  } catch (error) {
    if (error instanceof RowmillError) throw error;
    throw failureOf(error, file);
  }
}

async function withDeadline<T>(evaluation: Promise<T>, file: string, msMax: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    const message = `${file}: still running after ${msMax / 1_000} s. Does it await something that never happens?`;
    timer = setTimeout(() => reject(new RowmillError("config_invalid", message)), msMax);
  });
  try {
    return await Promise.race([evaluation, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** The default export. One that is a promise, as of an async function, is awaited here, and may reject. */
async function exported(loaded: unknown, file: string): Promise<unknown> {
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
  const message = missing === undefined ? raw : `cannot find "${missing}", which it imports`;
  const missingPackage = /^(?:@[^/]+\/)?[^@./][^/]*/.exec(missing ?? "")?.[0];
  const install =
    missingPackage === "zod"
      ? 'Rowmill brings zod: `import { z } from "rowmill"`.'
      : `Install it in the config's folder: npm install ${missingPackage}`;
  // The error of a config may have several lines, such as the mistakes of a schema.
  const [first = "", ...lines] = message.split(/\r?\n/);
  return new RowmillError("config_invalid", `${place}: ${first}`, {
    cause: error,
    lines,
    hints: missingPackage === undefined ? [] : [install],
  });
}

/** `file:line` of the innermost stack frame in the config's folder. */
function lineIn(stack: string, file: string): string | null {
  const folder = path.dirname(file) + path.sep;
  const frames = stack.matchAll(/^\s+at (?:.*\()?(?:file:\/\/)?([^()]+?):(\d+):\d+\)?$/gm);
  for (const [, source = "", line = ""] of frames) {
    const isOfUser = source.startsWith(folder) && !source.includes(`${path.sep}node_modules${path.sep}`);
    if (isOfUser) return `${source}:${line}`;
  }
  return null;
}

/*
 * Below: configs that run without jiti and its Babel, which take 140 ms: plain JavaScript modules that import only
 * Rowmill and Node's modules and hold no function (its text, which Babel prints in its own way, is in the definition's
 * hash). Most configs of `rowmill init` are such. What is uncertain, or fails, is left to jiti.
 */

/** Comments and imports at the beginning of a file, where no text of the user can look like one. */
const HEADING =
  /^\uFEFF?(?:\s|\/\/.*|\/\*[^]*?\*\/|import\b(?:[\w$*{},\s]+\bfrom\b)?\s*(["'])(?:rowmill|node:[\w/]+)\1\s*;?)*/;
/** Functions of any kind, more imports, and what only jiti gives to a module. */
const NOT_PLAIN =
  /=>|\b(?:function|class|import|require|module|exports|__dirname|__filename)\b|\)(?:\s|\/\/.*|\/\*[^]*?\*\/)*\{/;
/** Type arguments look like comparisons; the rest of TypeScript is not JavaScript. */
const PERHAPS_TYPED = /[<>]/;

/** This running copy, wherever the config is. */
const ownFace = new URL("../../index.js", import.meta.url).href;

let runs = 0;

/** The default export, or null if jiti has to run it. */
async function runPlainScript(file: string): Promise<{ readonly exported: unknown } | null> {
  try {
    const text = await readFile(file, "utf8");
    const [head = ""] = HEADING.exec(text) ?? [];
    const rest = text.slice(head.length);
    const isTyped = path.extname(file).endsWith("ts") && PERHAPS_TYPED.test(rest);
    if (isTyped || NOT_PLAIN.test(rest) || !/\bexport\s+default\b/.test(rest)) return null;
    const imports = head.replace(/^\uFEFF/, "").replaceAll(/(["'])rowmill\1/g, () => JSON.stringify(ownFace));
    runs++;
    // A new name each time, because Node caches modules; named, because a stack would show the whole config.
    const name = `${pathToFileURL(file).href}?${runs}`;
    const module = Buffer.from(`${imports}${rest}\n//# sourceURL=${name}`).toString("base64");
    return { exported: await exported(await import(`data:text/javascript;base64,${module}`), file) };
  } catch {
    return null;
  }
}

/** Whether Node takes this JavaScript file for a module. */
async function isModule(file: string): Promise<boolean> {
  const extension = path.extname(file);
  return extension === ".mjs" || (extension === ".js" && (await isInModulePackage(path.dirname(file))));
}

/** The nearest package.json decides, as it does for Node. */
async function isInModulePackage(folder: string): Promise<boolean> {
  try {
    const manifest: unknown = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    return typeof manifest === "object" && manifest !== null && "type" in manifest && manifest.type === "module";
  } catch {
    const parent = path.dirname(folder);
    return parent !== folder && isInModulePackage(parent);
  }
}
