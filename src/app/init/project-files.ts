/** Writes what a project needs next to its config, and overwrites nothing. Secrets go into `.env` and nowhere else. */
import { appendFile, chmod, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parse } from "dotenv";
import { exists, hasCode } from "../../model/file-errors.js";
import { RowmillError } from "../../model/errors.js";

const tsconfig = (config: string) => `{
  "compilerOptions": {
    "target": "es2023",
    "module": "esnext",
    "moduleResolution": "bundler",
    "strict": true,
    "noEmit": true,
    "skipLibCheck": true,
    "types": []
  },
  "include": [${JSON.stringify(config)}]
}
`;

/** `.mts` where your tsconfig.json may take `.ts` for CommonJS, which cannot import this package (TypeScript 5). */
export async function configFileName(folder: string): Promise<string> {
  const foreign = await exists(join(folder, "tsconfig.json"));
  return foreign && !(await isModule(folder)) ? "rowmill.config.mts" : "rowmill.config.ts";
}

async function isModule(folder: string): Promise<boolean> {
  const text = await readIfThere(await nearest(folder, "package.json"));
  if (text === null) return false;
  try {
    const manifest: unknown = JSON.parse(text);
    return typeof manifest === "object" && manifest !== null && "type" in manifest && manifest.type === "module";
  } catch (error) {
    // A broken package.json is for npm to complain about.
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** For the config of that name. True when it was written; false when there is one already. */
export async function writeTsconfig(folder: string, config: string): Promise<boolean> {
  const file = join(folder, "tsconfig.json");
  if (await exists(file)) return false;
  await writeFile(file, tsconfig(config));
  return true;
}

/** Adds a variable to `.env`, private to its owner. @throws RowmillError `usage` for a value that it cannot hold */
export async function writeVariable(folder: string, name: string, value: string): Promise<void> {
  const file = join(folder, ".env");
  const line = [value, `"${value}"`, `'${value}'`, `\`${value}\``]
    .map((written) => `${name}=${written}`)
    .find((candidate) => parse(candidate)[name] === value);
  if (line === undefined)
    throw new RowmillError("usage", `Rowmill cannot write the value of ${name} into .env; set the variable yourself.`);
  const before = await readIfThere(file);
  const gap = before === null || before === "" || before.endsWith("\n") ? "" : "\n";
  // Before the secret is in it.
  await appendFile(file, "", { mode: 0o600 });
  await chmod(file, 0o600);
  await appendFile(file, `${gap}${line}\n`);
}

const IGNORED = [".env", ".rowmill"] as const;

/** The lines that were added to `.gitignore`; none outside of a git repository. */
export async function ignoreOwnFiles(folder: string): Promise<readonly string[]> {
  const repository = await nearest(folder, ".git");
  if (repository === null) return [];
  const missing = [];
  for (const name of IGNORED) if (!(await isIgnored(folder, dirname(repository), name))) missing.push(name);
  if (missing.length === 0) return [];
  const file = join(folder, ".gitignore");
  const before = await readIfThere(file);
  const gap = before === null || before === "" || before.endsWith("\n") ? "" : "\n";
  await appendFile(file, `${gap}${missing.join("\n")}\n`);
  return missing;
}

/** By a line of its own in this folder's file or in one above; other patterns are not read. */
async function isIgnored(folder: string, root: string, name: string): Promise<boolean> {
  for (let at = folder; ; at = dirname(at)) {
    const lines = ((await readIfThere(join(at, ".gitignore"))) ?? "").split("\n");
    const plain = lines.map((line) =>
      line
        .trim()
        .replace(/^(?:\*\*\/|\/)/, "")
        .replace(/\/$/, ""),
    );
    if (plain.includes(name) || plain.includes(`${name}*`)) return true;
    if (at === root || at === dirname(at)) return false;
  }
}

/** The nearest one in this folder or above. */
async function nearest(folder: string, name: string): Promise<string | null> {
  for (let at = folder; ; at = dirname(at)) {
    if (await exists(join(at, name))) return join(at, name);
    if (at === dirname(at)) return null;
  }
}

async function readIfThere(file: string | null): Promise<string | null> {
  if (file === null) return null;
  return readFile(file, "utf8").catch((error: unknown) => {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  });
}
