/** `rowmill init --from URL`: rows of another system, in which the answers go into a table too. */
import { refusalOfTable, type FoundTable } from "../../../app/init/list-tables.js";
import type { Elsewhere } from "../../../app/init/config-text.js";
import { listTables as listMysqlTables } from "../../../connectors/mysql/list-tables.js";
import { listTables as listSqliteTables } from "../../../connectors/sqlite/list-tables.js";
import { nearMatch } from "../../../model/words/near-match.js";
import { RowmillError } from "../../../model/errors.js";
import { hideUrl } from "../../project.js";
import type { Terminal } from "../../screen/terminal.js";
import { noTable, type Found, type InitOptions } from "./init-questions.js";

const LOOK_MS_MAX = 60_000;

interface System {
  readonly elsewhere: Elsewhere;
  readonly is: RegExp;
  list(url: string, signal: AbortSignal): Promise<{ readonly tables: readonly FoundTable[]; readonly place: string }>;
}

const SYSTEMS: readonly System[] = [
  {
    elsewhere: { call: "mysql", driver: "mysql2", variable: "SOURCE_URL" },
    is: /^(?:mysql|mariadb):\/\//,
    list: listMysqlTables,
  },
  {
    elsewhere: { call: "sqlite", driver: "@libsql/client", variable: "SOURCE_URL" },
    is: /^(?:file:|libsql:\/\/)/,
    list: listSqliteTables,
  },
];

/** The path of a SQLite file is enough. */
export function urlOf(from: string): string {
  return /^[^:]+\.(?:db|sqlite3?)$/i.test(from) ? `file:${from}` : from;
}

/** @throws RowmillError `usage` for a URL of no system that it knows; ConnectorError */
export async function findElsewhere(
  terminal: Terminal,
  { from: given = "", table }: InitOptions,
): Promise<{ readonly found: Found; readonly elsewhere: Elsewhere }> {
  const from = urlOf(given);
  if (!from.startsWith("file:")) hideUrl(terminal, from);
  const system = SYSTEMS.find(({ is }) => is.test(from));
  if (system === undefined)
    throw new RowmillError("usage", "--from: this is no URL of a system that init can read.", {
      hints: ["For MySQL and MariaDB: --from mysql://user:password@host:3306/database", "For SQLite: --from films.db"],
    });
  const { tables, place } = await terminal.during("Looking at the tables", () =>
    system.list(from, AbortSignal.timeout(LOOK_MS_MAX)),
  );
  if (tables.every(({ problem }) => problem !== null)) throw noTable({ tables, place });
  if (table !== undefined) requireTable(tables, table, place);
  return { found: { tables, place, isFile: false }, elsewhere: system.elsewhere };
}

/** @throws RowmillError */
function requireTable(tables: readonly FoundTable[], name: string, place: string): void {
  const found = tables.find((table) => table.name === name);
  if (found?.problem != null) throw refusalOfTable(found);
  if (found !== undefined) return;
  const near = nearMatch(
    name,
    tables.map((table) => table.name),
  );
  throw new RowmillError("not_found", `There is no table ${JSON.stringify(name)} in ${place}.`, {
    hints: near === null ? [] : [`Did you mean ${JSON.stringify(near)}?`],
  });
}
