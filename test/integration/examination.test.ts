/** What you have to fix is reported before anything is made. */
import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { serverKind, unlessServer } from "../support/cli.js";
import { createNotes, notesPipeline } from "../support/notes.js";
import { sql, startProject } from "../support/project.js";

it.skipIf(serverKind === "embedded")(
  `A missing right to put triggers on the source is reported with its grant, and nothing is created${unlessServer}`,
  async () => {
    const project = await startProject(serverKind, { empty: true });
    try {
      await createNotes(project, ["one"]);
      const role = `user_${randomBytes(4).toString("hex")}`;
      const url = new URL(project.url);
      await project.database.pool.query(
        `create role ${role} login password 'secret'; grant all on database ${url.pathname.slice(1)} to ${role};
         grant all on schema public to ${role}; grant select on public.notes to ${role}`,
      );
      url.username = role;
      url.password = "secret";
      await expect(project.worker({ notes: notesPipeline() }, { url: url.href })).rejects.toMatchObject({
        code: "source_unsupported",
        message: `pipelines.notes: source.table: the database user "${role}" may not create triggers on "public"."notes".`,
        hints: [`grant trigger on "public"."notes" to "${role}";`, "or connect as the table's owner."],
      });
      const made = await project.rows(sql`
        select nspname::text as name from pg_namespace where nspname like 'rowmill%'
        union all select tablename::text from pg_tables where tablename = 'note_summaries'`);
      expect(made).toEqual([]);
    } finally {
      await project.close();
    }
  },
);
