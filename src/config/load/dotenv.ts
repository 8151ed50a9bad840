/** Owns the file `.env` next to the config. A variable that is already set, even to nothing, keeps its value. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { commonjs } from "../../model/commonjs.js";
import { RowmillError } from "../../model/errors.js";
import { hasCode } from "../../model/file-errors.js";

const BYTES_MAX = 1_000_000;

/**
 * Completes `variables` in place with what `.env` in `folder` adds; no such file adds nothing.
 * @throws RowmillError `config_invalid` when the file is there and cannot be read.
 */
export async function completeFromDotenv(variables: Record<string, string | undefined>, folder: string): Promise<void> {
  const file = path.join(folder, ".env");
  const text = await readIfPresent(file);
  if (text === null) return;
  if (text.length > BYTES_MAX) {
    throw new RowmillError("config_invalid", `${file} is too large for NAME=value lines (over ${BYTES_MAX} bytes)`);
  }
  for (const [name, value] of Object.entries((commonjs("dotenv") as typeof import("dotenv")).parse(text)))
    variables[name] ??= value;
}

/**
 * How to fix DATABASE_URL, if `.env` in `folder` has an unquoted # inside of its value, which ends there; else null.
 * Shows nothing of the value.
 */
export async function hintOfCutDatabaseUrl(folder: string, url: string | undefined): Promise<string | null> {
  const text = (await readIfPresent(path.join(folder, ".env"))) ?? "";
  const assigned = /^\s*(?:export\s+)?DATABASE_URL\s*=\s*(.*)$/;
  // Of several lines the last one counts.
  const written = text.split(/\r\n?|\n/).reduce((found, line) => assigned.exec(line)?.[1] ?? found, "");
  const end = written.indexOf("#");
  // After a space it begins a comment, as it was meant.
  if (/^["'`]/.test(written) || !/\S/.test(written.charAt(end - 1)) || written.slice(0, end) !== url) return null;
  return (
    `In ${path.join(folder, ".env")} the value of DATABASE_URL ends at its first #, because it has no quotes. ` +
    `Put the value in double quotes, and write a # of the password as %23.`
  );
}

async function readIfPresent(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    const reason = error instanceof Error ? error.message : String(error);
    throw new RowmillError("config_invalid", `${file} cannot be read: ${reason}`, { cause: error });
  }
}
