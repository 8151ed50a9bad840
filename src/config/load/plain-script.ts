/**
 * Runs the configs that need neither jiti nor the Babel that it brings, which take 140 ms of processor time: modules that are JavaScript as
 * they stand, import only Rowmill and what Node brings along, and hold no function. (The text of a function is part of the definition's
 * hash, and Babel prints it in its own way: it must be the same wherever the config is run.) Most configs that `rowmill init` writes are such.
 * Whatever is not certain is left to jiti, and so is what fails.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";

/** Comments and imports with which a file begins, where no text of the user's can look like one. */
const heading =
  /^\uFEFF?(?:\s|\/\/.*|\/\*[^]*?\*\/|import\b(?:[\w$*{},\s]+\bfrom\b)?\s*(["'])(?:rowmill|node:[\w/]+)\1\s*;?)*/;
/** Functions of any kind, further imports, and what only jiti gives to a module. */
const notPlain =
  /=>|\b(?:function|class|import|require|module|exports|__dirname|__filename)\b|\)(?:\s|\/\/.*|\/\*[^]*?\*\/)*\{/;
/** Type arguments can be read as comparisons; all else of TypeScript is no JavaScript. */
const perhapsTyped = /[<>]/;

/** This running copy, wherever the config is. */
const ownFace = new URL("../../index.js", import.meta.url).href;

let runs = 0;

/** What the module exports; null: jiti has to run it. Reads the file afresh each time. */
export async function runPlainScript(file: string): Promise<unknown> {
  try {
    const text = await readFile(file, "utf8");
    const [head = ""] = heading.exec(text) ?? [];
    const rest = text.slice(head.length);
    const isTyped = path.extname(file).endsWith("ts") && perhapsTyped.test(rest);
    if (isTyped || notPlain.test(rest) || !/\bexport\s+default\b/.test(rest)) return null;
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
