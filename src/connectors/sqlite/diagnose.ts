/**
 * What the doctor finds about a table of a SQLite database: as a source, can it be read, and how fast? As a target, can
 * it take the answers? Writes nothing.
 */
import { access, constants, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import sql, { raw } from "sql-template-tag";
import type { ConnectorFinding, PrepareOptions } from "../../model/connector.js";
import { hasCode } from "../../model/file-errors.js";
import { asSentence } from "../../model/words/as-sentence.js";
import { counted, formatCount } from "../../model/words/counted.js";
import { judgeSize, orFinding } from "../reading/findings.js";
import { openDriver, type OpenDriver } from "./driver.js";
import { explain } from "./failure.js";
import { nameOf, placeOf, type Place } from "./place.js";
import { cursorOf, openSource, readShape, readTable, type Shape } from "./read-table.js";
import type { ReadTable } from "./source.js";
import { quote } from "./table.js";
import { planTarget } from "./target-table.js";
import type { WantedTable } from "./target.js";

const LOOK_MS_MAX = 10_000;
/** As statfs says it: NFS, SMB in three forms, 9P, Ceph. */
const NETWORKS = new Set([0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x01021997, 0x00c36400]);

export async function diagnoseSource(table: ReadTable, signal: AbortSignal): Promise<readonly ConnectorFinding[]> {
  return orFinding(async () => {
    const place = placeOf(table.url, table.table);
    const driver = await openSource(table, signal);
    try {
      const about = [await describe(driver, place), ...(await judgeDisk(place))];
      const shape = await readShape(driver, table);
      const cursor = await judgeCursor(driver, shape);
      const { name } = shape.found;
      const pages = readTable({ ...table, cursor: null }, { since: null, place: null, signal });
      const size = await judgeSize(name, pages, async () => ({ rows: await countRows(driver, name), isExact: true }));
      return [...about, size, cursor];
    } catch (error) {
      driver.end();
      throw explain(error, place, { isReading: true });
    } finally {
      driver.release();
    }
  });
}

export async function diagnoseTarget(
  wanted: WantedTable,
  { signal, ...of }: PrepareOptions,
): Promise<readonly ConnectorFinding[]> {
  return orFinding(async () => {
    const place = placeOf(wanted.url.reveal(), wanted.table);
    const rights = await judgeRights(place);
    if (rights !== null) return rights;
    const authToken = wanted.authToken.reveal();
    const driver = await openDriver({ place, authToken, mode: "read", callMsMax: LOOK_MS_MAX, signal });
    try {
      const about = [await describe(driver, place), ...(await judgeDisk(place))];
      const { found, statements, faults, fixes } = await planTarget(driver, wanted, of);
      if (faults.length > 0)
        return [...about, ...faults.map((text) => ({ level: "problem" as const, text: asSentence(text), fixes }))];
      if (found === null) return [...about, { level: "ok", text: `rowmill up creates ${wanted.table}` }];
      const can = `answers can be written into ${found.name}`;
      const text = statements.length === 0 ? can : `${can}; rowmill up changes it first: ${statements.join("; ")}`;
      return [...about, { level: "ok", text }, ...(await judgeTriggers(driver, found.name))];
    } catch (error) {
      driver.end();
      throw explain(error, place, { isReading: true });
    } finally {
      driver.release();
    }
  });
}

async function describe(driver: OpenDriver, place: Place): Promise<ConnectorFinding> {
  const [row] = await driver.run(sql`select sqlite_version()`);
  const version = String(row?.[0]);
  if (place.kind === "server") return { level: "ok", text: `${place.shown} is a libSQL server with SQLite ${version}` };
  const [mode] = await driver.run(sql`pragma journal_mode`);
  const { size } = await stat(place.path);
  const is = `${place.shown} is a SQLite file of ${formatCount(Math.ceil(size / 1_000_000))} MB`;
  return { level: "ok", text: `${is} (journal mode ${String(mode?.[0])})` };
}

/** SQLite's locks do not work on many network file systems. */
async function judgeDisk(place: Place): Promise<readonly ConnectorFinding[]> {
  if (place.kind === "server") return [];
  const { type } = await statfs(dirname(place.path));
  if (!NETWORKS.has(type)) return [];
  const fix = "Move the file to a disk of this machine. Otherwise two programs may destroy it.";
  return [{ level: "warning", text: `${place.shown} is on a network file system.`, fixes: [fix] }];
}

/** Null: there is a file, or a server. */
async function judgeRights(place: Place): Promise<readonly ConnectorFinding[] | null> {
  if (place.kind === "server") return null;
  const folder = dirname(place.path);
  try {
    await access(folder, constants.W_OK | constants.X_OK);
    await access(place.path, constants.R_OK | constants.W_OK);
    return null;
  } catch (error) {
    const isFolderThere = await stat(folder).then(
      (found) => found.isDirectory(),
      () => false,
    );
    if (!isFolderThere)
      return [{ level: "problem", text: `There is no folder ${folder}.`, fixes: ["Create it, or correct the URL."] }];
    if (hasCode(error, "ENOENT")) return [{ level: "ok", text: `rowmill up creates ${place.shown}` }];
    const fix = "The user that runs Rowmill needs the right to write to the file and to its folder.";
    return [{ level: "problem", text: `${place.shown} cannot be written.`, fixes: [fix] }];
  }
}

async function judgeCursor(driver: OpenDriver, shape: Shape): Promise<ConnectorFinding> {
  const { of, found, columns } = shape;
  if (of.cursor === null) return { level: "ok", text: `no cursor, so all rows of ${found.name} are read each time` };
  const { kind } = await cursorOf(driver, shape);
  const column = columns.get(of.cursor);
  const name = column?.name ?? of.cursor;
  const index = [name, ...shape.key.map((one) => one.name)].map(quote).join(", ");
  if (!found.leading.some((one) => nameOf(one) === nameOf(name)))
    return {
      level: "warning",
      text: `no index of ${found.name} begins with the cursor ${name}: each reading of changes scans the whole table.`,
      sql: [`create index ${quote(`${found.name}_${name}`)} on ${quote(found.name)} (${index});`],
    };
  if (column?.notNull === false)
    return {
      level: "warning",
      text: `the cursor ${name} may be null: only full readings find changes of such rows.`,
      fixes: ["Set it in each row."],
    };
  return { level: "ok", text: `changes are found by ${name} (a ${kind}), by an index` };
}

async function countRows(driver: OpenDriver, table: string): Promise<number> {
  const [row] = await driver.run(sql`select count(*) from ${raw(quote(table))}`);
  return Number(row?.[0] ?? 0);
}

/** They run for each answer, and may refuse one. */
async function judgeTriggers(driver: OpenDriver, table: string): Promise<readonly ConnectorFinding[]> {
  const [row] = await driver.run(sql`
    select count(*)
    from sqlite_master m
    where m.type = 'trigger' and lower(m.tbl_name) = lower(${table})`);
  const count = Number(row?.[0] ?? 0);
  return count === 0 ? [] : [{ level: "ok", text: `${counted(count, "trigger")} of ${table} may run for each answer` }];
}
