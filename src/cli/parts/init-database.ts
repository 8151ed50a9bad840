/** Where `rowmill init` looks for tables: DATABASE_URL, the embedded database, or a typed URL, never shown. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openProjectDatabase, type OpenedDatabase } from "../../app/open/open-database.js";
import { completeFromDotenv } from "../../config/load/dotenv.js";
import { readEnvironment } from "../../config/load/environment.js";
import { Problems } from "../../config/read/problems.js";
import { readDatabase } from "../../config/read/read-database.js";
import { RowmillError } from "../../model/errors.js";
import type { DatabaseAddress } from "../../model/pipeline.js";
import { DatabaseError, raw, underRolePath, type Database } from "../../postgres/database.js";
import { askSecret, askText, choose } from "../screen/ask.js";
import type { Cli } from "../cli.js";
import type { InitOptions } from "./init-questions.js";
import { hideUrl, hideVariables } from "../project.js";
import { noteMessage } from "../screen/report-error.js";

/** Of typing a connection string. */
const TRIES_MAX = 5;

export interface InitDatabase extends OpenedDatabase {
  readonly embedded: boolean;
  /** To be kept in `.env`; null: it was known already. */
  readonly typedUrl: string | null;
}

export async function openInitDatabase(cli: Cli, folder: string, options: InitOptions): Promise<InitDatabase> {
  hideVariables(cli.terminal);
  await completeFromDotenv(process.env, folder);
  hideVariables(cli.terminal);
  if (options.sql !== undefined && options.embedded !== true)
    throw new RowmillError("usage", "--sql works only with the embedded database.", {
      hints: ["Add --embedded; on a server, create the tables with psql or your own tool."],
    });
  const url = process.env["DATABASE_URL"] ?? "";
  if (options.embedded) return openEmbedded(folder, options.sql);
  if (url !== "") return open(folder, { address: addressOf(url, "DATABASE_URL"), typedUrl: null });
  if (!cli.terminal.interactive) throw noUrl();
  const where = await choose("Where are your rows?", [
    { value: "server", label: "In PostgreSQL", hint: "Supabase, RDS, your own server; 14 or later" },
    {
      value: "embedded",
      label: "In a new embedded database",
      hint: "a folder .rowmill/ here; for trials and small machines",
    },
  ]);
  return where === "embedded" ? askForTables(folder) : askForServer(cli, folder);
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
  const project = { file: join(folder, "rowmill.config.ts"), database: found.address, pipelines: [] };
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

/** Duplicate schema, table, object (a role, a type, a constraint), function, column. */
const DUPLICATE_STATES = new Set(["42P06", "42P07", "42710", "42723", "42701"]);

function isDuplicate(error: RowmillError): boolean {
  return error instanceof DatabaseError && error.sqlState !== null && DUPLICATE_STATES.has(error.sqlState);
}
