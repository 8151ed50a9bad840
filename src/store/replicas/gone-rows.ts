/** How pushed rows go: deleted, erased or expired. Their versions stay: an older push does not bring them back. */
import { replicaTable } from "../../model/replica-name.js";
import { identifier, join, raw, sql, type Queryable, type Sql } from "../../postgres/database.js";
import { forgetDigests, type Replica } from "./replicas.js";

/**
 * Deletes the rows `t` of this condition; `using` as in SQL. Returns how many there were. Where the rows have versions,
 * the caller is alone (`lockAlone`): a push beside it would not see the version that it has to compare with.
 */
export async function deleteRows(
  tx: Queryable,
  replica: Pick<Replica, "pipeline" | "key">,
  { using, where }: { readonly using: Sql; readonly where: Sql },
): Promise<number> {
  const { pipeline } = replica;
  await forgetDigests(tx, pipeline);
  return tx.number(sql`
    with gone as (
      delete from ${raw(replicaTable(pipeline))} t
      using ${using}
      where ${where}
      returning ${ledgerKey(replica)} as key, t.rowmill_version as version
    ), kept as (
      insert into rowmill.gone_versions (pipeline, key_sha256, version)
      select ${pipeline}, sha256(convert_to(key, 'UTF8')), version
      from gone
      where version is not null
      on conflict (pipeline, key_sha256) do update
      set version = excluded.version)
    select count(*)::float8
    from gone`);
}

/** Of the row `t`, as the ledger spells it. */
export function ledgerKey({ key }: Pick<Replica, "key">): Sql {
  const columns = join(key.map((name) => sql`t.${identifier(name)}`));
  return key.length === 1 ? columns : sql`json_build_array(${columns})::text`;
}

/**
 * Deletes rows by their keys in the ledger's spelling, of one column or a JSON array. Returns how many there were. The
 * watching triggers report them, so the caller removes their arrivals afterwards.
 */
export function eraseRows(tx: Queryable, replica: Replica, keys: readonly string[]): Promise<number> {
  const where = hasKey(replica, sql`k.key`);
  return deleteRows(tx, replica, { using: sql`unnest(${[...keys]}::text[]) as k (key)`, where });
}

/** The row `t` has this key in the ledger's spelling. */
export function hasKey({ key }: Pick<Replica, "key">, spelled: Sql): Sql {
  const [only = "", ...others] = key;
  if (others.length === 0) return sql`t.${identifier(only)} = ${spelled}`;
  const parts = key.map((name, place) => sql`t.${identifier(name)} = ${spelled}::json ->> ${raw(String(place))}`);
  return join(parts, " and ");
}
