/** A table of texts, some of them equal, whose questions share lines. Only `validate` sees the tag of a row. */
import { pipeline, z } from "../../src/index.js";
import type { Provider } from "../../src/model/provider/provider.js";
import { quick } from "./movies.js";
import { sql, type TestProject } from "./project.js";

/** The text that is asked, and the tag. */
export type EqualNote = readonly [body: string, tag?: string];

export interface EqualNotesOptions {
  readonly temperature?: number;
  readonly dedupe?: boolean;
  readonly attempts?: number;
  readonly maxRequests?: number;
  readonly model?: string;
  /** False: any answer fits any row, and none is judged by its row. Default: true. */
  readonly validates?: boolean;
  /** Default: as the environment says. */
  readonly provider?: Provider;
}

const validate = ({ summary }: { summary: string }, { tag }: { tag: string | null }): string | null =>
  tag === null || summary.includes(tag) ? null : `it lacks ${tag}`;

/** An answer fits a row without a tag, and one whose tag it contains. */
export function equalNotesPipeline(options: EqualNotesOptions = {}) {
  const {
    temperature = 0,
    dedupe,
    attempts = 3,
    maxRequests,
    model = "plain-small",
    provider,
    validates = true,
  } = options;
  return pipeline({
    ...quick,
    ...(provider === undefined ? {} : { provider }),
    source: { table: "notes", key: "id", columns: ["body", "tag"] },
    request: { model, maxOutputTokens: 100, temperature, user: "{{ body }}" },
    answer: z.object({ summary: z.string() }),
    target: { table: "note_summaries" },
    attempts,
    reconcile: { window: "500ms" },
    ...(validates ? { validate } : {}),
    ...(dedupe === undefined ? {} : { dedupe }),
    ...(maxRequests === undefined ? {} : { batch: { maxRequests } }),
  });
}

export async function createEqualNotes(project: TestProject, notes: readonly EqualNote[]): Promise<void> {
  await project.run(
    sql`create table public.notes (id int primary key generated always as identity, body text, tag text)`,
  );
  await insertEqualNotes(project, notes);
}

export async function insertEqualNotes(project: TestProject, notes: readonly EqualNote[]): Promise<void> {
  await project.run(sql`
    insert into public.notes (body, tag)
    select x ->> 0, x ->> 1 from json_array_elements(${JSON.stringify(notes)}::json) x`);
}
