/** A file as a target for processes of the crash suite. What stands in it is in `public.note_summaries` afterwards. */
import { readFile } from "node:fs/promises";
import { createClient } from "@libsql/client";
import pg from "pg";

export function targetInFile(target, { path, connectionString }) {
  return {
    ...target,
    settle: async (options) => {
      await target.settle?.(options);
      const rows = path.endsWith(".db") ? await rowsOfDatabase(path) : await rowsOfLines(path);
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

async function rowsOfLines(path) {
  const lines = (await readFile(path, "utf8")).split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line));
}

async function rowsOfDatabase(path) {
  const client = createClient({ url: `file:${path}`, timeout: 5_000 });
  const { rows } = await client.execute("select key as id, summary from labels where summary is not null");
  client.close();
  return rows;
}
