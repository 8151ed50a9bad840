/** A file as a target for processes of the crash suite. What stands in it is in `public.note_summaries` afterwards. */
import { readFile } from "node:fs/promises";
import pg from "pg";

export function targetInFile(target, { path, connectionString }) {
  return {
    ...target,
    settle: async (options) => {
      await target.settle(options);
      const lines = (await readFile(path, "utf8")).split("\n").slice(0, -1);
      const rows = lines.map((line) => JSON.parse(line));
      const client = new pg.Client({ connectionString, ssl: false });
      await client.connect();
      try {
        await client.query("create table if not exists public.note_summaries (id int primary key, summary text)");
        await client.query("begin");
        await client.query("delete from public.note_summaries");
        for (const { id, summary } of rows)
          await client.query("insert into public.note_summaries values ($1, $2)", [id, summary]);
        await client.query("commit");
      } finally {
        await client.end();
      }
    },
  };
}
