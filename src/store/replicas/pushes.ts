/** Rows that are pushed into a replica, with the digest that tells a repeated body. */
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

export interface RowProblem {
  /** Its place in the push, from 0. */
  readonly row: number;
  /** Null: it has none. */
  readonly key: string | null;
  /** For display. */
  readonly reason: string;
}

export interface Pushed {
  /** New or changed rows. */
  readonly accepted: number;
  readonly unchanged: number;
  /** They would have replaced a newer version. */
  readonly older: number;
  readonly refused: number;
  /** The first ones. */
  readonly problems: readonly RowProblem[];
}

export const NOTHING: Pushed = { accepted: 0, unchanged: 0, older: 0, refused: 0, problems: [] };

/** The JSON text of each row. All of them, or none if it throws. */
export async function push(tx: Queryable, pipeline: string, rows: readonly string[]): Promise<Pushed> {
  const [pushed] = await pushTogether(tx, pipeline, [rows]);
  return pushed ?? NOTHING;
}

/**
 * Several pushes in one statement, one result per push in the same order: most of what a small one costs, it costs
 * once. All of them, or none if it throws.
 */
export async function pushTogether(
  tx: Queryable,
  pipeline: string,
  pushes: readonly (readonly string[])[],
  { bySync = false }: { readonly bySync?: boolean } = {},
): Promise<Pushed[]> {
  const list = `[${pushes.flat().join(",")}]`;
  const numbers = pushes.flatMap((rows, push) => rows.map(() => push));
  const told = await tx.rows<Pushed & { push: number }>(sql`
    select push, accepted, unchanged, older, refused, problems
    from rowmill.push_rows(${pipeline}, ${list}::json, ${numbers}::integer[], ${bySync})`);
  const results = pushes.map(() => NOTHING);
  for (const { push, ...pushed } of told) {
    const from = pushes.slice(0, push).reduce((sum, rows) => sum + rows.length, 0);
    results[push] = { ...pushed, problems: pushed.problems.map((one) => ({ ...one, row: one.row - from })) };
  }
  return results;
}

export interface Digest {
  readonly token: number;
  readonly sha256: Buffer;
}

/** The result of this body, if the token pushed it last and the rows have not changed since; otherwise null. */
export async function sameAsLast(client: Reader, pipeline: string, { token, sha256 }: Digest): Promise<Pushed | null> {
  return client.value<Pushed>(sql`
    select told
    from rowmill.push_digests
    where pipeline = ${pipeline} and token = ${token} and sha256 = ${sha256}`);
}

/**
 * After the push, in its transaction, before which the caller was alone (`lockAloneIfFree`). It holds as long as no one
 * else changes the rows.
 */
export async function keepDigest(
  tx: Queryable,
  pipeline: string,
  { token, sha256, pushed }: Digest & { readonly pushed: Pushed },
): Promise<void> {
  const { accepted, unchanged } = pushed;
  const again: Pushed = { ...pushed, accepted: 0, unchanged: accepted + unchanged };
  await tx.run(sql`
    insert into rowmill.push_digests (pipeline, token, sha256, told)
    values (${pipeline}, ${token}, ${sha256}, ${JSON.stringify(again)}::json)
    on conflict (pipeline, token) do update
    set sha256 = excluded.sha256, told = excluded.told`);
}
