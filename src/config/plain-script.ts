/**
 * Tells the configs that Node itself runs as jiti would, without the 140 ms of processor time that jiti and its Babel take: JavaScript
 * modules that import this running copy or what Node brings along, and hold no function. The text of a function of the config is part of
 * its definition's hash, and Babel prints it anew: the same function must not have another hash on a machine where `rowmill` is
 * installed elsewhere. Whatever is not certain is left to jiti.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** Functions of any kind, and what only jiti gives to a module or resolves otherwise. */
const notPlain =
  /=>|\b(?:function|class)\b|\)\s*[{/]|\bimport\s*[(.]|\b(?:require|module|exports|__dirname|__filename)\b/;
const imported = /\b(?:from|import)\s*(?:(["'])(.*?)\1|\/)/g;

export async function isPlainScript(file: string): Promise<boolean> {
  if (!(await isModule(file))) return false;
  const text = await readFile(file, "utf8");
  return !notPlain.test(text) && importsOnly(text) && isThisCopy(file);
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

/** A word of a prompt may look like an import: then jiti runs it. */
function importsOnly(text: string): boolean {
  const names = [...text.matchAll(imported)].map(([, , name]) => name);
  return names.every((name) => name === "rowmill" || name?.startsWith("node:"));
}

/** Else it has another copy, or none: of a Rowmill that is installed globally, or beside another project. */
function isThisCopy(file: string): boolean {
  try {
    return createRequire(file).resolve("rowmill") === fileURLToPath(new URL("../index.js", import.meta.url));
  } catch {
    return false;
  }
}
