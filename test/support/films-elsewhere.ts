/** A table of films in another PostgreSQL, which is read, and into whose own rows answers are written back. */
import pg from "pg";
import { pipeline, postgres, z, type PostgresSourceSpec, type PostgresTargetOptions } from "../../src/index.js";
import * as syncs from "../../src/store/syncs/syncs.js";
import { syncPipeline } from "../../src/worker/rounds/sync.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { createDatabase, type DatabaseKind } from "./databases.js";
import { quick } from "./movies.js";

const { signal } = new AbortController();

export interface FilmsElsewhere {
  readonly url: string;
  /** As their owner. */
  run(text: string): Promise<void>;
  rows<Row extends object>(text: string): Promise<Row[]>;
  /** Another session of theirs. */
  connect(): Promise<pg.Client>;
  pipeline(more?: FilmsOptions): ReturnType<typeof filmsPipeline>;
  close(): Promise<void>;
}

interface FilmsOptions {
  readonly source?: Partial<PostgresSourceSpec<string, string>>;
  readonly target?: Partial<PostgresTargetOptions>;
  readonly user?: string;
}

/** `columns`: of the table, beside its key. */
export async function openFilms(
  kind: DatabaseKind,
  columns = "title text, updated_at timestamptz not null default clock_timestamp()",
): Promise<FilmsElsewhere> {
  const database = await createDatabase(kind === "embedded" ? "pg18" : kind);
  const url = `${database.url}?sslmode=disable`;
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  pool.on("error", () => undefined);
  await pool.query(`create table films (id bigint primary key, ${columns})`);
  return {
    url,
    run: async (text) => void (await pool.query(text)),
    rows: async <Row extends object>(text: string) => (await pool.query<Row>(text)).rows,
    connect: async () => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      return client;
    },
    pipeline: (more) => filmsPipeline(url, more),
    close: async () => {
      await pool.end();
      await database.drop();
    },
  };
}

function filmsPipeline(url: string, { source = {}, target = {}, user = "{{ title }}" }: FilmsOptions = {}) {
  return pipeline({
    source: postgres({ url, table: "films", key: "id", columns: ["title"], every: "1h", ...source }),
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user },
    answer: z.object({ summary: z.string() }),
    target: postgres({ url, table: "public.films", addColumns: true, ...target }),
  });
}

/** The next reading of every pipeline, now. */
export async function readNow(context: WorkerContext, { full = false } = {}): Promise<void> {
  for (const one of context.pipelines.values()) {
    await syncs.want(context.database, one.config.name, { full });
    await syncPipeline(context, one, signal);
  }
}
