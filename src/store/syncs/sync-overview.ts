/** What `rowmill status` shows of sources elsewhere. */
import { sql, type Reader } from "../../postgres/database.js";

export interface SyncOverview {
  readonly pipeline: string;
  readonly phase: "idle" | "reading" | "deleting";
  readonly isFull: boolean;
  /** Of the pass that is under way. */
  readonly rows: number;
  /** Of the last completed pass over all rows; null: there was none. */
  readonly fullRows: number | null;
  readonly endedAt: Date | null;
  readonly fullEndedAt: Date | null;
  readonly nextMs: number;
  readonly gone: number;
  readonly held: boolean;
  readonly trouble: string | null;
  readonly troubleMs: number | null;
  readonly failures: number;
}

export async function list(client: Reader): Promise<SyncOverview[]> {
  return client.rows<SyncOverview>(sql`
    select pipeline, phase, is_full as "isFull", rows::float8 as rows, full_rows::float8 as "fullRows",
      ended_at as "endedAt", full_ended_at as "fullEndedAt",
      greatest(0, extract(epoch from next_at - clock_timestamp()) * 1000)::float8 as "nextMs",
      gone::float8 as gone, held, trouble,
      (extract(epoch from clock_timestamp() - trouble_since) * 1000)::float8 as "troubleMs", failures
    from rowmill.syncs
    order by pipeline`);
}
