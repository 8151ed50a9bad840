/** How the routes of a pipeline with pushed rows read: what there is, within which bounds, and as which JSON. */
import { compileStored } from "../model/answer/answer.js";
import { replicaTable } from "../model/replica-name.js";
import type { Reader, Queryable } from "../postgres/database.js";
import * as definitions from "../store/pipelines/definitions.js";
import type { ReadableDefinition } from "../store/pipelines/definitions.js";
import * as replicas from "../store/replicas/replicas.js";
import type { Replica } from "../store/replicas/replicas.js";
import type { AnswerRead } from "../targets/table/read-answers.js";
import type { Desk } from "./routes.js";

/** Of PostgreSQL. */
const TEXT_OID = 25;
const READ_MS_MAX = 10_000;
const LOCK_MS_MAX = 2_000;
export const WAIT_FOR_ROOM_MS = 3_000;

export interface PushedPipeline {
  readonly replica: Replica;
  readonly definition: ReadableDefinition;
  readonly answers: AnswerRead;
}

/** Null: there is no such pipeline whose source is push(), or no worker has begun with it. */
export async function pushedPipeline(client: Reader, name: string): Promise<PushedPipeline | null> {
  const replica = await replicas.replicaOf(client, name);
  const definition = replica === null ? null : await definitions.readableDefinition(client, name);
  if (replica === null || definition === null) return null;
  return { replica, definition, answers: answersOf(replica, definition) };
}

function answersOf(replica: Replica, { answer, target }: ReadableDefinition): AnswerRead {
  return {
    table: target.table,
    trustOwner: target.trustOwner,
    source: {
      qualified: replicaTable(replica.pipeline),
      key: replica.key.map((name) => ({
        name,
        typeOid: TEXT_OID,
        type: "text",
        castType: "pg_catalog.text",
        builtIn: true,
      })),
    },
    fields: compileStored(answer).columns.map(({ field }) => ({ field, column: target.columns[field] ?? field })),
  };
}

/** Few at once, each in a transaction that cannot write, within a time. "busy": there was no room in time. */
export async function reading<T>(desk: Desk, work: (tx: Queryable) => Promise<T>): Promise<T | "busy"> {
  const release = await desk.reads.take(1, WAIT_FOR_ROOM_MS);
  if (release === null) return "busy";
  try {
    return await desk.database.transaction(work, {
      readOnly: true,
      statementTimeoutMs: READ_MS_MAX,
      lockTimeoutMs: LOCK_MS_MAX,
    });
  } finally {
    release();
  }
}

/**
 * JSON of parts that are JSON texts already, so that no number of the database loses a digit. On one line if its parts
 * are.
 */
export function jsonObject(members: Readonly<Record<string, string>>): string {
  return `{${Object.entries(members)
    .map(([name, text]) => `${JSON.stringify(name)}:${text}`)
    .join(",")}}`;
}
