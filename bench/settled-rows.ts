/**
 * A ledger in which much has settled, by SQL: the only row, which Rowmill took all the way, is copied with its
 * request, its attempt, its answer and its batch.
 */
import type pg from "pg";
import { openDatabase } from "../src/postgres/database.js";
import { audit } from "../src/store/ledger/invariants.js";
import { withDatabase, type BenchServer } from "./bench-server.js";
import { createFilms, filmValues, insertFilms, ROW_BYTES } from "./films.js";
import { run, type Command } from "./measured-process.js";
import { measure, withStandIn, type Figures, type MillOptions } from "./mill.js";
import { withMillProject, type PipelineOptions } from "./mill-project.js";

/** The audit reads all of it several times; what is larger is filled by the same statements. */
const AUDITED_MAX = 1_000_000;

export interface Settled {
  readonly server: BenchServer;
  readonly client: pg.Client;
  command(...args: readonly string[]): Command;
  /** `rowmill up --until-idle`, of the rows that there were at first. */
  measureUp(): Promise<Figures>;
}

/** A database of its own in which `rows` have settled. */
export function withSettled<T>(
  server: BenchServer,
  mill: MillOptions & PipelineOptions,
  work: (place: Settled) => Promise<T>,
): Promise<T> {
  return withStandIn(mill, (providerUrl) =>
    withDatabase(server, ({ url, client }) =>
      withMillProject({ databaseUrl: url, providerUrl }, mill, async ({ command }) => {
        const up = command("up", "--until-idle", "--yes");
        await client.query("create extension pg_stat_statements");
        await client.query(createFilms);
        await run(up);
        await client.query(insertFilms, [...filmValues(1, ROW_BYTES)]);
        await run(up);
        await copyRow(client, mill);
        if (mill.rows <= AUDITED_MAX) await requireSound(url);
        const measureUp = () => measure({ server, client, providerUrl }, [up], mill);
        return work({ server, client, command, measureUp });
      }),
    ),
  );
}

async function copyRow(client: pg.Client, { rows, batchRequests }: MillOptions): Promise<void> {
  if (rows > 1) for (const statement of copies(rows, batchRequests)) await client.query(statement);
  await client.query("vacuum (analyze)");
}

/** @throws Error when the ledger holds what Rowmill itself would never have left there */
async function requireSound(url: string): Promise<void> {
  const database = openDatabase({ connectionString: url, ssl: false }, { poolMax: 1 });
  try {
    for (const { title, violations } of await audit(database))
      if (violations.length > 0) throw new Error(`Not so of what was filled in: ${title}: ${violations[0]}`);
  } finally {
    await database.close();
  }
}

/** Of the only row, until there are this many. They go by the order of their keys, as its own numbers do. */
function copies(rows: number, batchRequests: number): readonly string[] {
  const added = rows - 1;
  const each = `generate_series(2, ${rows}) n`;
  const batchOf = (first: string) => `${first} + 1 + (n - 2) / ${batchRequests}`;
  const sums = ["input_tokens", "output_tokens", "cost_nano_usd"];
  return [
    `insert into public.films select n, title, description from public.films, ${each}`,
    `insert into public.film_labels (id, categories, summary, rowmill_at, rowmill_model)
      select n, categories, summary, rowmill_at, rowmill_model from public.film_labels, ${each}`,
    "delete from rowmill.arrivals",
    `insert into rowmill.batches overriding system value
      select c.* from rowmill.batches b, generate_series(0, ${Math.ceil(added / batchRequests) - 1}) k,
        least(${batchRequests}, ${added} - k * ${batchRequests}) n,
        jsonb_populate_record(b, jsonb_build_object('id', gen_random_uuid(), 'no', b.no + 1 + k, 'requests', n,
          'lines', n,
          'provider_batch_id', 'batch_filled_' || k, 'forgotten_at', now(), 'succeeded', n,
          ${sums.map((name) => `'${name}', n * b.${name}`).join(", ")})) c`,
    "select setval(pg_get_serial_sequence('rowmill.batches', 'no'), max(no)) from rowmill.batches",
    `insert into rowmill.batch_events (batch_id, from_state, to_state, reason, detail, at)
      select b.id, from_state, to_state, reason, detail, at from rowmill.batch_events e
        join rowmill.batches b on b.id <> e.batch_id
      order by b.no, e.id`,
    `insert into rowmill.requests (pipeline_id, batch, attempt, answered_batch, tries, state, content_hash,
      fingerprint, answered_hash,
        answered_fingerprint, key)
      select pipeline_id, ${batchOf("batch")}, attempt, ${batchOf("answered_batch")}, tries, state, content_hash, fingerprint, answered_hash,
        answered_fingerprint, n::text from rowmill.requests, ${each}`,
    `insert into rowmill.attempts (request_id, batch, at, attempt, room, ending, tries, outcome, model,
      ${sums.join(", ")})
      select r.id, r.batch, at, a.attempt, a.room, ending, a.tries, outcome, model, ${sums.join(", ")}
      from rowmill.attempts a join rowmill.requests r on r.id <> a.request_id order by r.id`,
    `insert into rowmill.counts (pipeline_id, succeeded) select id, ${added} from rowmill.pipelines`,
    `insert into rowmill.usage (pipeline_id, hour, succeeded, ${sums.join(", ")})
      select pipeline_id, hour, ${added}, ${sums.map((name) => `${added} * ${name}`).join(", ")} from rowmill.usage`,
  ];
}
