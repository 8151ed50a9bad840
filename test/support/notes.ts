/** A small table of texts, whose words choose how the demo model ends each request; and a pipeline over it. */
import { pipeline, z } from "../../src/index.js";
import type { Provider } from "../../src/model/provider/provider.js";
import { sql, type TestProject } from "./project.js";
import { quick } from "./movies.js";

export interface NotesChanges {
  readonly attempts?: number;
  readonly reconcileWindow?: "1s" | "500ms" | "2m";
  readonly model?: string;
  /** The template of the message. */
  readonly user?: string;
  readonly budget?: { readonly usd: number; readonly per: "day" | "total" | "run" };
  readonly onChange?: "ask" | "newOnly" | "reask";
  /** Default: as the environment says. */
  readonly provider?: Provider;
}

export function notesPipeline(changes: NotesChanges = {}) {
  return pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    ...(changes.provider === undefined ? {} : { provider: changes.provider }),
    ...(changes.budget === undefined ? {} : { budget: changes.budget }),
    ...(changes.onChange === undefined ? {} : { onChange: changes.onChange }),
    request: {
      model: changes.model ?? "gpt-4o-mini",
      maxOutputTokens: 100,
      user: changes.user ?? "{{ body }}",
    },
    answer: z.object({ summary: z.string() }),
    target: { table: "note_summaries" },
    attempts: changes.attempts ?? 3,
    reconcile: { window: changes.reconcileWindow ?? "2m" },
  });
}

export async function createNotes(project: TestProject, bodies: readonly string[]): Promise<void> {
  await project.run(sql`create table public.notes (id int primary key generated always as identity, body text)`);
  await insertNotes(project, bodies);
}

export async function insertNotes(project: TestProject, bodies: readonly string[]): Promise<void> {
  await project.run(
    sql`
      insert into public.notes (body) select body
      from unnest(${[...bodies]}::text[]) with ordinality as x (body, n)
      order by n`,
  );
}

/** Distinct plain texts. */
export function plain(count: number, word = "note"): string[] {
  return Array.from({ length: count }, (_, index) => `This is ${word} number ${index + 1}, plain and short.`);
}

export interface RequestRow {
  key: string;
  state: string;
  attempt: number;
  tries: number;
  returns: number;
  error_code: string | null;
  error: string | null;
}

export async function requests(project: TestProject): Promise<RequestRow[]> {
  return project.rows<RequestRow>(
    sql`select key, state, attempt, tries, returns, error_code, error from rowmill.requests order by id`,
  );
}

/** Outcome → how many attempts ended so. */
export async function outcomes(project: TestProject): Promise<Record<string, number>> {
  const rows = await project.rows<{ outcome: string; count: number }>(
    sql`select outcome, count(*)::int as count from rowmill.attempts group by 1 order by 1`,
  );
  return Object.fromEntries(rows.map((row) => [row.outcome, row.count]));
}

export interface BatchRow {
  state: string;
  requests: number;
  provider_status: string | null;
  provider_batch_id: string | null;
  creates: number;
}

export async function batchRows(project: TestProject): Promise<BatchRow[]> {
  return project.rows<BatchRow>(
    sql`
      select state, requests, provider_status, provider_batch_id, creates
      from rowmill.batches
      order by planned_at, id`,
  );
}
