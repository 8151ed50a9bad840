/** What happened to rows, by their keys. Only reads. */
import { sql, type Reader } from "../../postgres/database.js";
import type { RequestState } from "../../model/request/request-transitions.js";

const ERROR_CHARACTERS = 2_000;

export interface RowEnding {
  readonly key: string;
  readonly state: RequestState;
  /** For display; null: it did not fail. */
  readonly error: string | null;
}

export async function ofKeys(client: Reader, pipelineId: number, keys: readonly string[]): Promise<RowEnding[]> {
  return client.rows<RowEnding>(sql`
    select key, state, pg_catalog.left(error, ${ERROR_CHARACTERS}::int) as error
    from rowmill.requests
    where pipeline_id = ${pipelineId} and key = any(${[...keys]}::text[])`);
}

/** Of rows that wait, in the order in which the ledger got them. */
export async function waitingKeys(client: Reader, pipelineId: number, max: number): Promise<string[]> {
  return client.column<string>(sql`
    select key
    from rowmill.requests
    where pipeline_id = ${pipelineId} and state = 'waiting'
    order by id
    limit ${max}`);
}

/** Answered rows in the order in which the ledger got them, from behind an id. */
export async function answeredPage(
  client: Reader,
  pipelineId: number,
  { after, max }: { readonly after: string; readonly max: number },
): Promise<{ readonly id: string; readonly key: string }[]> {
  return client.rows<{ id: string; key: string }>(sql`
    select r.id::text as id, r.key
    from rowmill.requests r
    where r.pipeline_id = ${pipelineId} and r.state = 'succeeded' and r.id > ${after}::bigint
    order by r.id
    limit ${max}`);
}
