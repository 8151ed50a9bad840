-- The ledger of Rowmill: all its state, in one schema. Forward only.
-- Run inside one transaction, under the migration lock, by src/store/migrations.ts.

-- Which database this ledger was made in. A clone or a restored backup differs from it and is noticed at start.
create table rowmill.deployment (
  one boolean primary key default true check (one),
  id uuid not null default gen_random_uuid(),
  system_identifier text not null,
  database_name text not null,
  created_at timestamptz not null default now()
);

create table rowmill.pipelines (
  id integer generated always as identity primary key,
  name text not null unique,
  -- What the user's config says, without functions: for `status`, `show` and the doctor. Never a secret.
  definition jsonb not null,
  -- Everything static that shapes the answer; a change asks again what changed.
  definition_hash text not null,
  -- The definition for which the estimate was accepted, by a person or because it is cheap.
  approved_hash text,
  estimate jsonb,
  -- The largest bounds of one line that did not fit what had been reserved for its batch: the next plan reserves more.
  line_tokens_max bigint not null default 0,
  line_nano_usd_max bigint not null default 0,
  source_table text not null,
  source_oid oid not null,
  -- The state of the catalogue (columns, partitions, triggers) that the installed triggers were made for.
  source_signature text,
  -- Rows visible in it were there before the pipeline: `source.existing`.
  installed_snapshot pg_snapshot,
  target_table text not null,
  pause_kind text check (pause_kind in ('person', 'budget', 'account', 'provider', 'source', 'target', 'deployment')),
  pause_reason text,
  paused_at timestamptz,
  -- Rows that wait since before this instant go out without threshold or deadline.
  flush_at timestamptz,
  uninstalled_at timestamptz,
  created_at timestamptz not null default now(),
  constraint pause_has_reason check ((pause_kind is null) = (pause_reason is null) and (pause_kind is null) = (paused_at is null))
);

-- Hints: "look at these keys". Written by triggers as rowmill_arrivals, who may do nothing else. No key, no index:
-- each would be paid for inside the user's own write.
create table rowmill.arrivals (
  pipeline_id integer not null,
  -- Null: "sweep", after TRUNCATE or when a declared column is gone.
  keys text[],
  arrived_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

create table rowmill.sweeps (
  pipeline_id integer primary key references rowmill.pipelines (id) on delete cascade,
  wanted_at timestamptz,
  wanted_reason text,
  phase text not null default 'idle' check (phase in ('idle', 'source', 'definition', 'ledger')),
  -- The last key (source) or request id (ledger) that was compared; null at the start of a phase.
  cursor jsonb,
  -- Set while a sweep also compares fingerprints: the definition that it works for.
  definition_hash text,
  -- The definition that every row was compared with.
  swept_hash text,
  rows_seen bigint not null default 0,
  keys_found bigint not null default 0,
  started_at timestamptz,
  finished_at timestamptz,
  constraint running_has_start check (phase = 'idle' or started_at is not null)
);

-- Keys that cannot be a row's name, refused one by one.
create table rowmill.refused_keys (
  pipeline_id integer not null references rowmill.pipelines (id) on delete cascade,
  key_sha256 text not null,
  key_prefix text not null,
  reason text not null,
  seen_at timestamptz not null default now(),
  primary key (pipeline_id, key_sha256)
);

-- The tables through which every row passes have no foreign keys: four checks a row cost as much as the row itself, and the key
-- share lock on the parent is taken against the lock order (pipeline, batch, requests, target). The invariant script looks
-- for orphans instead; nothing deletes a parent but the removal of the whole schema.

-- Exactly one per row and pipeline. What changes at each attempt stays out of every index, and half of the page is left free:
-- all updates are then heap-only.
create table rowmill.requests (
  id bigint generated always as identity primary key,
  pipeline_id integer not null,
  key text not null check (octet_length(key) between 1 and 1024),
  state text not null default 'waiting' check (state in ('waiting', 'batched', 'succeeded', 'failed', 'cancelled', 'gone')),
  -- The state that a gone request had, for when its row comes back as it was.
  gone_from text check (gone_from in ('waiting', 'succeeded', 'failed', 'cancelled')),
  -- The content that state, tries and error speak of.
  content_hash text,
  -- The content whose answer is in the target; null when none is.
  answered_hash text,
  -- Of what was asked last, and of what the target's answer was given to.
  fingerprint text,
  answered_fingerprint text,
  -- Grows with every sending, never falls: it fences late and repeated answers.
  attempt integer not null default 0,
  -- Attempts that the model executed for this content.
  tries integer not null default 0,
  -- Attempts in a row that were the provider's fault.
  returns integer not null default 0,
  error_code text,
  error text,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  unique (pipeline_id, key),
  constraint gone_remembers check ((state = 'gone') = (gone_from is not null)),
  constraint failed_has_error check (state <> 'failed' or error_code is not null),
  constraint succeeded_has_answer check (state <> 'succeeded' or (answered_hash is not null and answered_hash = content_hash))
) with (fillfactor = 50);

-- The queue: a small table of its own.
create table rowmill.waiting (
  request_id bigint primary key,
  pipeline_id integer not null,
  since timestamptz not null default now(),
  not_before timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create index waiting_by_turn on rowmill.waiting (pipeline_id, not_before, request_id);

create table rowmill.batches (
  id uuid primary key,
  pipeline_id integer not null references rowmill.pipelines (id),
  state text not null check (state in ('planned', 'uploading', 'submitting', 'running', 'collecting', 'settled', 'rejected', 'cancelled')),
  definition_hash text not null,
  provider text not null,
  -- Base URL, organisation and project; never a secret.
  account text not null,
  model text not null,
  endpoint text not null,
  -- Requests taken by the planner. In the end: succeeded + failed + returned.
  requests integer not null check (requests > 0),
  -- Requests that were rendered and sent; the others ended as attempts that were not sent.
  lines integer,
  spool_bytes bigint,
  spool_sha256 text,
  reserved_nano_usd bigint not null default 0 check (reserved_nano_usd >= 0),
  reserved_tokens bigint not null default 0 check (reserved_tokens >= 0),
  run_id uuid,
  input_file_id text,
  -- When a create may be on its way; null: certainly none is. By the provider's clock where it is known.
  create_intent_at timestamptz,
  creates integer not null default 0,
  provider_batch_id text,
  provider_status text,
  provider_counts jsonb,
  provider_errors jsonb,
  output_file_id text,
  error_file_id text,
  downloads integer not null default 0,
  files_deleted_at timestamptz,
  lease_token uuid,
  lease_until timestamptz,
  lease_worker text,
  -- When the next step is due. The wake-up is graphile-worker's; this is what the rescuer and --once go by.
  next_at timestamptz not null default now(),
  polls integer not null default 0,
  failures integer not null default 0,
  planned_at timestamptz not null default now(),
  submitted_at timestamptz,
  provider_done_at timestamptz,
  settled_at timestamptz,
  -- One batch has at most one provider batch, and one provider batch belongs to one batch.
  unique (account, provider_batch_id),
  constraint uploading_has_spool check (state in ('planned', 'settled', 'rejected', 'cancelled') or (lines > 0 and spool_sha256 is not null and spool_bytes > 0)),
  constraint submitting_has_file check (state <> 'submitting' or input_file_id is not null),
  constraint running_has_provider_batch check (state not in ('running', 'collecting') or (provider_batch_id is not null and submitted_at is not null)),
  constraint collecting_is_done check (state <> 'collecting' or provider_done_at is not null),
  constraint ended_has_time check ((state in ('settled', 'rejected', 'cancelled')) = (settled_at is not null)),
  constraint ended_reserves_nothing check (settled_at is null or (reserved_nano_usd = 0 and reserved_tokens = 0)),
  constraint lease_is_whole check ((lease_token is null) = (lease_until is null))
) with (fillfactor = 70);
create index batches_unfinished on rowmill.batches (pipeline_id) where settled_at is null;

-- A request is in at most one live batch: by this primary key.
create table rowmill.in_flight (
  request_id bigint primary key,
  batch_id uuid not null,
  attempt integer not null,
  -- Of what was rendered; null until then.
  content_hash text,
  fingerprint text,
  line integer
) with (fillfactor = 35);
create index in_flight_by_batch on rowmill.in_flight (batch_id, request_id);

-- Append-only: all accounting is derived from it.
create table rowmill.attempts (
  request_id bigint not null,
  attempt integer not null,
  batch_id uuid not null,
  ending text not null check (ending in ('succeeded', 'failed', 'returned')),
  -- Why: `answered`, `invalid`, `expired`, `stale`, `gone`, …
  outcome text not null,
  detail text,
  -- What was paid for and could not be used; until retention ends.
  answer text,
  model text,
  input_tokens integer not null default 0,
  cached_input_tokens integer not null default 0,
  output_tokens integer not null default 0,
  -- 1e-9 US dollars; null when the price of the model is not known.
  cost_nano_usd bigint,
  at timestamptz not null default now(),
  primary key (request_id, attempt)
);
create index attempts_by_batch on rowmill.attempts (batch_id);
create index attempts_with_answer on rowmill.attempts (at) where answer is not null;

create table rowmill.batch_events (
  id bigint generated always as identity primary key,
  batch_id uuid not null references rowmill.batches (id) on delete cascade,
  from_state text,
  to_state text not null,
  reason text not null,
  detail jsonb,
  at timestamptz not null default now()
);
create index batch_events_by_batch on rowmill.batch_events (batch_id, id);

-- What happened to a pipeline and who said so: paused, resumed, approved, changed.
create table rowmill.pipeline_events (
  id bigint generated always as identity primary key,
  pipeline_id integer not null references rowmill.pipelines (id) on delete cascade,
  event text not null,
  reason text,
  detail jsonb,
  at timestamptz not null default now()
);

-- Provider batches that were created beside the one adopted: listed, cancelled, and their cost counted at the reserve.
create table rowmill.stray_batches (
  account text not null,
  provider_batch_id text not null,
  batch_id uuid,
  reason text not null,
  reserved_nano_usd bigint not null default 0,
  found_at timestamptz not null default now(),
  cancelled_at timestamptz,
  primary key (account, provider_batch_id)
);

-- Limits that a provider told us in a refusal.
create table rowmill.learned_limits (
  account text not null,
  model text not null,
  enqueued_tokens bigint check (enqueued_tokens > 0),
  input_bytes bigint check (input_bytes > 0),
  message text not null,
  learned_at timestamptz not null default now(),
  primary key (account, model)
);

-- Processes that work: a heartbeat by the database's clock. `pool_id` is what graphile-worker writes into locked_by.
create table rowmill.workers (
  id uuid primary key,
  pool_id text,
  host text not null,
  pid integer not null,
  version text not null,
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now()
);
