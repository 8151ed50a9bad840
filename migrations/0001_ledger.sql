-- The ledger of Rowmill: all its state, in one schema. Forward only.
-- Run inside one transaction, under the migration lock, by src/store/ledger/migrations.ts.

-- Which database this ledger was made in, so that a copy and a restored backup are noticed at start.
create table rowmill.deployment (
  one boolean primary key default true check (one),
  id uuid not null default gen_random_uuid(),
  -- Not every user may read it; null: not known.
  system_identifier text,
  database_name text not null,
  -- A rename keeps it; a restored dump and a copy on the same server have another one. Null: recorded by the next worker.
  database_oid oid,
  -- Of an embedded database: all copies have the same identifier and oid, so its folder and that one's number tell them apart.
  folder text,
  folder_inode text,
  -- What was seen, for the person who has to decide. While it is there every pipeline is paused.
  suspicion text,
  suspected_at timestamptz,
  -- The oldest version of this schema that a worker must know to work here. A migration that older workers cannot live with sets it to its
  -- own number: they begin nothing from then on, and stop.
  oldest_version integer not null default 1,
  -- Of the fences of deliveries: when this ledger was made, restored or copied, in seconds. A newer ledger wins over an older one.
  fence_epoch bigint not null default extract(epoch from now())::bigint,
  created_at timestamptz not null default now(),
  constraint suspicion_has_time check ((suspicion is null) = (suspected_at is null))
);

create table rowmill.pipelines (
  id integer generated always as identity primary key,
  name text not null unique,
  -- What the user's config says, without functions: for `status`, `show` and the doctor. Never a secret.
  definition jsonb not null,
  -- Everything static that shapes the answer; a change asks again what changed.
  definition_hash text not null,
  -- The definition for which the estimate was accepted, by a person or because it is cheap; and for which account: what was said of a local
  -- server holds for no other.
  approved_hash text,
  approved_account text,
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
  -- What becomes of rows that were answered under the previous definition; null: there was none.
  change_decision text check (change_decision in ('undecided', 'reask', 'newOnly', 'keep')),
  change_previous_hash text,
  -- Answered rows that the present definition would ask something else, as the last sweep counted. Null: not yet.
  change_rows bigint,
  pause_kind text check (pause_kind in ('person', 'budget', 'account', 'provider', 'source', 'target', 'deployment', 'answers', 'deletions')),
  pause_reason text,
  paused_at timestamptz,
  -- Answers of before do not count: a person said since then that it is worth another try. Null: all count.
  answers_since timestamptz,
  -- Rows that wait since before this instant go out without threshold or deadline.
  flush_at timestamptz,
  uninstalled_at timestamptz,
  created_at timestamptz not null default now(),
  constraint pause_has_reason check ((pause_kind is null) = (pause_reason is null) and (pause_kind is null) = (paused_at is null))
);

-- Every definition that a pipeline had: the answers to a batch are judged by the definition that asked.
create table rowmill.definitions (
  pipeline_id integer not null references rowmill.pipelines (id) on delete cascade,
  definition_hash text not null,
  -- 1, 2, 3, … in the order in which they came: what people call it by.
  version integer not null,
  -- The version before it, when it became the present one the last time; null: it was the first.
  follows integer,
  since timestamptz not null default now(),
  -- What the user's config said, without functions. Never a secret.
  definition jsonb not null,
  -- What zod takes, as JSON schema, from which src/model/answer/stored-answer.ts makes a schema again. Null: plain text. As text, since the order of
  -- the fields counts.
  answer_schema json,
  primary key (pipeline_id, definition_hash),
  unique (pipeline_id, version)
);

-- Of the last answers to a definition, in batches and tries: how many were counted, and their output tokens, from which the output limit of
-- the next requests is learned. By the pipeline's name, since a try may come before its first `up`.
create table rowmill.output_sizes (
  pipeline text not null,
  definition_hash text not null,
  answers integer not null check (answers > 0),
  mean real not null,
  p99 integer not null,
  primary key (pipeline, definition_hash)
);

-- By which failures a definition's pipeline does not pause, because a person said that so many of them are normal.
create table rowmill.accepted_failures (
  pipeline_id integer not null references rowmill.pipelines (id) on delete cascade,
  definition_hash text not null,
  outcome text not null,
  accepted_at timestamptz not null default now(),
  primary key (pipeline_id, definition_hash, outcome)
);

-- What happened to a pipeline and who said so: paused, resumed, approved, changed.
create table rowmill.pipeline_events (
  id bigint generated always as identity primary key,
  pipeline_id integer not null references rowmill.pipelines (id) on delete cascade,
  event text not null,
  reason text,
  detail jsonb,
  at timestamptz not null default now()
);

-- Hints: "look at these keys". Written by triggers as rowmill_arrivals, who may do nothing else. No key, no index:
-- each would be paid for inside the user's own write.
create table rowmill.arrivals (
  pipeline_id integer not null,
  -- Null: "sweep", after TRUNCATE or when a declared column is gone.
  keys text[],
  arrived_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
  toast.autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_vacuum_threshold = 1000);
-- Uncompressed: to compress them would be paid for inside the user's own write too, and how many they are could not be told unread.
alter table rowmill.arrivals alter column keys set storage external;

create table rowmill.sweeps (
  pipeline_id integer primary key references rowmill.pipelines (id) on delete cascade,
  wanted_at timestamptz,
  wanted_reason text,
  phase text not null default 'idle' check (phase in ('idle', 'source', 'definition', 'ledger')),
  -- The last key that was compared; null at the start of a phase.
  cursor jsonb,
  -- The newest request when the sweep began: later ones were made from rows as they are, and need no comparing.
  last_request_id bigint not null default 0,
  -- The ids of requests up to that one whose rows it met, each hashed, all by XOR.
  met bigint not null default 0,
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
  -- Those with a null in their key are one line.
  rows bigint not null default 1,
  seen_at timestamptz not null default now(),
  primary key (pipeline_id, key_sha256)
);

-- The tables through which every row passes have no foreign keys: four checks a row cost as much as the row itself, and the key
-- share lock on the parent is taken against the lock order (pipeline, batch, requests, target). The invariant script looks
-- for orphans instead; nothing deletes a parent but the removal of the whole schema. They name a batch by its number, which is short.

create type rowmill.request_state as enum ('waiting', 'batched', 'succeeded', 'failed', 'cancelled', 'gone');

-- Exactly one per row and pipeline. What changes at each attempt stays out of every index, and two thirds of a page are left free: the
-- two updates that a row needs are then heap-only.
create table rowmill.requests (
  id bigint generated always as identity primary key,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  -- Of a request that was returned: it waits at least until then. Null: it may go out.
  not_before timestamptz,
  pipeline_id integer not null,
  -- The batch that it is in while it is batched; afterwards the last one that it was in.
  batch integer,
  -- Grows with every sending, never falls: it fences late and repeated answers.
  attempt integer not null default 0,
  -- The batch whose answer is in the target: its provider, account and model stand there. Null: there is none.
  answered_batch integer,
  -- The most tokens that the answer to its line may have, where that is not what its batch says: its answer was cut short before, or other
  -- code wrote the line.
  room integer,
  -- Attempts that the model executed for this content.
  tries smallint not null default 0,
  -- Attempts in a row that were the provider's fault.
  returns smallint not null default 0,
  state rowmill.request_state not null default 'waiting',
  -- The state that a gone request had, for when its row comes back as it was.
  gone_from rowmill.request_state check (gone_from in ('waiting', 'succeeded', 'failed', 'cancelled')),
  -- The demo model gave the answer that is in the target, or the failure that the state speaks of. A real account asks again.
  demo boolean not null default false,
  -- The row was gone when its answer came, and the answer was kept (`source.onGone`): no sweep counts it as gone for that.
  row_gone boolean not null default false,
  -- An answer that it shared with equal requests did not fit its row: this content is asked in a line of its own.
  alone boolean not null default false,
  -- `rowmill forget` erased its row: its key is a text that is no row's, and whatever its batch brings is counted and not kept.
  forgotten boolean not null default false,
  -- The content that state, tries and error speak of; in a batch the one that was asked. 16 bytes of its SHA-256, or `large:` and its size.
  -- Null: the row was never read, as that of a request which waits for the first time.
  content_hash bytea,
  -- Of what was asked last.
  fingerprint bytea,
  -- The content whose answer is in the target, and what was asked then; null when none is.
  answered_hash bytea,
  answered_fingerprint bytea,
  error_code text,
  error text,
  key text not null check (octet_length(key) between 1 and 1024),
  unique (pipeline_id, key),
  constraint gone_remembers check ((state = 'gone') = (gone_from is not null)),
  constraint batched_has_batch check (state <> 'batched' or batch is not null),
  constraint failed_has_error check (state <> 'failed' or error_code is not null),
  constraint succeeded_has_answer check (state <> 'succeeded' or (answered_hash is not null and answered_hash = content_hash))
) with (fillfactor = 33);
create index requests_of_demo on rowmill.requests (pipeline_id, id) where demo;

-- Rows that `rowmill forget` erased, by a hash of their key: a row that comes back starts after its last attempt.
create table rowmill.forgotten_rows (
  pipeline_id integer not null references rowmill.pipelines (id) on delete cascade,
  key_sha256 bytea not null,
  attempt integer not null,
  forgotten_at timestamptz not null default now(),
  primary key (pipeline_id, key_sha256)
);

-- The queue: a row for up to 2,000 requests. It may name requests that do not wait any more, and one twice: the state decides, when they
-- are rendered.
create table rowmill.queue (
  no bigint generated always as identity primary key,
  pipeline_id integer not null,
  -- The batch that was planned with them; null: they wait for one.
  batch integer,
  since timestamptz not null default now(),
  not_before timestamptz not null default now(),
  n integer not null generated always as (cardinality(ids)) stored,
  ids bigint[] not null check (cardinality(ids) > 0)
-- Few rows that come and go, with their arrays beside them.
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 100,
  toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 100);
-- Uncompressed: ids in a row hardly shrink, and to try took a fifth of the time that it takes to make the requests.
alter table rowmill.queue alter column ids set storage external;
create index queue_by_turn on rowmill.queue (pipeline_id, not_before, no) where batch is null;
create index queue_by_batch on rowmill.queue (batch, no) where batch is not null;

create table rowmill.batches (
  id uuid primary key,
  -- Its name in the tables through which every row passes.
  no integer not null generated always as identity unique,
  pipeline_id integer not null references rowmill.pipelines (id),
  state text not null check (state in ('planned', 'uploading', 'submitting', 'running', 'collecting', 'settled', 'rejected', 'cancelled')),
  definition_hash text not null,
  provider text not null,
  -- Base URL, organisation and project; never a secret.
  account text not null,
  model text not null,
  endpoint text not null,
  -- Price and batch factor as planned: every cost of the batch is computed from them, whatever the config and the price list say by then.
  -- {"model": …, "steps": [{"fromInputTokens", "inputPicoUsd", "cachedInputPicoUsd", "outputPicoUsd"}, …]}: live prices in 1e-12 US dollars
  -- a token. Null: not known.
  price jsonb,
  -- What a batch costs of the live price.
  batch_factor numeric not null check (batch_factor > 0),
  -- The most tokens that each of its answers may have, unless a request says another number. Null: not rendered yet, or not known.
  room integer,
  -- Planned: how many are queued for it. Then those that entered it, exactly: succeeded + failed + returned in the end.
  requests integer not null check (requests >= 0),
  -- Requests that were rendered and sent; the others ended as attempts that were not sent.
  lines integer,
  -- Requests that share the line of an equal one.
  sharing integer not null default 0 check (sharing >= 0),
  spool_bytes bigint,
  spool_sha256 text,
  reserved_nano_usd bigint not null default 0 check (reserved_nano_usd >= 0),
  reserved_tokens bigint not null default 0 check (reserved_tokens >= 0),
  run_id uuid,
  -- How other code named its requests, such as `task-{imdb_id}`; null: the batch is Rowmill's own. What lies at the provider for an
  -- adopted one is the user's, and never deleted.
  adopted_pattern text,
  -- Created by a state of this ledger that is lost: its lines are attributed by named_lines, which has our own names of then.
  recovered boolean not null default false,
  -- Its files, and the batch at the provider, belong to another database too: never deleted, never cancelled.
  shared boolean not null default false,
  -- What a provider's adapter needs again: {"staged": input that waits for its create, "baseline": what was seen before it, "refs": of the
  -- batch that was created}; and {"refuted"}: ids of those that may have been it, and proved not to be. Nothing in our own columns is a vendor's.
  provider_data jsonb not null default '{}',
  -- When a create may be on its way; null: certainly none is. By the provider's clock where it is known.
  create_intent_at timestamptz,
  creates integer not null default 0,
  -- Its creates can be told apart by circumstance alone: one of them may be open in an account.
  one_create boolean not null default false,
  provider_batch_id text,
  -- The provider's batch is ours by circumstance: its results have to prove it before anything is believed of it, and it is never cancelled.
  presumed boolean not null default false,
  provider_status text,
  provider_counts jsonb,
  provider_errors jsonb,
  -- A person was told what is missing, of a create or of results: after "go on" it is believed. Null: nobody was, in this state.
  told_at timestamptz,
  downloads integer not null default 0,
  -- {"lines", "unknown", "missing"} of the results, once they were read to their end and are not needed any more: the answers that are left
  -- are kept. Null: not yet.
  results_read jsonb,
  forgotten_at timestamptz,
  -- The account that the worker is set up for which looked at it last, where the batch was sent with another one and waits for that.
  held_for text,
  lease_token uuid,
  lease_until timestamptz,
  lease_worker text,
  -- When the next step is due. The wake-up is graphile-worker's; this is what the rescuer and --once go by.
  next_at timestamptz not null default now(),
  polls integer not null default 0,
  failures integer not null default 0,
  -- What the last turn failed with, and since when turns fail; null: the last one did not.
  trouble text,
  trouble_since timestamptz,
  -- By when the provider has ended it, from its creation.
  window_hours integer not null default 24 check (window_hours > 0),
  planned_at timestamptz not null default now(),
  submitted_at timestamptz,
  provider_done_at timestamptz,
  settled_at timestamptz,
  -- Once it has ended, what its attempts came to; until then that stands in `usage`.
  succeeded integer not null default 0,
  failed integer not null default 0,
  returned integer not null default 0,
  input_tokens bigint not null default 0,
  cached_input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  cost_nano_usd bigint not null default 0,
  unpriced integer not null default 0,
  -- What the requests that share a line would have cost with lines of their own: as much as the line that each of them shares. Without those
  -- that are asked alone for it.
  sharing_saved_nano_usd bigint not null default 0,
  -- `rowmill cancel`: since when a person wants it cancelled, who that was, and whether what has no answer by then is dropped instead of
  -- asked again. Written without the lease, and never taken back; the batch's next turn acts on it.
  cancel_wanted_at timestamptz,
  cancel_wanted_by text,
  cancel_drops boolean not null default false,
  -- The provider was asked to cancel it.
  cancel_asked_at timestamptz,
  -- What its answers would likely cost, as planned. Null: the price is not known, or other code planned it.
  likely_nano_usd bigint check (likely_nano_usd >= 0),
  -- Given up by a person: what it may have cost, which counts as spent.
  lost_nano_usd bigint not null default 0 check (lost_nano_usd >= 0),
  -- One batch has at most one provider batch, and one provider batch belongs to one batch.
  unique (account, provider_batch_id),
  constraint uploading_has_spool check (state in ('planned', 'settled', 'rejected', 'cancelled') or (lines > 0 and spool_bytes > 0
    and (spool_sha256 is not null or ((recovered or adopted_pattern is not null) and state in ('running', 'collecting'))))),
  constraint running_has_provider_batch check (state not in ('running', 'collecting') or (provider_batch_id is not null and submitted_at is not null)),
  constraint collecting_is_done check (state <> 'collecting' or provider_done_at is not null),
  constraint results_read_when_done check (results_read is null or provider_done_at is not null),
  constraint ended_has_time check ((state in ('settled', 'rejected', 'cancelled')) = (settled_at is not null)),
  constraint ended_reserves_nothing check (settled_at is null or (reserved_nano_usd = 0 and reserved_tokens = 0)),
  constraint cancel_has_person check ((cancel_wanted_at is null) = (cancel_wanted_by is null)),
  constraint cancel_is_wanted check (cancel_wanted_at is not null or (not cancel_drops and cancel_asked_at is null)),
  constraint lost_is_given_up check (lost_nano_usd = 0 or state = 'cancelled'),
  constraint trouble_has_start check ((trouble is null) = (trouble_since is null)),
  constraint lease_is_whole check ((lease_token is null) = (lease_until is null))
) with (fillfactor = 70);
create index batches_unfinished on rowmill.batches (pipeline_id) where settled_at is null;
create index batches_due on rowmill.batches (next_at) where settled_at is null;
-- The last answers of a definition, without looking at the others: by its batches of late.
create index batches_by_definition on rowmill.batches (pipeline_id, definition_hash, settled_at);
create unique index batches_one_open_create on rowmill.batches (account) where one_create and create_intent_at is not null;

-- Which requests entered a batch, a row for up to 2,000, in the order of its file. Deleted when it ends.
create table rowmill.lines (
  batch integer not null,
  part integer not null,
  -- The line of the first, 1-based; 0: they share lines of others.
  first integer not null,
  ids bigint[] not null,
  primary key (batch, part)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 100,
  toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 100);

alter table rowmill.lines alter column ids set storage external;

-- Lines with another name than their request's own: of batches that were adopted or recovered, as other code or a lost state of this ledger
-- named them; and those that a request shares with an equal one. The name as it was written, and not by the key: a row may get another key
-- while it is being answered.
create table rowmill.named_lines (
  request_id bigint not null,
  batch integer not null,
  custom_id text not null,
  -- The line is an equal request's.
  sharing boolean not null default false,
  primary key (batch, request_id)
);
create unique index named_lines_by_name on rowmill.named_lines (batch, custom_id) where not sharing;
create index named_lines_shared on rowmill.named_lines (batch, custom_id) where sharing;

create type rowmill.attempt_ending as enum ('succeeded', 'failed', 'returned');

-- Append-only: all accounting is derived from it.
create table rowmill.attempts (
  request_id bigint not null,
  -- 1e-9 US dollars; null when the price of the model is not known.
  cost_nano_usd bigint,
  at timestamptz not null default now(),
  batch integer not null,
  attempt integer not null,
  input_tokens integer not null default 0,
  cached_input_tokens integer not null default 0,
  output_tokens integer not null default 0,
  -- The most tokens that its answer could have; null: not known.
  room integer,
  ending rowmill.attempt_ending not null,
  -- The request's tries for this content, this one included: tells the first answer of a row from those to a row that failed before.
  tries smallint not null,
  -- Why: `answered`, `invalid`, `expired`, `stale`, `gone`, …
  outcome text not null,
  -- Null: the batch's.
  model text,
  detail text,
  -- What was paid for and could not be used; until retention ends.
  answer text,
  -- The request whose line it shared: tokens and cost stand there. Null: it had its own.
  shared_from bigint,
  -- When `rowmill retry` wrote the kept answer into the target after all; what the attempt ended as, and what it cost, stays.
  written_at timestamptz,
  primary key (request_id, attempt)
);
-- Those of one batch lie side by side.
create index attempts_by_batch on rowmill.attempts using brin (batch) with (pages_per_range = 32, autosummarize = on);
create index attempts_failed on rowmill.attempts (batch, at) where outcome in ('truncated', 'invalid', 'refused');
create index attempts_with_answer on rowmill.attempts (at) where answer is not null;

-- How many requests are in which state: the sum of all rows of a pipeline. Each transaction that moves some appends what it changed, and the
-- janitor folds the rows; so nobody counts requests, and nobody waits for a counter.
create table rowmill.counts (
  pipeline_id integer not null,
  waiting bigint not null default 0,
  batched bigint not null default 0,
  succeeded bigint not null default 0,
  failed bigint not null default 0,
  cancelled bigint not null default 0,
  gone bigint not null default 0
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

-- What attempts came to, by the hour (UTC) in which they ended; appended and folded as `counts` is. The audit works it out again from
-- `attempts`.
create table rowmill.usage (
  pipeline_id integer not null,
  -- Until that has ended; then its sums stand in its own row too.
  batch integer,
  hour timestamptz not null default date_trunc('hour', now(), 'UTC'),
  succeeded integer not null default 0,
  failed integer not null default 0,
  returned integer not null default 0,
  input_tokens bigint not null default 0,
  cached_input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  cost_nano_usd bigint not null default 0,
  -- Paid attempts whose price is not known.
  unpriced integer not null default 0,
  -- What attempts that shared a line would have cost with lines of their own.
  sharing_saved_nano_usd bigint not null default 0
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
create index usage_of_batch on rowmill.usage (batch) where batch is not null;
create index usage_by_hour on rowmill.usage (hour);

-- Answers that came and cannot be written yet: a user's transaction holds their target row, or the write may go well another time. They are
-- written from here, so that the provider's files are read once. One for each batched request at most; it leaves with its request's ending.
create table rowmill.kept_answers (
  request_id bigint primary key,
  batch integer not null,
  attempt integer not null,
  -- The line of the provider's file, as it was read.
  outcome json not null,
  bytes integer not null,
  -- Writes of this row alone that failed.
  tries smallint not null default 0,
  -- When it was tried last.
  kept_at timestamptz not null default now()
);
create index kept_answers_by_batch on rowmill.kept_answers (batch, kept_at, request_id);

-- Questions that were asked live before a batch: `rowmill try`. By the pipeline's name, since it may not be registered yet.
create table rowmill.tries (
  no integer generated always as identity primary key,
  pipeline text not null,
  -- Of what was asked, with what the options changed.
  definition_hash text not null,
  -- {"model": true, "prompt": "its file"}: what the options changed.
  overridden jsonb not null default '{}',
  -- The messages as the config or the file says them: a template, or a function's source text.
  system text,
  prompt text not null,
  provider text not null,
  account text not null,
  model text not null,
  endpoint text not null,
  -- Live prices, as in `batches.price`. Null: not known.
  price jsonb,
  rows integer not null check (rows > 0),
  asked_at timestamptz not null default now()
);
create index tries_by_pipeline on rowmill.tries (pipeline, no);

-- A row is there before its call is made, so that money which may have been spent is never forgotten.
create table rowmill.try_answers (
  try integer not null references rowmill.tries (no) on delete cascade,
  place integer not null,
  key text not null,
  content_hash bytea not null,
  -- Null, as the messages: nothing was sent.
  fingerprint bytea,
  system text,
  prompt text,
  -- The most output tokens that its answer could have.
  room integer not null,
  -- What the call may cost, until its cost is known. It counts as spent: also where the call's process died.
  reserved_nano_usd bigint not null default 0 check (reserved_nano_usd >= 0),
  -- `answered`, `invalid`, `truncated`, `refused`; `empty`, `unrenderable`, `tooLarge`: not sent; `failed`: certainly not executed; `unknown`:
  -- may have been executed. Null: on its way, or its process died.
  outcome text,
  detail text,
  -- Until retention ends, as the messages and the cells.
  answer text,
  -- What the provider gave, to be judged again.
  reply json,
  -- By the answer's fields. Null: not answered.
  cells json,
  answered_by text,
  input_tokens integer not null default 0,
  cached_input_tokens integer not null default 0,
  output_tokens integer not null default 0,
  cost_nano_usd bigint,
  latency_ms integer,
  asked_at timestamptz not null default now(),
  -- When the answer became a result, in the batch that has its cost since then.
  accepted_at timestamptz,
  batch integer,
  primary key (try, place),
  unique (try, key),
  constraint cost_is_known_or_reserved check (cost_nano_usd is null or reserved_nano_usd = 0),
  constraint accepted_has_batch check ((accepted_at is null) = (batch is null))
);
create index try_answers_with_text on rowmill.try_answers (asked_at) where prompt is not null or answer is not null;

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

-- Duplicates: provider batches beside the one that is ours, for the same requests; cancelled, and their cost counted at the reserve.
create table rowmill.duplicate_batches (
  account text not null,
  provider_batch_id text not null,
  batch_id uuid,
  reason text not null,
  reserved_nano_usd bigint not null default 0,
  -- False: it may be one, by circumstance. Told, counted where nobody else uses the account, and never cancelled.
  certain boolean not null default true,
  found_at timestamptz not null default now(),
  cancelled_at timestamptz,
  primary key (account, provider_batch_id)
);

-- Limits that a provider told us in a refusal, or that were guessed from one.
create table rowmill.learned_limits (
  account text not null,
  model text not null,
  enqueued_tokens bigint check (enqueued_tokens > 0),
  input_bytes bigint check (input_bytes > 0),
  -- How many limits were guessed since a file last passed, `input_bytes` being the last of them; 0: the provider named it, or there is none.
  size_guesses smallint not null default 0,
  -- The smallest file that was refused so.
  refused_bytes bigint,
  -- Nothing is sent before then: the provider asked to wait, or has no room. Null: at once.
  not_before timestamptz,
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
  seen_at timestamptz not null default now(),
  -- When the file of its config was changed after it had read it; null: it works with the file as it is.
  config_changed_at timestamptz
);

-- Of pipelines whose target is elsewhere: who delivers to it now, and how it fares.
create table rowmill.deliverers (
  pipeline_id integer primary key references rowmill.pipelines (id) on delete cascade,
  -- For display.
  target text not null,
  -- Of what it is and where it writes, by the last `up` that began: a worker with another one delivers nothing.
  target_hash text not null,
  lease_token uuid,
  lease_until timestamptz,
  lease_worker text,
  -- Nothing is written to it before then.
  next_at timestamptz not null default now(),
  -- Writes in a row that failed as a whole, what the last one failed with, and since when they fail; null: the last one did not.
  failures integer not null default 0,
  trouble text,
  trouble_since timestamptz,
  -- When it is told that nothing is due, at the earliest; null: it was told, or does not want to know.
  settle_at timestamptz,
  created_at timestamptz not null default now(),
  constraint trouble_has_start check ((trouble is null) = (trouble_since is null)),
  constraint lease_is_whole check ((lease_token is null) = (lease_until is null))
);

-- What a target elsewhere is told of each row: only its newest change. The answer itself is in rowmill_data."<pipeline>_answers".
create table rowmill.deliveries (
  pipeline_id integer not null,
  key text not null,
  -- Grows with each change of the row's answer: `fence_epoch` times 2^31, and a number of the sequence.
  fence bigint not null,
  -- It has no answer any more. Its line leaves once that is delivered.
  deleted boolean not null default false,
  -- `stale`: the target holds a newer answer. `failed`: it refused this one too many times. `dropped`: the row that it would be written into
  -- changed or is gone.
  state text not null default 'waiting' check (state in ('waiting', 'delivered', 'stale', 'failed', 'dropped')),
  -- How many times the target refused it, and why it did the last time.
  failures smallint not null default 0,
  reason text,
  next_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  -- Of an answer that is written into its row: the row as the write under this fence leaves it, if that is not as it was asked. Kept from
  -- before the write until it is confirmed.
  read_back json,
  primary key (pipeline_id, key),
  constraint undelivered_has_reason check (state not in ('stale', 'failed') or reason is not null)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
create index deliveries_waiting on rowmill.deliveries (pipeline_id, next_at, fence) where state = 'waiting';
create index deliveries_refused on rowmill.deliveries (pipeline_id, state) where state in ('stale', 'failed');

create sequence rowmill.delivery_fences;

-- Pipelines whose rows are pushed: each has a table in the schema rowmill_data, which is watched as any table is.
create table rowmill.replicas (
  pipeline text primary key,
  key text[] not null check (cardinality(key) > 0),
  -- Every column that was declared since the table was made.
  columns text[] not null,
  -- The field by which an older push loses to a newer one. Null: the last push wins.
  version_field text,
  -- Grows with each added column. Rows of an earlier one lack that column, and do not count.
  generation integer not null default 1,
  -- Rowmill reads the rows from elsewhere itself, so no one may push any.
  synced boolean not null default false,
  created_at timestamptz not null default now()
);

-- How far the reading of rows from elsewhere is. One worker at a time reads, under a lease; each page is committed with its place.
create table rowmill.syncs (
  pipeline text primary key references rowmill.replicas on delete cascade,
  -- `reading`: a pass is under way. `deleting`: rows that are gone there are deleted here.
  phase text not null default 'idle' check (phase in ('idle', 'reading', 'deleting')),
  -- The present pass: over all rows, or over what has changed since `mark`.
  is_full boolean not null default true,
  place json,
  rows bigint not null default 0,
  began_at timestamptz,
  -- Where the next reading of changes begins, and what the present pass would make of it. Null: only full passes.
  mark json,
  next_mark json,
  -- Says what is read, and into which columns. Another one begins with all rows, and without the mark.
  definition text,
  -- Of the last completed pass over all rows.
  full_began_at timestamptz,
  full_ended_at timestamptz,
  full_rows bigint,
  ended_at timestamptz,
  -- Rows that the last two passes over all rows did not meet, to be deleted if nothing wrote them since `gone_before`.
  gone bigint not null default 0,
  gone_before timestamptz,
  -- So many that a person has to agree.
  held boolean not null default false,
  -- So many a person agreed to, which are deleted now.
  agreed bigint not null default 0,
  -- Hour since 1970 → rows that were found gone, of the last day.
  gone_by_hour jsonb not null default '{}',
  next_at timestamptz not null default now(),
  -- Why the last attempt failed, and since when attempts do.
  trouble text,
  trouble_since timestamptz,
  failures integer not null default 0,
  lease_token uuid,
  lease_until timestamptz,
  lease_worker uuid,
  -- Someone asked for a pass over all rows.
  full_wanted boolean not null default false
);

-- The last versions of pushed rows that were deleted, erased or have expired, by a hash of their key: an older push does not bring them back.
create table rowmill.gone_versions (
  pipeline text not null,
  key_sha256 bytea not null,
  version text not null,
  primary key (pipeline, key_sha256)
);

-- What may be pushed and read over HTTP, by the hash of a secret that is shown once.
create table rowmill.tokens (
  id integer generated always as identity primary key,
  sha256 bytea not null unique,
  -- Its first characters, to tell it from others.
  prefix text not null,
  scope text not null check (scope in ('push', 'read', 'operate', 'admin')),
  -- Null: of all pipelines.
  pipeline text,
  note text,
  created_at timestamptz not null default now(),
  -- To the minute.
  last_used_at timestamptz,
  revoked_at timestamptz
);

-- The last body that a token pushed, while nothing else changed the pipeline's rows: a trigger that posts its whole table for each row of
-- a statement sends the same one a thousand times.
create table rowmill.push_digests (
  pipeline text not null,
  token integer not null,
  sha256 bytea not null,
  -- What the same push again comes to.
  told json not null,
  primary key (pipeline, token)
);

-- Answers to pushed rows in the order in which they were accepted, for those who fetch them: a row for each transaction that accepted some.
-- Readers see it once no older transaction is open, so that none is passed over which commits late. Of other pipelines there are none. As
-- rowmill.attempts, it grows with each answer and is never thinned: a reader may begin with the first, or come back with an old cursor.
create table rowmill.result_chunks (
  no bigint generated always as identity primary key,
  pipeline_id integer not null,
  -- Falls below 0 when the ledger moves to a server that counts its transactions anew.
  era integer not null default 0,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default now(),
  ids bigint[] not null check (cardinality(ids) > 0)
);
alter table rowmill.result_chunks alter column ids set storage external;
create index result_chunks_in_order on rowmill.result_chunks (pipeline_id, era, xid, no);

-- Pushes that were refused, by reason: their caller may not look at the reply.
create table rowmill.refused_pushes (
  pipeline text not null,
  reason text not null,
  pushes bigint not null default 1,
  rows bigint not null default 0,
  example text,
  last_at timestamptz not null default now(),
  primary key (pipeline, reason)
);

-- Whether version `a` is older than `b`: as numbers where both are, otherwise as texts by their bytes (ISO 8601 in one time zone). Every
-- number is older than every text, so that mixed versions have one order too.
create function rowmill.is_older(a text, b text) returns boolean language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return case
  when a is null or b is null then null
  when a ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$' then
    case when b ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$' then a::numeric < b::numeric else true end
  when b ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$' then false
  else a collate "C" < b collate "C" end;

-- Writes a list of rows, each a JSON object, into the pipeline's table, in the caller's transaction. Of one key the newest version counts,
-- and of those the last. They may come from several pushes: `pushes` has a number for each row, and each number gets a row of the result.
-- `older`: rows that would have replaced a newer version, or brought a row back that was newer when it went. `problems`: [{"row": its place
-- in the list from 0, "key", "reason"}, …], at most 100 a push. Fails as a whole for text that PostgreSQL cannot hold (\u0000).
create function rowmill.push_rows(pipeline_name text, given json, pushes integer[], by_sync boolean default false)
returns table (push integer, accepted integer, unchanged integer, older integer, refused integer, problems json)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  replica rowmill.replicas;
  cells text;
  names text;
  updates text;
  new_cells text;
  old_cells text;
  keys text;
  key_text text;
  key_is_kept text;
begin
  -- Waits for `up` while it changes the table, and for a push that keeps its digest.
  perform pg_advisory_xact_lock_shared(726976, hashtext(pipeline_name));
  select * into replica from rowmill.replicas r where r.pipeline = pipeline_name and r.synced = by_sync;
  if not found then
    raise exception 'Rowmill takes no rows for %: no such pipeline, or its source is not push()', quote_literal(pipeline_name)
      using errcode = 'undefined_object';
  end if;
  delete from rowmill.push_digests d where d.pipeline = pipeline_name;
  select string_agg(format('g.entry ->> %L as %I', c, c), ', '), string_agg(quote_ident(c), ', '),
    string_agg(format('%1$I = excluded.%1$I', c), ', '), string_agg(format('excluded.%I', c), ', '),
    string_agg(format('t.%I', c), ', ')
    into cells, names, updates, new_cells, old_cells
    from unnest(replica.columns) c;
  select string_agg(quote_ident(k), ', '),
    case when count(*) = 1 then min(quote_ident(k)) else format('json_build_array(%s)::text', string_agg(quote_ident(k), ', ')) end,
    string_agg(format('t.%1$I = r.%1$I', k), ' and ')
    into keys, key_text, key_is_kept
    from unnest(replica.key) k;
  return query execute format($q$
    with read as (
      select g.n as rowmill_n, $4[g.n::integer] as rowmill_push, octet_length(g.entry::text) as rowmill_bytes, %1$s,
        case when $3 is not null then g.entry ->> $3 end as rowmill_version
      from (
        select e.n, case when json_typeof(e.entry) = 'object' then e.entry end as entry
        from json_array_elements($1) with ordinality as e (entry, n)) g
    ), judged as (
      select *, %2$s as rowmill_key, rowmill_version ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$' as rowmill_is_number,
        case
          when rowmill_bytes is null then 'it is not a JSON object'
          when rowmill_bytes > 4194304 then 'it is larger than 4 MiB'
          when num_nulls(%3$s) > 0 then 'its key is missing or null'
          when octet_length(%2$s) = 0 then 'its key is an empty text'
          when octet_length(%2$s) > 1024 then 'its key has more than 1,024 bytes'
          when $3 is not null and rowmill_version is null then 'its version is missing or null'
          when octet_length(rowmill_version) > 128 then 'its version has more than 128 bytes' end as rowmill_problem
      from read
    ), ranked as (
      select *, row_number() over newest_first as rowmill_place, first_value(rowmill_version) over newest_first as rowmill_newest_version,
        case when $3 is not null then (
          select g.version
          from rowmill.gone_versions g
          where g.pipeline = $5 and g.key_sha256 = sha256(convert_to(rowmill_key, 'UTF8'))) end as rowmill_gone_version
      from judged
      where rowmill_problem is null
      window newest_first as (partition by %3$s order by rowmill_is_number,
        case when rowmill_is_number then rowmill_version::numeric end desc,
        case when not rowmill_is_number then rowmill_version collate "C" end desc, rowmill_n desc)
    ), newest as (
      select * from ranked where rowmill_place = 1 and rowmill.is_older(rowmill_version, rowmill_gone_version) is not true
    ), written as (
      insert into rowmill_data.%4$I as t (%5$s, rowmill_generation, rowmill_version)
      select %5$s, $2, rowmill_version
      from newest
      order by %3$s
      on conflict (%3$s) do update
      set %6$s, rowmill_generation = excluded.rowmill_generation, rowmill_version = excluded.rowmill_version, rowmill_pushed_at = now()
      where ($3 is null or rowmill.is_older(excluded.rowmill_version, t.rowmill_version) is not true)
        and row(%7$s, excluded.rowmill_generation, excluded.rowmill_version)
          is distinct from row(%8$s, t.rowmill_generation, t.rowmill_version)
      returning %3$s
    ), back as (
      delete from rowmill.gone_versions g
      using written w
      where $3 is not null and g.pipeline = $5 and g.key_sha256 = sha256(convert_to(%2$s, 'UTF8'))
    ), beside_written as (
      select %3$s, rowmill_push, rowmill_place, rowmill_version, rowmill_newest_version, rowmill_gone_version, false as rowmill_is_written
      from ranked
      union all
      select %3$s, null, 0, null, null, null, true from written
    ), counted as (
      -- A join with what was written would be planned for a single row.
      select *, bool_or(rowmill_is_written) over (partition by %3$s) as rowmill_key_is_written,
        row_number() over (partition by %3$s, rowmill_push order by rowmill_place) as rowmill_place_in_push
      from beside_written
    ), told as (
      select r.rowmill_push,
        case
          when rowmill.is_older(r.rowmill_version, r.rowmill_newest_version) then 'older'
          when r.rowmill_key_is_written then 'accepted'
          when rowmill.is_older(r.rowmill_version, coalesce(t.rowmill_version, r.rowmill_gone_version)) then 'older'
          else 'unchanged' end as rowmill_outcome
      from counted r
      left join rowmill_data.%4$I t on $3 is not null and %9$s
      where not r.rowmill_is_written and r.rowmill_place_in_push = 1
    ), outcomes as (
      select rowmill_push, rowmill_outcome, null as rowmill_place, null as rowmill_told from told
      union all
      select rowmill_push, 'refused', row_number() over (partition by rowmill_push order by rowmill_n),
        json_build_object('row', rowmill_n - 1, 'key', left(rowmill_key, 200), 'reason', rowmill_problem)
      from judged
      where rowmill_problem is not null
    )
    select rowmill_push, count(*) filter (where rowmill_outcome = 'accepted')::integer,
      count(*) filter (where rowmill_outcome = 'unchanged')::integer, count(*) filter (where rowmill_outcome = 'older')::integer,
      count(*) filter (where rowmill_outcome = 'refused')::integer,
      coalesce(json_agg(rowmill_told order by rowmill_place) filter (where rowmill_place <= 100), '[]')
    from outcomes
    group by rowmill_push
    $q$, cells, key_text, keys, pipeline_name, names, updates, new_cells, old_cells, key_is_kept)
    using given, replica.generation, replica.version_field, pushes, pipeline_name;
end
$$;

-- For your own SQL, in your own transaction: select rowmill.push('movies', '[{"id": 1, "title": "Heat"}]').
create function rowmill.push(pipeline text, rows jsonb, out accepted integer, out unchanged integer, out older integer,
  out refused integer, out problems json)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  list jsonb := case when jsonb_typeof(rows) = 'object' and rows ? 'data' then rows -> 'data' else rows end;
begin
  -- A json_agg over no rows is null.
  list := case coalesce(jsonb_typeof(list), 'null') when 'array' then list when 'null' then '[]' else jsonb_build_array(list) end;
  select p.accepted, p.unchanged, p.older, p.refused, p.problems
    into accepted, unchanged, older, refused, problems
    from rowmill.push_rows(pipeline, list::text::json, array_fill(0, array[jsonb_array_length(list)])) p;
  if not found then
    select 0, 0, 0, 0, '[]' into accepted, unchanged, older, refused, problems;
  end if;
end
$$;

revoke all on function rowmill.push_rows(text, json, integer[], boolean) from public;
revoke all on function rowmill.push(text, jsonb) from public;
revoke all on function rowmill.is_older(text, text) from public;

-- For people who would rather query: these four are documented (docs/cli.md) and stay as they are; the tables may change. They read with the
-- rights of whoever asks, where the server has that (PostgreSQL 15); on 14 with those of their owner.

create view rowmill.progress as
select p.name as pipeline, coalesce(c.waiting, 0)::bigint as waiting, coalesce(c.batched, 0)::bigint as in_batches,
  coalesce(c.succeeded, 0)::bigint as succeeded, coalesce(c.failed, 0)::bigint as failed,
  coalesce(c.cancelled, 0)::bigint as cancelled, coalesce(c.gone, 0)::bigint as gone, coalesce(b.open, 0)::bigint as open_batches,
  b.oldest_submitted_at, coalesce(b.reserved / 1e9, 0)::numeric(20, 9) as reserved_usd, p.pause_kind as paused_by,
  p.pause_reason as paused_because, p.target_table as answers_in,
  -- Of answers to a target elsewhere; null: it is a table. Counted only where they are asked for.
  case when d.target is not null then
    (select count(*) from rowmill.deliveries l where l.pipeline_id = p.id and l.state = 'waiting') end as deliveries_waiting,
  case when d.target is not null then
    (select count(*) from rowmill.deliveries l where l.pipeline_id = p.id and l.state = 'delivered') end as deliveries_delivered,
  case when d.target is not null then
    (select count(*) from rowmill.deliveries l where l.pipeline_id = p.id and l.state = 'stale') end as deliveries_stale,
  case when d.target is not null then
    (select count(*) from rowmill.deliveries l where l.pipeline_id = p.id and l.state = 'failed') end as deliveries_failed
from rowmill.pipelines p
left join rowmill.deliverers d on d.pipeline_id = p.id
left join (
  select pipeline_id, sum(waiting) as waiting, sum(batched) as batched, sum(succeeded) as succeeded, sum(failed) as failed,
    sum(cancelled) as cancelled, sum(gone) as gone
  from rowmill.counts
  group by pipeline_id) c on c.pipeline_id = p.id
left join (
  select pipeline_id, count(*) as open, min(submitted_at) as oldest_submitted_at, sum(reserved_nano_usd) as reserved
  from rowmill.batches
  where settled_at is null
  group by pipeline_id) b on b.pipeline_id = p.id
where p.uninstalled_at is null;

create view rowmill.failures as
select p.name as pipeline, r.key, r.error_code as reason, r.error as message, r.tries, r.changed_at as failed_at, b.id as batch_id,
  1::bigint as rows
from rowmill.requests r
join rowmill.pipelines p on p.id = r.pipeline_id
left join rowmill.batches b on b.no = r.batch
where p.uninstalled_at is null
  and (r.state = 'failed' or (r.state = 'cancelled' and r.error_code = 'dropped'))
union all
-- Keys that cannot name a request, without those that the last whole sweep did not meet any more.
select p.name, k.key_prefix, 'refusedKey', k.reason, 0::smallint, k.seen_at, null, k.rows
from rowmill.refused_keys k
join rowmill.pipelines p on p.id = k.pipeline_id
where p.uninstalled_at is null
  and not exists (
    select 1
    from rowmill.sweeps s
    where s.pipeline_id = k.pipeline_id
      and s.phase = 'idle'
      and k.seen_at < s.started_at);

create view rowmill.costs as
select p.name as pipeline, b.model, b.provider, b.id as batch_id,
  (coalesce(b.submitted_at, b.planned_at) at time zone 'UTC')::date as day, b.submitted_at, b.settled_at as ended_at, b.requests,
  (b.succeeded + u.succeeded)::bigint as succeeded, (b.failed + u.failed)::bigint as failed,
  (b.returned + u.returned)::bigint as returned, (b.input_tokens + u.input_tokens)::bigint as input_tokens,
  (b.output_tokens + u.output_tokens)::bigint as output_tokens, (b.likely_nano_usd / 1e9)::numeric(20, 9) as estimated_usd,
  (b.reserved_nano_usd / 1e9)::numeric(20, 9) as reserved_usd, (s.nano_usd / 1e9)::numeric(20, 9) as spent_usd,
  (round(s.nano_usd / b.batch_factor) / 1e9)::numeric(20, 9) as live_usd,
  ((round(s.nano_usd / b.batch_factor) - s.nano_usd) / 1e9)::numeric(20, 9) as saved_usd,
  (b.unpriced + u.unpriced)::bigint as answers_without_price, b.sharing::bigint as shared_requests,
  ((b.sharing_saved_nano_usd + u.sharing_saved_nano_usd) / 1e9)::numeric(20, 9) as sharing_saved_usd
from rowmill.batches b
join rowmill.pipelines p on p.id = b.pipeline_id
cross join lateral (
  select coalesce(sum(succeeded), 0) as succeeded, coalesce(sum(failed), 0) as failed, coalesce(sum(returned), 0) as returned,
    coalesce(sum(input_tokens), 0) as input_tokens, coalesce(sum(output_tokens), 0) as output_tokens,
    coalesce(sum(cost_nano_usd), 0) as cost_nano_usd, coalesce(sum(unpriced), 0) as unpriced,
    coalesce(sum(sharing_saved_nano_usd), 0) as sharing_saved_nano_usd
  from rowmill.usage u
  where u.batch = b.no
    and b.settled_at is null) u
cross join lateral (
  select b.cost_nano_usd + u.cost_nano_usd + b.lost_nano_usd + coalesce(sum(d.reserved_nano_usd), 0) as nano_usd
  from rowmill.duplicate_batches d
  where d.batch_id = b.id) s;

-- What a well-known tutorial keeps in its table of this name. The status is true once every answer is collected, or the batch ended without.
create view rowmill.batch_processing_details as
select b.no::bigint as id, coalesce(b.submitted_at, b.planned_at) as created_at, b.provider_batch_id as batch_job_id,
  b.settled_at is not null as batch_job_status
from rowmill.batches b
where b.provider_batch_id is not null;

do $$
begin
  if current_setting('server_version_num')::int >= 150000 then
    alter view rowmill.progress set (security_invoker = true);
    alter view rowmill.failures set (security_invoker = true);
    alter view rowmill.costs set (security_invoker = true);
    alter view rowmill.batch_processing_details set (security_invoker = true);
  end if;
end
$$;
