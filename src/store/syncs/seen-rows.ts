/**
 * Which rows the passes over a source elsewhere met. Three tables beside the copy hold keys: `seen` by the present
 * pass, `missing` from the last one, and `gone`, missing from both; marks in the rows themselves would rewrite them all
 * at each pass. The caller holds the sync's lease in its transaction.
 */
import { REPLICA_SCHEMA, replicaTable } from "../../model/replica-name.js";
import { identifier, join, quoteIdentifier, raw, sql, type Queryable, type Sql } from "../../postgres/database.js";
import { outsideRoles } from "../../postgres/outside-roles.js";
import { protectionStatements } from "../replicas/replica-table.js";
import type { Replica } from "../replicas/replicas.js";

/** No pipeline's name has a blank. */
type Side = "seen" | "missing" | "gone";
const SIDES: readonly Side[] = ["seen", "missing", "gone"];

function sideTable(pipeline: string, side: Side): string {
  return `${REPLICA_SCHEMA}.${quoteIdentifier(`${pipeline} ${side}`)}`;
}

export async function makeSeen(tx: Queryable, replica: Replica): Promise<void> {
  await tx.run(raw(`drop table if exists ${sideTable(replica.pipeline, "seen")}`));
  await makeSide(tx, replica, "seen", sql`select ${keysOf(replica)} from ${own(replica)} r where false`);
  const keys = replica.key.map(quoteIdentifier).join(", ");
  await tx.run(raw(`alter table ${sideTable(replica.pipeline, "seen")} add primary key (${keys})`));
}

async function makeSide(tx: Queryable, { pipeline }: Replica, side: Side, rows: Sql): Promise<void> {
  await tx.run(sql`create table ${raw(sideTable(pipeline, side))} as ${rows}`);
  for (const statement of protectionStatements(`${pipeline} ${side}`, await outsideRoles(tx)))
    await tx.run(raw(statement));
}

/** Rows as JSON texts; those without a key are left out. */
export async function note(tx: Queryable, replica: Replica, rows: readonly string[]): Promise<void> {
  await tx.run(sql`
    insert into ${raw(sideTable(replica.pipeline, "seen"))} (${keyNames(replica)})
    select ${given(replica)}
    from json_array_elements(${`[${rows.join(",")}]`}::json) g
    where num_nulls(${given(replica)}) = 0
    on conflict do nothing`);
}

/** They are there after all. Returns how many of them were to be deleted. */
export async function unmiss(tx: Queryable, replica: Replica, rows: readonly string[]): Promise<number> {
  await takeOff(tx, replica, { side: "missing", rows });
  return takeOff(tx, replica, { side: "gone", rows });
}

async function takeOff(
  tx: Queryable,
  replica: Replica,
  { side, rows }: { readonly side: Side; readonly rows: readonly string[] },
): Promise<number> {
  const table = sideTable(replica.pipeline, side);
  if ((await tx.value<boolean>(sql`select to_regclass(${table}) is not null`)) !== true) return 0;
  return tx.run(sql`
    delete from ${raw(table)} m
    using json_array_elements(${`[${rows.join(",")}]`}::json) g
    where ${join(
      replica.key.map((name) => sql`m.${identifier(name)} = g ->> ${name}::text`),
      " and ",
    )}`);
}

/**
 * After a pass over all rows. Gone is what this pass and the one before did not meet, and no one wrote since the first
 * of the two began (`missedSince`; null: there was none); with `goneAtOnce`, what this one did not meet. Reads the
 * whole copy.
 */
export async function compare(
  tx: Queryable,
  replica: Replica,
  {
    beganAt,
    missedSince,
    goneAtOnce,
  }: { readonly beganAt: string; readonly missedSince: string | null; readonly goneAtOnce: boolean },
): Promise<{ gone: number; present: number }> {
  const table = (side: Side) => sideTable(replica.pipeline, side);
  const hasMissing = (await tx.value<boolean>(sql`select to_regclass(${table("missing")}) is not null`)) === true;
  await tx.run(raw(`drop table if exists ${table("gone")}`));
  const missed = goneAtOnce ? sql`` : sql`join ${raw(table("missing"))} m on ${sameKey(replica, "m")}`;
  let gone = 0;
  if (missedSince !== null && (hasMissing || goneAtOnce)) {
    await makeSide(
      tx,
      replica,
      "gone",
      sql`
        select ${keysOf(replica)}
        from ${own(replica)} r
        ${missed}
        left join ${raw(table("seen"))} s on ${sameKey(replica, "s")}
        where s.${identifier(replica.key[0] ?? "")} is null
          and r.rowmill_pushed_at < ${missedSince}::timestamptz`,
    );
    gone = await tx.number(sql`select count(*)::float8 from ${raw(table("gone"))}`);
  }
  await tx.run(raw(`drop table if exists ${table("missing")}`));
  await makeSide(
    tx,
    replica,
    "missing",
    sql`
      select ${keysOf(replica)}
      from ${own(replica)} r
      left join ${raw(table("seen"))} s on ${sameKey(replica, "s")}
      where s.${identifier(replica.key[0] ?? "")} is null
        and r.rowmill_pushed_at < ${beganAt}::timestamptz`,
  );
  const present = await tx.number(sql`select count(*)::float8 from ${raw(table("seen"))}`);
  await tx.run(raw(`drop table ${table("seen")}`));
  if (gone === 0) await tx.run(raw(`drop table if exists ${table("gone")}`));
  return { gone, present };
}

/** Takes up to `rowsMax` keys off the list. Returns how many; 0: it is done. A row that was written since stays. */
export async function deleteGone(
  tx: Queryable,
  replica: Replica,
  { before, rowsMax }: { readonly before: string | null; readonly rowsMax: number },
): Promise<number> {
  const table = sideTable(replica.pipeline, "gone");
  if ((await tx.value<boolean>(sql`select to_regclass(${table}) is not null`)) !== true) return 0;
  const taken = await tx.number(sql`
    with taken as materialized (
      delete from ${raw(table)} g
      where g.ctid = any(array(select ctid from ${raw(table)} limit ${rowsMax}))
      returning ${join(replica.key.map((name) => sql`g.${identifier(name)}`))}
    ), deleted as (
      delete from ${own(replica)} r
      using taken t
      where ${sameKey(replica, "t")} and r.rowmill_pushed_at < ${before}::timestamptz
    )
    select count(*)::float8 from taken`);
  if (taken === 0) await tx.run(raw(`drop table ${table}`));
  return taken;
}

/** With the copy. */
export function dropStatements(pipeline: string): string[] {
  return SIDES.map((side) => `drop table if exists ${sideTable(pipeline, side)}`);
}

function own({ pipeline }: Replica): Sql {
  return raw(replicaTable(pipeline));
}

function keyNames({ key }: Replica): Sql {
  return join(key.map((name) => identifier(name)));
}

function keysOf({ key }: Replica): Sql {
  return join(key.map((name) => sql`r.${identifier(name)}`));
}

function given({ key }: Replica): Sql {
  return join(key.map((name) => sql`g ->> ${name}::text`));
}

function sameKey({ key }: Replica, other: string): Sql {
  return join(
    key.map((name) => sql`r.${identifier(name)} = ${raw(other)}.${identifier(name)}`),
    " and ",
  );
}
