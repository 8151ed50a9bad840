/**
 * `rowmill init`: writes a config from answers or options. Writes nothing before everything is known and the config has
 * passed Rowmill's own checks, and changes nothing in a database on a server.
 */
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkConfigText, configText, type Choices } from "../../app/init/config-text.js";
import { isNamed, listTables, refusalOfTable, requireWatchable, type FoundTable } from "../../app/init/list-tables.js";
import { KeptAnswers } from "../../app/init/kept-answers.js";
import { configFileName, ignoreOwnFiles, writeTsconfig, writeVariable } from "../../app/init/project-files.js";
import { RowmillError } from "../../model/errors.js";
import { ADAPTERS } from "../../providers/adapters.js";
import { askYesNo } from "../screen/ask.js";
import type { Cli } from "../cli.js";
import { Interrupted } from "../screen/interruption.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { openInitDatabase, type InitDatabase } from "../parts/init-database.js";
import {
  askChoices,
  choicesOfOptions,
  missingOptions,
  noTable,
  type InitOptions,
  type Wanted,
} from "../parts/init-questions.js";

export async function runInit(cli: Cli, options: InitOptions): Promise<number> {
  const folder = process.cwd();
  const existing = await existingConfig(folder);
  if (existing !== null) await requireForce(cli, existing, options);
  const database = await openInitDatabase(cli, folder, options);
  let choices: Choices;
  try {
    choices = await choicesFor(cli, database, options);
  } finally {
    await database.close();
  }
  const file = existing ?? (await configFileName(folder));
  const text = configText(choices);
  const databaseUrl = database.typedUrl ?? process.env["DATABASE_URL"] ?? null;
  await checkConfigText(text, { file: join(folder, file), databaseUrl });
  await writeProject(cli, folder, { file, text, database });
  return EXIT_STATUS.ok;
}

async function existingConfig(folder: string): Promise<string | null> {
  const names = (await readdir(folder)).filter((name) => /^rowmill\.config\.(?:m?[tj]s|json)$/.test(name));
  return names.sort()[0] ?? null;
}

async function requireForce({ terminal }: Cli, existing: string, options: InitOptions): Promise<void> {
  if (!existing.endsWith("ts"))
    throw new RowmillError("refused", `${existing} already exists, and this command writes TypeScript.`, {
      hints: ["Keep using it, or remove it and run this command again. Nothing was written."],
    });
  if (options.force) return;
  if (!terminal.interactive)
    throw new RowmillError("refused", `${existing} already exists, so nothing was written.`, {
      hints: ["To overwrite it: add --force"],
    });
  if (!(await askYesNo(`${existing} already exists. Overwrite it?`)))
    throw new RowmillError("refused", "Nothing was written.");
}

async function choicesFor({ terminal }: Cli, opened: InitDatabase, typed: InitOptions): Promise<Choices> {
  const { database, place, embedded } = opened;
  const found = { tables: await listTables(database), place };
  const options = asListed(typed, found.tables);
  if (options.table === undefined && found.tables.every((table) => table.problem !== null)) throw noTable(found);
  const named = found.tables.find((table) => table.name === options.table);
  // Before anything else is asked or reported as missing.
  if (named !== undefined && named.problem !== null) throw refusalOfTable(named);
  if (options.table !== undefined && named === undefined)
    await requireWatchable(database, { table: options.table, key: [], columns: [] });
  const given = choicesOfOptions(options, found);
  if (given === null && !terminal.interactive) throw missingOptions(options, found);
  const wanted = given ?? (await askKept(terminal, options, found));
  await requireWatchable(database, wanted);
  return {
    ...wanted,
    embedded: embedded && opened.typedUrl === null && process.env["DATABASE_URL"] !== "embedded",
  };
}

async function askKept(
  terminal: Cli["terminal"],
  options: InitOptions,
  found: Parameters<typeof choicesOfOptions>[1],
): Promise<Wanted> {
  const kept = await KeptAnswers.read(process.cwd());
  try {
    return await askChoices(terminal, options, { ...found, kept });
  } catch (error) {
    if (error instanceof Interrupted) terminal.note("Your answers so far are kept. To continue: rowmill init");
    throw error;
  }
}

function asListed(options: InitOptions, tables: readonly FoundTable[]): InitOptions {
  const { table } = options;
  const found = table === undefined ? undefined : tables.find((candidate) => isNamed(candidate, table));
  return found === undefined ? options : { ...options, table: found.name };
}

async function writeProject(
  { terminal }: Cli,
  folder: string,
  written: { file: string; text: string; database: InitDatabase },
): Promise<void> {
  const { file, text, database } = written;
  const ignored = await ignoreOwnFiles(folder);
  if (database.typedUrl !== null) await writeVariable(folder, "DATABASE_URL", database.typedUrl);
  const tsconfig = await writeTsconfig(folder, file);
  await writeFile(join(folder, file), text);
  await (await KeptAnswers.read(folder)).forget();
  const lines = describeWritten({
    config: file,
    tsconfig,
    env: database.typedUrl !== null,
    ignored,
    embedded: database.embedded,
    hasKey: (process.env[ADAPTERS[0].keyVariable] ?? "") !== "",
  });
  for (const line of lines) terminal.print(line);
}

interface Written {
  readonly config: string;
  readonly tsconfig: boolean;
  readonly env: boolean;
  readonly ignored: readonly string[];
  readonly embedded: boolean;
  readonly hasKey: boolean;
}

function describeWritten(written: Written): string[] {
  const files = [
    `✓ Wrote ${written.config}.`,
    ...(written.tsconfig ? ["Wrote tsconfig.json, so that your editor understands it."] : []),
    ...(written.env ? ["Wrote DATABASE_URL to .env, which only you can read."] : []),
    ...(written.ignored.length === 0
      ? []
      : [`Added ${written.ignored.join(" and ")} to .gitignore, to keep secrets and state out of git.`]),
  ];
  const steps = [
    ...(written.hasKey ? [] : [`Add your API key to .env: ${ADAPTERS[0].keyExample}`]),
    "Check your setup: rowmill doctor",
    "Start (shows the cost and asks first): rowmill up",
  ];
  return [...files, "Next:", ...steps.map((step, index) => `  ${index + 1}. ${step}`)];
}
