/** Writes into a table of a SQLite database, which is made or checked for each pipeline. */
import { ConnectorError, type Change, type TargetConnector, type Written } from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";
import { openDriver, type Access, type OpenDriver } from "./driver.js";
import { explain, isBusy, isChangedTable } from "./failure.js";
import { placeOf } from "./place.js";
import { ensureTarget, type TargetTable } from "./target-table.js";
import type { WantedTable } from "./target.js";
import { RolledBack, writeFenced } from "./write-fenced.js";

const CALL_MS_MAX = 45_000;
/** After so many writes in a row that found the file locked, the message is shown. */
const BUSY_WRITES_MAX = 5;

interface Prepared {
  readonly table: TargetTable;
  /** Which file of that path. */
  readonly file: string | null;
  busyWrites: number;
}

export function openWriter(wanted: WantedTable): Pick<TargetConnector, "prepare" | "write"> {
  const tables = new Map<string, Prepared>();
  return {
    prepare: async ({ signal, ...of }) => {
      const { table, file } = await transact(wanted, { signal, mode: "create" }, async (driver) => ({
        table: await ensureTarget(driver, wanted, of),
        file: driver.file,
      }));
      tables.set(of.pipeline, { table, file, busyWrites: 0 });
    },
    write: async (changes, { pipeline, signal, readBack }) => {
      const prepared = tables.get(pipeline);
      if (prepared === undefined) throw new RowmillError("internal", `The target was not prepared for "${pipeline}".`);
      try {
        const written = await writeAll(changes, (part) =>
          transact(wanted, { signal, mode: "write" }, (driver) => {
            if (driver.file !== prepared.file)
              throw new ConnectorError("again", `${wanted.table} is in another file now.`);
            return writeFenced(driver, prepared.table, { changes: part, readBack });
          }),
        );
        prepared.busyWrites = 0;
        return written;
      } catch (error) {
        if (error instanceof ConnectorError && isBusy(error.cause) && ++prepared.busyWrites < BUSY_WRITES_MAX)
          return { ...NOTHING, busy: changes.map(({ key }) => key) };
        // The next prepare judges what has changed.
        tables.delete(pipeline);
        if (error instanceof ConnectorError && isChangedTable(error.cause))
          throw new ConnectorError("again", error.message, { cause: error });
        throw error;
      }
    },
  };
}

const NOTHING: Written = { written: [], stale: [], changed: [], busy: [], failed: [] };

/** Again without the rows that end the transaction. */
async function writeAll(
  changes: readonly Change[],
  write: (part: readonly Change[]) => Promise<Written>,
): Promise<Written> {
  const refused = new Map<string, string>();
  for (;;) {
    try {
      const written = await write(changes.filter(({ key }) => !refused.has(key)));
      return { ...written, failed: [...written.failed, ...[...refused].map(([key, reason]) => ({ key, reason }))] };
    } catch (error) {
      if (!(error instanceof RolledBack) || error.refused.size === 0) throw error;
      for (const [key, reason] of error.refused) refused.set(key, reason);
    }
  }
}

/** @throws ConnectorError, and then nothing was written, or to a file that another one replaced */
async function transact<T>(
  wanted: WantedTable,
  { mode, signal }: Pick<Access, "mode" | "signal">,
  work: (driver: OpenDriver) => Promise<T>,
): Promise<T> {
  const place = placeOf(wanted.url.reveal(), wanted.table);
  const driver = await openDriver({
    place,
    authToken: wanted.authToken.reveal(),
    mode,
    callMsMax: CALL_MS_MAX,
    signal,
  });
  try {
    const result = await driver.transaction(() => work(driver));
    await driver.requireSameFile();
    return result;
  } catch (error) {
    driver.end();
    throw explain(error, place);
  } finally {
    driver.release();
  }
}
