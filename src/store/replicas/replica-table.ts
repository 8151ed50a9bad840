/** The table of a pipeline's pushed rows: how it is made, changed, and taken over where no record of it is left. */
import { RowmillError } from "../../model/errors.js";
import { REPLICA_PREFIX, REPLICA_SCHEMA, replicaTable } from "../../model/replica-name.js";
import { quoteIdentifier, raw, sql, type Reader } from "../../postgres/database.js";
import { isTrustedOwner } from "../ledger/ledger-owners.js";

export interface ReplicaShape {
  readonly key: readonly string[];
  readonly columns: readonly string[];
  /** The field by which an older push loses to a newer one; null: the last push wins. */
  readonly version: string | null;
  /** Its rows are kept for a while only. */
  readonly expires: boolean;
  /** Rowmill reads the rows from elsewhere itself, so no one may push any. */
  readonly synced: boolean;
}

export const SCHEMA_STATEMENT = `create schema if not exists ${REPLICA_SCHEMA}`;

export function columnsOf({ key, columns }: ReplicaShape): string[] {
  return [...new Set([...key, ...columns])];
}

/** In order, after the schema is there. */
export function creationStatements(pipeline: string, shape: ReplicaShape, outside: readonly string[]): string[] {
  const { key } = shape;
  const definitions = [
    ...columnsOf(shape).map(
      (name) => `${quoteIdentifier(name)} text${key.includes(name) ? ' collate "C" not null' : ""}`,
    ),
    "rowmill_generation integer not null default 1",
    "rowmill_version text",
    "rowmill_pushed_at timestamptz not null default now()",
    `primary key (${key.map(quoteIdentifier).join(", ")})`,
  ];
  const table = replicaTable(pipeline);
  return [
    `create table ${table} (\n  ${definitions.join(",\n  ")}\n)`,
    commentStatement(pipeline, shape),
    ...protectionStatements(pipeline, outside),
  ];
}

/** It also tells the two apart where no record is left. */
export const COPY_COMMENT = "Rows that Rowmill reads from elsewhere: its copy of them.";

export function commentStatement(pipeline: string, { synced }: ReplicaShape): string {
  const text = synced ? COPY_COMMENT : "Rows that were pushed to Rowmill: the only copy it has.";
  return `comment on table ${replicaTable(pipeline)} is '${text}'`;
}

/** By which the rows are found whose time is over. No table has this name: a pipeline's has no blank. */
export function indexStatements(pipeline: string, { key, expires }: ReplicaShape): string[] {
  if (!expires) return [];
  const columns = ["rowmill_pushed_at", ...key.map(quoteIdentifier)].join(", ");
  return [`create index if not exists "${pipeline} pushed_at" on ${replicaTable(pipeline)} (${columns})`];
}

/** As for a private target: no one else reads or writes. Repeatable. */
export function protectionStatements(pipeline: string, outside: readonly string[]): string[] {
  const table = replicaTable(pipeline);
  return [
    `alter table ${table} enable row level security`,
    ...["public", ...outside.map(quoteIdentifier)].map((role) => `revoke all on table ${table} from ${role}`),
  ];
}

/** The default keeps the generation where no record of it is left. */
export function additionStatements(
  pipeline: string,
  { added, generation }: { readonly added: readonly string[]; readonly generation: number },
): string[] {
  if (added.length === 0) return [];
  const additions = added.map((name) => `add column ${quoteIdentifier(name)} text`);
  const changes = [...additions, `alter column rowmill_generation set default ${generation}`];
  return [`alter table ${replicaTable(pipeline)} ${changes.join(", ")}`];
}

/** All versions go. */
export function newVersionStatement(pipeline: string): string {
  return `alter table ${replicaTable(pipeline)} drop column rowmill_version, add column rowmill_version text`;
}

/** What is in the schema under the pipeline's name. */
export interface FoundTable {
  readonly kind: string;
  readonly owner: string;
  readonly isTrusted: boolean;
  readonly key: readonly string[];
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** Of its newest rows, and of its default. */
  readonly generation: number;
}

export async function hasTable(client: Reader, pipeline: string): Promise<boolean> {
  return (await client.value<boolean>(sql`select to_regclass(${replicaTable(pipeline)}) is not null`)) === true;
}

/** Null: there is none. */
export async function lookAtTable(client: Reader, pipeline: string): Promise<FoundTable | null> {
  const found = await client.first<Omit<FoundTable, "generation"> & { standing: string | null }>(sql`
    select c.relkind::text as kind, pg_get_userbyid(c.relowner)::text as owner,
      ${isTrustedOwner(sql`c.relowner`, "me")} as "isTrusted",
      array(
        select a.attname::text
        from pg_catalog.pg_index i
        cross join unnest(i.indkey::int2[]) with ordinality as k (number, place)
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
        where i.indrelid = c.oid and i.indisprimary
        order by k.place) as key,
      (
        select coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod))
          order by a.attnum), '[]')
        from pg_catalog.pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
      (
        select pg_get_expr(d.adbin, d.adrelid)
        from pg_catalog.pg_attrdef d
        join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
        where d.adrelid = c.oid and a.attname = 'rowmill_generation') as standing
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_roles me on me.rolname = current_user
    where n.nspname = ${REPLICA_SCHEMA} and c.relname = ${pipeline}`);
  if (found === null) return null;
  const { standing, ...rest } = found;
  const byDefault = /^\d{1,9}$/.test(standing ?? "") ? Number(standing) : 1;
  const isOurs = found.columns.some(({ name, type }) => name === "rowmill_generation" && type === "integer");
  const newest = isOurs
    ? await client.value<number>(sql`select max(rowmill_generation) from ${raw(replicaTable(pipeline))}`)
    : null;
  return { ...rest, generation: Math.max(byDefault, newest ?? 1) };
}

const OWN_COLUMNS: Readonly<Record<string, string>> = {
  rowmill_generation: "integer",
  rowmill_version: "text",
  rowmill_pushed_at: "timestamp with time zone",
};

export interface Adopted {
  readonly statements: readonly string[];
  readonly columns: readonly string[];
  readonly generation: number;
}

/** Pure. @throws RowmillError `refused` for a table that is not ours, or has another key */
export function adopted(pipeline: string, found: FoundTable, shape: ReplicaShape): Adopted {
  const types = new Map(found.columns.map(({ name, type }) => [name, type]));
  const own = Object.entries(OWN_COLUMNS);
  const isOurs = found.kind === "r" && own.every(([name, type]) => types.get(name) === type);
  const columns = found.columns.filter(({ name }) => !name.startsWith(REPLICA_PREFIX));
  if (!isOurs || columns.some(({ type }) => type !== "text")) throw notOurs(pipeline);
  if (!found.isTrusted)
    throw new RowmillError(
      "database_refused",
      `${replicaTable(pipeline)} belongs to ${quoteIdentifier(found.owner)}, whose code would see every pushed row.`,
      { hints: [`If no one of yours made it, look at it, then drop it: drop table ${replicaTable(pipeline)};`] },
    );
  if (found.key.join("\n") !== shape.key.join("\n")) throw otherKey(pipeline, found.key, shape.key);
  const added = columnsOf(shape).filter((name) => !types.has(name));
  const generation = found.generation + (added.length > 0 ? 1 : 0);
  return {
    statements: additionStatements(pipeline, { added, generation }),
    columns: [...columns.map(({ name }) => name), ...added],
    generation,
  };
}

function notOurs(pipeline: string): RowmillError {
  const table = replicaTable(pipeline);
  return new RowmillError("refused", `There is a ${table} already, and it is no table of pushed rows.`, {
    hints: ["Move that table to another schema, or give the pipeline another name."],
  });
}

export function otherKey(pipeline: string, was: readonly string[], now: readonly string[]): RowmillError {
  return new RowmillError(
    "refused",
    `The rows of ${pipeline} were pushed with the key ${was.join(", ")}. The config now says ${now.join(", ")}.`,
    { hints: ["Give the pipeline another name, and push the rows again. Or write the previous key."] },
  );
}
