/** Owns the way from the command line to an open database: config, variables, ledger. Creates nothing there. */
import { resolve } from "node:path";
import * as pipelines from "../store/pipelines/pipelines.js";
import { hasDatabase, openProjectDatabase, type OpenedDatabase } from "../app/open/open-database.js";
import { readEnvironment, type Environment } from "../config/load/environment.js";
import { loadConfig } from "../config/load/load.js";
import { RowmillError } from "../model/errors.js";
import { nearMatch } from "../model/words/near-match.js";
import type { PipelineConfig, ProjectConfig } from "../model/pipeline.js";
import { percentDecoded } from "../model/percent-decoded.js";
import { ADAPTERS } from "../providers/adapters.js";
import type { Database } from "../postgres/database.js";
import * as deployment from "../store/ledger/deployment.js";
import * as migrations from "../store/ledger/migrations.js";
import * as overview from "../store/ledger/overview.js";
import * as understood from "../store/ledger/understood.js";
import type { Terminal } from "./screen/terminal.js";

export interface Project {
  readonly config: ProjectConfig;
  readonly environment: Environment;
  readonly terminal: Terminal;
}

/** Reads the config and the variables, and hides their secrets from all later output. */
export async function loadProject(terminal: Terminal, file: string | undefined): Promise<Project> {
  hideVariables(terminal);
  const config = await configIn(terminal, file);
  hideSecrets(terminal, config);
  const environment = readEnvironment(process.env, config);
  for (const { provider } of config.pipelines)
    for (const secret of provider.secrets(environment.provider)) terminal.hide(secret);
  return { config, environment, terminal };
}

/** Without a config, the files that were run in the folder, in whose words the terminal speaks then. */
async function configIn(terminal: Terminal, file: string | undefined): Promise<ProjectConfig> {
  const cwd = process.cwd();
  try {
    return await loadConfig({ ...(file === undefined ? {} : { file }), cwd, env: process.env });
  } catch (error) {
    if (file !== undefined || !(error instanceof RowmillError) || error.code !== "config_not_found") throw error;
    const { runProject } = await import("../app/run/run-project.js");
    const project = await runProject(cwd, process.env);
    if (project === null) throw error;
    const { runWords } = await import("./run/run-words.js");
    terminal.words = runWords(project.runs, false);
    return project.config;
  }
}

export function hideSecrets(terminal: Terminal, config: ProjectConfig | null): void {
  hideVariables(terminal);
  if (config?.database.kind === "server") hideUrl(terminal, config.database.url);
}

/** To be called twice: before the config runs, and after `.env` was read. */
export function hideVariables(terminal: Terminal): void {
  for (const { name, secret } of ADAPTERS.flatMap((adapter) => adapter.variables))
    if (secret) terminal.hide(process.env[name] ?? "");
  hideUrl(terminal, process.env["DATABASE_URL"] ?? "");
  for (const name of ["HTTPS_PROXY", "HTTP_PROXY"])
    for (const spelled of [name, name.toLowerCase()]) {
      const text = process.env[spelled] ?? "";
      hideUrl(terminal, text.includes("://") ? text : `http://${text}`);
    }
}

export function hideUrl(terminal: Terminal, text: string): void {
  for (const secret of urlSecrets(text)) terminal.hide(secret);
}

/** Gives the open database to `work`, or null where nothing was ever set up; always closes it. */
export async function withLedger<T>(
  { config, environment, terminal }: Project,
  work: (opened: OpenedDatabase | null) => Promise<T>,
): Promise<T> {
  if (!(await hasDatabase(config))) return work(null);
  const opened = await terminal.during("Opening the database", () => openProjectDatabase(config, environment));
  try {
    if (!(await overview.ledgerExists(opened.database))) return await work(null);
    await understood.requireUnderstood(opened.database);
    return await work(opened);
  } finally {
    await opened.close();
  }
}

/** As `withLedger`, for commands that need a ledger of this version. @throws RowmillError `not_found`, `refused` */
export async function withExistingLedger<T>(
  project: Project,
  work: (opened: OpenedDatabase) => Promise<T>,
): Promise<T> {
  return withLedger(project, async (opened) => {
    if (opened === null) throw notSetUp();
    await requireBroughtForward(opened.database);
    return work(opened);
  });
}

/** As `withExistingLedger`, from the config on. @throws RowmillError `not_found`, `refused` */
export async function withProjectLedger<T>(
  terminal: Terminal,
  { config }: { readonly config?: string },
  work: (opened: OpenedDatabase & { readonly project: Project }) => Promise<T>,
): Promise<T> {
  const project = await loadProject(terminal, config);
  return withExistingLedger(project, (opened) => work({ ...opened, project }));
}

/** Commands use what the newest version of the ledger has. @throws RowmillError `refused` */
export async function requireBroughtForward(database: Database): Promise<void> {
  if ((await migrations.pendingMigrations(database)).length === 0) return;
  throw new RowmillError("refused", "The ledger in this database is from an earlier version of Rowmill.", {
    hints: ["Upgrade it: rowmill up"],
  });
}

export function notSetUp(): RowmillError {
  return new RowmillError("not_found", "Rowmill is not set up in this database yet: it has no pipelines.", {
    hints: ["Set it up and start working: rowmill up"],
  });
}

export async function registeredPipeline(database: Database, name: string): Promise<pipelines.PipelineRow> {
  const all = await pipelines.all(database);
  const named = all.some((row) => row.name === name) ? name : await nameOfRun(name);
  const found = all.find((row) => row.name === named);
  if (found !== undefined) return found;
  const known = all.map((row) => row.name);
  throw unknownPipeline(name, known, "this database");
}

/** Of a file that was run in this folder. */
async function nameOfRun(file: string): Promise<string | null> {
  const { lastRecord } = await import("../app/run/run-folder.js");
  const last = await lastRecord(process.cwd(), { file: resolve(file), label: null, key: null });
  return last?.name ?? null;
}

/** The registered pipelines of these names in that order; without names, all that are not uninstalled. */
export async function registeredPipelines(
  database: Database,
  names: readonly string[],
): Promise<pipelines.PipelineRow[]> {
  if (names.length > 0) return Promise.all([...new Set(names)].map((name) => registeredPipeline(database, name)));
  return (await pipelines.all(database)).filter((row) => row.uninstalledAt === null);
}

export function unknownPipeline(name: string, known: readonly string[], where: string): RowmillError {
  const near = nearMatch(name, known);
  const meant = near === null ? "." : `; did you mean "${near}"?`;
  return new RowmillError("not_found", `There is no pipeline "${name}" in ${where}${meant}`, {
    hints: [
      known.length === 0 ? "There are none yet." : `There are: ${known.join(", ")}.`,
      "To set up new pipelines of the config: rowmill up",
    ],
  });
}

/** The project with these pipelines only, as if its config had no others; without names, all. @throws `not_found` */
export function onlyPipelines(project: Project, names: readonly string[]): Project {
  if (names.length === 0) return project;
  const { pipelines: all, file } = project.config;
  const known = all.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw unknownPipeline(unknown, known, file);
  return { ...project, config: { ...project.config, pipelines: all.filter(({ name }) => names.includes(name)) } };
}

export async function noteMissingWorker({ terminal }: Project, database: Database): Promise<void> {
  if ((await overview.livingWorkers(database)).length === 0)
    terminal.note("! No worker is running. Start one: rowmill up");
}

/** @throws RowmillError `refused` while the ledger may be a copy, or restored. */
export async function requireKnownPlace(database: Database): Promise<void> {
  const suspicion = await deployment.suspicion(database);
  if (suspicion !== null)
    throw new RowmillError("refused", suspicion, { hints: ["First confirm which it is: rowmill help deployment"] });
}

export function notInConfig({ config }: Project, name: string): RowmillError {
  return new RowmillError("not_found", `The config ${config.file} no longer has a pipeline "${name}".`);
}

export function configOf(project: Project, name: string): PipelineConfig | undefined {
  return project.config.pipelines.find((pipeline) => pipeline.name === name);
}

/** Shorter ones may be ordinary words of our own messages, such as "postgres". */
const PASSWORD_CHARACTERS_MIN = 12;

/** The URL and its password in each form that a message may have; also of a URL that no connection could use. */
export function urlSecrets(text: string): readonly string[] {
  // A password with an unencoded slash or question mark ends at the last @.
  const [, password = ""] = /:\/\/[^:@/?#]*:([^/?#]*)@/.exec(text) ?? /:\/\/[^:@/?#]*:(.*)@/s.exec(text) ?? [];
  const parameters = [...text.matchAll(/[?&]password=([^&#]+)/g)].map(([, value = ""]) => value);
  const passwords = [...(password === "" ? [] : [password]), ...parameters];
  if (passwords.length === 0) return [];
  return [
    text,
    ...(password === "" ? [] : [`:${password}@`]),
    ...parameters.map((value) => `password=${value}`),
    ...passwords
      .flatMap((found) => [found, percentDecoded(found), percentDecoded(found.replaceAll("+", " "))])
      .filter((found) => found.length >= PASSWORD_CHARACTERS_MIN),
  ];
}
