/** `rowmill tokens`: lists, makes and revokes the tokens of the HTTP service. A new one is shown this once. */
import { RowmillError } from "../../../model/errors.js";
import { proseLine } from "../../../model/words/one-line.js";
import type { Database } from "../../../postgres/database.js";
import * as tokens from "../../../store/tokens/tokens.js";
import type { ListedToken, Scope } from "../../../store/tokens/tokens.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { registeredPipeline, withProjectLedger } from "../../project.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { renderTable } from "../../screen/lay-out.js";
import type { Terminal } from "../../screen/terminal.js";
import { formatTime } from "../../screen/text.js";

export interface TokensOptions extends ProjectOptions {
  readonly scope?: Scope;
  readonly pipeline?: string;
  readonly note?: string;
  readonly json?: true;
}

const SHOWN_MAX = 1_000;

export function runTokens(
  { terminal }: Cli,
  ...[action, number, options]: [
    action: "list" | "create" | "revoke",
    number: string | undefined,
    options: TokensOptions,
  ]
): Promise<number> {
  if (number !== undefined && action !== "revoke")
    throw new RowmillError("usage", `rowmill tokens ${action} takes no number.`);
  return withProjectLedger(terminal, options, async ({ database }) => {
    if (action === "create") return create(terminal, database, options);
    return action === "revoke" ? revoke(terminal, database, { number, options }) : list(terminal, database, options);
  });
}

async function create(terminal: Terminal, database: Database, options: TokensOptions): Promise<number> {
  const { scope, pipeline = null, note = null } = options;
  if (scope === undefined)
    throw new RowmillError("usage", "rowmill tokens create needs --scope: push, read, operate or admin.", {
      hints: ["To let a program push rows: rowmill tokens create --scope push --pipeline NAME"],
    });
  if (pipeline !== null) await registeredPipeline(database, pipeline);
  const { id, text } = await tokens.create(database, { scope, pipeline, note });
  if (options.json) terminal.data(JSON.stringify({ token: id, text, scope, pipeline, note }));
  else {
    terminal.data(text);
    terminal.note("Keep it now: it is not shown again, and Rowmill has only its hash.");
    if (scope === "push" && pipeline !== null)
      terminal.note(
        "For callers that cannot set headers, the address http://HOST:PORT/v1/in/TOKEN takes rows with it.",
      );
  }
  return EXIT_STATUS.ok;
}

async function revoke(
  terminal: Terminal,
  database: Database,
  { number, options }: { readonly number: string | undefined; readonly options: TokensOptions },
): Promise<number> {
  if (number === undefined || !/^\d{1,9}$/.test(number))
    throw new RowmillError("usage", "rowmill tokens revoke needs the number of a token.", {
      hints: ["Show them: rowmill tokens"],
    });
  const revoked = await tokens.revoke(database, Number(number));
  if (revoked === null)
    throw new RowmillError("usage", `There is no token ${number}, so nothing was revoked.`, {
      hints: ["Show them: rowmill tokens"],
    });
  if (options.json) terminal.data(JSON.stringify({ token: Number(number), revoked }));
  else if (revoked) terminal.print(`✓ Token ${number} is revoked. Calls with it are refused from now on.`);
  else terminal.print(`✓ Token ${number} was revoked before.`);
  return EXIT_STATUS.ok;
}

async function list(terminal: Terminal, database: Database, options: TokensOptions): Promise<number> {
  const found = await tokens.list(database, SHOWN_MAX);
  if (options.json) terminal.data(JSON.stringify({ tokens: found.map(tokenJson) }));
  else if (found.length === 0)
    terminal.print("There are no tokens. Make one: rowmill tokens create --scope push --pipeline NAME");
  else for (const line of tokenTable(found, terminal.columns())) terminal.print(line);
  return EXIT_STATUS.ok;
}

function tokenTable(found: readonly ListedToken[], columns: number): string[] {
  const titles = ["token", "begins with", "scope", "pipeline", "created", "last used", "state", "note"];
  const header = titles.map((title, index) => ({ title, align: index === 0 ? "right" : "left" }) as const);
  const rows = found.map(({ id, prefix, scope, pipeline, note, createdAt, lastUsedAt, revokedAt }) => [
    String(id),
    `${prefix}…`,
    scope,
    pipeline ?? "all",
    formatTime(createdAt),
    lastUsedAt === null ? "never" : formatTime(lastUsedAt),
    revokedAt === null ? "valid" : "revoked",
    proseLine(note ?? ""),
  ]);
  return renderTable(header, rows, columns);
}

function tokenJson({ id, ...token }: ListedToken): object {
  return { token: id, ...token };
}
