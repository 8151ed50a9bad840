/**
 * `rowmill init`: writes a config from answers or options. Writes nothing before everything is known and the config has
 * passed Rowmill's own checks, and changes nothing in a database on a server.
 */
import { statSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkConfigText, configText, type Choices } from "../../../app/init/config-text.js";
import {
  isNamed,
  listTables,
  refusalOfTable,
  requireWatchable,
  type FoundTable,
} from "../../../app/init/list-tables.js";
import { columnsOfFile, noKey, requireColumns } from "../../../app/init/file-columns.js";
import { KeptAnswers } from "../../../app/init/kept-answers.js";
import { configFileName, ignoreOwnFiles, writeTsconfig, writeVariable } from "../../../app/init/project-files.js";
import { stemOf } from "../../../app/run/run-folder.js";
import { openProjectDatabase, type OpenedDatabase } from "../../../app/open/open-database.js";
import { completeFromDotenv } from "../../../config/load/dotenv.js";
import { readEnvironment } from "../../../config/load/environment.js";
import { Problems } from "../../../config/read/problems.js";
import { readDatabase } from "../../../config/read/read-database.js";
import { RowmillError } from "../../../model/errors.js";
import type { DatabaseAddress } from "../../../model/pipeline.js";
import { DatabaseError, raw, underRolePath, type Database } from "../../../postgres/database.js";
import { ADAPTERS } from "../../../providers/adapters.js";
import { askSecret, askText, askYesNo, choose } from "../../screen/ask.js";
import type { Cli } from "../../cli.js";
import { Interrupted } from "../../screen/interruption.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { hideUrl, hideVariables } from "../../project.js";
import { noteMessage } from "../../screen/report-error.js";
import { findElsewhere, urlOf } from "./init-from.js";
import {
  areComplete,
  listOf,
  makeChoices,
  missingOptions,
  noTable,
  type Found,
  type InitOptions,
} from "./init-questions.js";

/** Of typing a connection string. */
const TRIES_MAX = 5;
/** Duplicate schema, table, object (a role, a type, a constraint), function, column. */
const DUPLICATE_STATES = new Set(["42P06", "42P07", "42710", "42723", "42701"]);

export async function runInit(cli: Cli, options: InitOptions): Promise<number> {
  const folder = process.cwd();
  const existing = await existingConfig(folder);
  if (existing !== null) await requireForce(cli, existing, options);
  const { choices, typedUrl } = await choicesOf(cli, folder, options);
  const file = existing ?? (await configFileName(folder));
  const text = configText(choices);
  const databaseUrl = typedUrl ?? process.env["DATABASE_URL"] ?? null;
  await checkConfigText(text, { file: join(folder, file), databaseUrl });
  const { from } = options;
  await writeProject(cli, folder, { file, text, typedUrl, from: from === undefined ? null : urlOf(from), choices });
  return EXIT_STATUS.ok;
}

async function choicesOf(cli: Cli, folder: string, options: InitOptions): Promise<Chosen> {
  if (options.from !== undefined) return fromElsewhere(cli, options);
  const place = await placeOf(cli, folder, options);
  return "file" in place ? fromFile(cli, options, place.file) : fromDatabase(cli, folder, options, place.database);
}

interface Chosen {
  readonly choices: Choices;
  /** To be kept in `.env`; null: it was known already. */
  readonly typedUrl: string | null;
}

async function fromDatabase(
  cli: Cli,
  folder: string,
  options: InitOptions,
  open: () => Promise<InitDatabase>,
): Promise<Chosen> {
  const database = await open();
  try {
    return { choices: await choicesFor(cli, database, options), typedUrl: database.typedUrl };
  } finally {
    await database.close();
  }
}

/** The embedded database is created by the first `up`. */
async function fromFile({ terminal }: Cli, options: InitOptions, path: string): Promise<Chosen> {
  const { table, notes } = await terminal.during(`Reading ${path}`, () => columnsOfFile(path, listOf(options.key)));
  for (const note of notes) terminal.note(`! ${path}: ${note}`);
  const [key, ...otherKeys] = table.keys;
  if (key === undefined) throw noKey(path);
  const found = { tables: [table], place: path, isFile: true };
  const named = { ...options, table: path };
  if (!areComplete(named) && !terminal.interactive) throw missingOptions(named, found);
  if (options.key === undefined && (otherKeys.length === 0 || areComplete(named)))
    terminal.note(`! ${path}: ${key.join()} identifies a row. To name another column: --key`);
  const wanted = await chooseKept(terminal, named, found);
  requireColumns(
    path,
    table.columns.map(({ name }) => name),
    wanted.columns,
  );
  return { choices: { ...wanted, elsewhere: null, embedded: true }, typedUrl: null };
}

/** Rowmill's own tables go into DATABASE_URL, or into the embedded database. */
async function fromElsewhere({ terminal }: Cli, options: InitOptions): Promise<Chosen> {
  hideVariables(terminal);
  await completeFromDotenv(process.env, process.cwd());
  hideVariables(terminal);
  const { found, elsewhere } = await findElsewhere(terminal, options);
  if (!areComplete(options) && !terminal.interactive) throw missingOptions(options, found);
  const wanted = await chooseKept(terminal, options, found);
  const embedded = options.embedded === true || (process.env["DATABASE_URL"] ?? "") === "";
  return { choices: { ...wanted, elsewhere, embedded }, typedUrl: null };
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

interface InitDatabase extends OpenedDatabase {
  readonly embedded: boolean;
  /** To be kept in `.env`; null: it was known already. */
  readonly typedUrl: string | null;
}

/** Where the rows are. A database: of DATABASE_URL, the embedded one, or of a typed URL, which is never shown. */
type RowsPlace = { readonly file: string } | { readonly database: () => Promise<InitDatabase> };

async function placeOf(cli: Cli, folder: string, options: InitOptions): Promise<RowsPlace> {
  hideVariables(cli.terminal);
  await completeFromDotenv(process.env, folder);
  hideVariables(cli.terminal);
  if (options.sql !== undefined && options.embedded !== true)
    throw new RowmillError("usage", "--sql works only with the embedded database.", {
      hints: ["Add --embedded; on a server, create the tables with psql or your own tool."],
    });
  const url = process.env["DATABASE_URL"] ?? "";
  const file = options.file ?? options.csv;
  if (file !== undefined) return { file };
  if (options.embedded) return { database: () => openEmbedded(folder, options.sql) };
  if (url !== "") return { database: () => open(folder, { address: addressOf(url, "DATABASE_URL"), typedUrl: null }) };
  if (!cli.terminal.interactive) throw noUrl();
  const where = await choose("Where are your rows?", [
    { value: "server", label: "In PostgreSQL", hint: "Supabase, RDS, your own server; 14 or later" },
    {
      value: "embedded",
      label: "In a new embedded database",
      hint: "a folder .rowmill/ here; for trials and small machines",
    },
    { value: "file", label: "In a file", hint: "CSV, TSV, JSONL or Parquet, also .gz" },
  ]);
  if (where === "file") return { file: await askText("Which file?", { check: fileProblem }) };
  return { database: () => (where === "embedded" ? askForTables(folder) : askForServer(cli, folder)) };
}

function fileProblem(path: string): string | null {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true ? null : "There is no such file.";
}

function noUrl(): RowmillError {
  return new RowmillError("usage", "DATABASE_URL is not set, and there is no terminal to ask for it.", {
    hints: [
      "Add it to .env in this folder: DATABASE_URL=postgres://user:password@host:5432/database",
      "To try without a server: rowmill init --embedded",
    ],
  });
}

async function askForTables(folder: string): Promise<InitDatabase> {
  const file = await askText("Which SQL file creates and fills your tables? Leave this empty if they already exist.");
  return openEmbedded(folder, file === "" ? undefined : file);
}

async function askForServer(cli: Cli, folder: string): Promise<InitDatabase> {
  for (let tries = 1; ; tries++) {
    const url = (
      await askSecret("What is its connection string? (postgres://user:password@host:5432/database)")
    ).trim();
    hideUrl(cli.terminal, url);
    try {
      return await open(folder, { address: addressOf(url, "the connection string"), typedUrl: url });
    } catch (error) {
      if (!(error instanceof RowmillError) || tries === TRIES_MAX) throw error;
      noteMessage(cli.terminal, error);
    }
  }
}

function addressOf(url: string, where: string): DatabaseAddress {
  const problems = new Problems();
  const address = readDatabase({ path: where, value: url, problems }, null);
  problems.throwIfAny("the database");
  return address;
}

async function open(
  folder: string,
  found: { address: DatabaseAddress; typedUrl: string | null },
): Promise<InitDatabase> {
  const project = { file: join(folder, "rowmill.config.ts"), database: found.address, http: null, pipelines: [] };
  // Named as in .env, where it will be: errors use that name.
  const typed = found.typedUrl === null ? {} : { DATABASE_URL: found.typedUrl };
  const opened = await openProjectDatabase(project, readEnvironment({ ...process.env, ...typed }));
  return { ...opened, embedded: found.address.kind === "embedded", typedUrl: found.typedUrl };
}

async function openEmbedded(folder: string, file: string | undefined): Promise<InitDatabase> {
  const opened = await open(folder, { address: { kind: "embedded" }, typedUrl: null });
  if (file === undefined) return opened;
  try {
    await runFile(opened.database, file);
    return opened;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function runFile(database: Database, file: string): Promise<void> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RowmillError("usage", `--sql: cannot read ${file}: ${reason}`, { cause });
  }
  try {
    await database.run(underRolePath(raw(text)));
  } catch (cause) {
    if (!(cause instanceof RowmillError)) throw cause;
    throw new RowmillError("usage", `--sql: ${file}: ${cause.message}`, {
      cause,
      hints: [
        ...(isDuplicate(cause) ? ["If the file ran before, its tables exist: leave out --sql."] : []),
        "Nothing of the file was kept. Use plain SQL: psql commands (\\copy) and COPY FROM STDIN do not work here.",
      ],
    });
  }
}

function isDuplicate(error: RowmillError): boolean {
  return error instanceof DatabaseError && error.sqlState !== null && DUPLICATE_STATES.has(error.sqlState);
}

async function choicesFor({ terminal }: Cli, opened: InitDatabase, typed: InitOptions): Promise<Choices> {
  const { database, place, embedded } = opened;
  const found = { tables: await listTables(database), place, isFile: false };
  const options = asListed(typed, found.tables);
  if (options.table === undefined && found.tables.every((table) => table.problem !== null)) throw noTable(found);
  const named = found.tables.find((table) => table.name === options.table);
  // Before anything else is asked or reported as missing.
  if (named !== undefined && named.problem !== null) throw refusalOfTable(named);
  if (options.table !== undefined && named === undefined)
    await requireWatchable(database, { table: options.table, key: [], columns: [] });
  if (!areComplete(options) && !terminal.interactive) throw missingOptions(options, found);
  const wanted = await chooseKept(terminal, options, found);
  await requireWatchable(database, wanted);
  return {
    ...wanted,
    elsewhere: null,
    embedded: embedded && opened.typedUrl === null && process.env["DATABASE_URL"] !== "embedded",
  };
}

async function chooseKept(
  terminal: Cli["terminal"],
  options: InitOptions,
  found: Found,
): Promise<Awaited<ReturnType<typeof makeChoices>>> {
  const kept = await KeptAnswers.read(process.cwd());
  try {
    return await makeChoices(terminal, options, { ...found, kept });
  } catch (error) {
    if (error instanceof Interrupted && !kept.isEmpty)
      terminal.note("Your answers so far are kept. To continue: rowmill init");
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
  written: { file: string; text: string; typedUrl: string | null; from: string | null; choices: Choices },
): Promise<void> {
  const { file, text, typedUrl, from, choices } = written;
  const { elsewhere } = choices;
  const ignored = await ignoreOwnFiles(folder);
  if (typedUrl !== null) await writeVariable(folder, "DATABASE_URL", typedUrl);
  if (from !== null && elsewhere !== null) await writeVariable(folder, elsewhere.variable, from);
  const tsconfig = await writeTsconfig(folder, file);
  await writeFile(join(folder, file), text);
  await (await KeptAnswers.read(folder)).forget();
  const lines = describeWritten({
    config: file,
    tsconfig,
    variables: [...(typedUrl === null ? [] : ["DATABASE_URL"]), ...(elsewhere === null ? [] : [elsewhere.variable])],
    driver: elsewhere?.driver ?? null,
    ignored,
    exports: choices.isFile ? choices : null,
    hasKey: (process.env[ADAPTERS[0].keyVariable] ?? "") !== "",
  });
  for (const line of lines) terminal.print(line);
}

interface Written {
  readonly config: string;
  readonly tsconfig: boolean;
  /** In `.env`. */
  readonly variables: readonly string[];
  /** A package that the config needs. */
  readonly driver: string | null;
  readonly ignored: readonly string[];
  /** Where the rows are in a file. */
  readonly exports: Choices | null;
  readonly hasKey: boolean;
}

function describeWritten(written: Written): string[] {
  const files = [
    `✓ Wrote ${written.config}.`,
    ...(written.tsconfig ? ["Wrote tsconfig.json, so that your editor understands it."] : []),
    ...written.variables.map((name) => `Wrote ${name} to .env, which only you can read.`),
    ...(written.ignored.length === 0
      ? []
      : [`Added ${written.ignored.join(" and ")} to .gitignore, to keep secrets and state out of git.`]),
  ];
  const steps = [
    ...(written.driver === null ? [] : [`Keep the driver in your project: npm install ${written.driver}`]),
    ...(written.hasKey ? [] : [`Add your API key to .env: ${ADAPTERS[0].keyExample}`]),
    "Check your setup: rowmill doctor",
    "Try your prompt on five rows: rowmill try",
    "Start (shows the cost and asks first): rowmill up",
    ...(written.exports === null ? [] : [`Write the answers to a file: ${exportCommand(written.exports)}`]),
  ];
  return [...files, "Next:", ...steps.map((step, index) => `  ${index + 1}. ${step}`)];
}

function exportCommand({ name, table }: Choices): string {
  return `rowmill export ${name} --out ${stemOf(table)}.answers.csv`;
}
