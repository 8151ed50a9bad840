/** Names of the tables that hold pushed rows, and answers for targets elsewhere. Pure. */

export const REPLICA_SCHEMA = "rowmill_data";
/** Of Rowmill's own columns in them; no pushed field may begin so. */
export const REPLICA_PREFIX = "rowmill_";

/** As a config and SQL name it. A pipeline's name has no double quote. */
export function replicaTable(pipeline: string): string {
  return `${REPLICA_SCHEMA}."${pipeline}"`;
}

/** Of the answers to a pipeline whose target is elsewhere. */
export function answersTable(pipeline: string): string {
  return `${REPLICA_SCHEMA}."${pipeline}_answers"`;
}
