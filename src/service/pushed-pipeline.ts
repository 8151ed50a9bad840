/** What the routes of a pipeline with pushed rows read. */
import { compileStored } from "../model/answer/answer.js";
import { replicaTable } from "../model/replica-name.js";
import type { Reader } from "../postgres/database.js";
import * as definitions from "../store/pipelines/definitions.js";
import type { ReadableDefinition } from "../store/pipelines/definitions.js";
import * as replicas from "../store/replicas/replicas.js";
import type { Replica } from "../store/replicas/replicas.js";
import type { AnswerRead } from "../targets/table/read-answers.js";

export interface PushedPipeline {
  readonly replica: Replica;
  readonly definition: ReadableDefinition;
  readonly answers: AnswerRead;
}

/** Of PostgreSQL. */
const TEXT_OID = 25;

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
