/**
 * Owns the work of PostgreSQL's background processes, which PGlite lacks: checkpoints (without them the write-ahead log
 * grows until the database is closed), vacuum, and the planner's statistics. Nothing is lost if it does not run. It
 * runs between the clients' cycles, one statement at a time, because all clients wait: 1.5 million rows take 4 s.
 */
import type { Backend } from "./backend.js";

const CHECKPOINT_AFTER_BYTES = 64 * 1024 * 1024;
/** In one round; the next round takes the rest. */
const TABLES_MAX = 20;

/** The thresholds are PostgreSQL's own defaults for autovacuum. */
const DUE_TABLES = `
  SELECT pg_catalog.format(CASE WHEN vacuum THEN 'VACUUM (ANALYZE) %I.%I' ELSE 'ANALYZE %I.%I' END,
                           schemaname, relname)
  FROM (
    SELECT s.schemaname, s.relname, s.n_mod_since_analyze, live,
           s.n_dead_tup > 50 + 0.2 * live OR s.n_ins_since_vacuum > 1000 + 0.2 * live AS vacuum
    FROM pg_catalog.pg_stat_all_tables AS s
    JOIN pg_catalog.pg_class AS c ON c.oid = s.relid
    CROSS JOIN LATERAL (SELECT GREATEST(s.n_live_tup, c.reltuples)) AS counted (live)
    -- A table's TOAST is vacuumed with it.
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  ) AS t
  WHERE vacuum OR n_mod_since_analyze > 50 + 0.1 * live
  ORDER BY n_mod_since_analyze DESC
  LIMIT ${TABLES_MAX}`;

const BYTES_SINCE_CHECKPOINT = `
  SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), redo_lsn)
  FROM pg_catalog.pg_control_checkpoint()`;

export class Housekeeper {
  #due = false;
  #statements: string[] = [];

  /** Begins a round at the next `step`. */
  wake(): void {
    this.#due = true;
  }

  get isDue(): boolean {
    return this.#due || this.#statements.length > 0;
  }

  /** Runs one statement, or finds out which are due. For a session between transactions, with our settings. */
  async step(backend: Backend): Promise<void> {
    const statement = this.#statements.shift();
    if (statement !== undefined) {
      await this.#run(backend, statement);
      return;
    }
    this.#due = false;
    const { rows: written } = await backend.query(BYTES_SINCE_CHECKPOINT);
    const { rows: tables } = await backend.query(DUE_TABLES);
    this.#statements = tables.map(([text]) => text ?? "");
    if (Number(written[0]?.[0]) > CHECKPOINT_AFTER_BYTES) this.#statements.push("CHECKPOINT");
  }

  /** A table that cannot be vacuumed is its owner's problem, not a reason to stop. */
  async #run(backend: Backend, statement: string): Promise<void> {
    try {
      await backend.query(statement);
    } catch (error) {
      console.error(`${statement}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
