/** A target elsewhere for processes of the crash suite: writes to `public.note_summaries`, and compares fences. */
import pg from "pg";

const CREATION = `create table if not exists public.note_summaries (
  id int primary key, summary text, rowmill_fence bigint not null, writes int not null default 1)`;
const WRITE = `insert into public.note_summaries as s (id, summary, rowmill_fence) values ($1, $2, $3)
  on conflict (id) do update
  set summary = excluded.summary, rowmill_fence = excluded.rowmill_fence, writes = s.writes + 1
  where s.rowmill_fence < excluded.rowmill_fence`;

export function targetInPostgres(connectionString) {
  const use = async (work) => {
    const client = new pg.Client({ connectionString, ssl: false });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  };
  return {
    name: "postgres",
    promise: "onceInEffect",
    most: { changes: 2, bytes: 1_000_000 },
    prepare: () => use((client) => client.query(CREATION)),
    write: (changes) =>
      use(async (client) => {
        const told = { written: [], stale: [], changed: [], busy: [], failed: [] };
        for (const { key, fence, cells } of changes) {
          const { rowCount } = await client.query(WRITE, [key, cells.summary, fence]);
          if (rowCount === 1) told.written.push(key);
          else told.stale.push({ key, fence: await fenceOf(client, key) });
        }
        return told;
      }),
  };
}

async function fenceOf(client, key) {
  const { rows } = await client.query("select rowmill_fence::text as fence from public.note_summaries where id = $1", [
    key,
  ]);
  return rows[0].fence;
}
