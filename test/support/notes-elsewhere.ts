/** The notes of the crash suite as rows of a source elsewhere, into which answers may be written back. */
import { sql, type TestProject } from "./project.js";

/** Read over a second connection, as from another server. */
export const NOTES_ELSEWHERE = `source: postgres({
    url: process.env.DATABASE_URL, table: "notes", key: "id", columns: ["body"], every: "1s" }),`;

export const BACK_INTO_NOTES = `target: postgres({
    url: process.env.DATABASE_URL, table: "notes", addColumns: true }),`;

/** A trigger changes what was asked at every write. The view is where the accounts look for answers. */
export async function takeAnswersBack(project: TestProject): Promise<void> {
  await project.run(sql`alter table public.notes add column summary text`);
  await project.run(sql`
    create view public.note_summaries as select id, summary from public.notes where summary is not null`);
  await project.run(sql`create sequence public.writes`);
  await project.run(sql`
    create function public.count_writes() returns trigger language plpgsql as $$
    begin
      new.body := new.body || ' ' || nextval('public.writes');
      return new;
    end $$`);
  await project.run(sql`
    create trigger count_writes before update on public.notes
    for each row execute function public.count_writes()`);
}
