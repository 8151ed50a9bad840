-- Money and identity: what a batch was planned with stays with it.

-- Older workers would price and judge by their own config, and read a fingerprint as they make it: they would ask and pay again.
lock table rowmill.batches in access exclusive mode;
update rowmill.deployment set oldest_version = 5;
update rowmill.batches set lease_token = null, lease_until = null, lease_worker = null where lease_token is not null;

-- Price and batch factor as planned: every cost of the batch is computed from them, whatever the config and the price list say by then.
alter table rowmill.batches
  -- {"model": …, "steps": [{"fromInputTokens", "inputPicoUsd", "cachedInputPicoUsd", "outputPicoUsd"}, …]}: live prices in 1e-12 US dollars
  -- a token. Null: not known.
  add column price jsonb,
  -- What a batch costs of the live price. Null: planned by an older version, and priced by its own model.
  add column batch_factor numeric check (batch_factor > 0),
  add constraint price_has_factor check (price is null or batch_factor is not null);

-- Every definition that a pipeline had: the answers to a batch are judged by the definition that asked.
create table rowmill.definitions (
  pipeline_id integer not null references rowmill.pipelines (id) on delete cascade,
  definition_hash text not null,
  -- What the user's config said, without functions. Never a secret.
  definition jsonb not null,
  -- What zod takes, as JSON schema, from which src/model/stored-answer.ts makes a schema again. Null: plain text. As text, since the order of
  -- the fields counts.
  answer_schema json,
  registered_at timestamptz not null default now(),
  primary key (pipeline_id, definition_hash)
);
-- Of definitions before this version only the present one is known, with its schema as the model was given it.
insert into rowmill.definitions (pipeline_id, definition_hash, definition, answer_schema)
  select id, definition_hash, definition - 'system' - 'user' - 'answer' - 'target', (definition ->> 'answer')::json from rowmill.pipelines;

-- Who answered.
alter table rowmill.requests
  -- The batch whose answer is in the target: its provider, account and model stand there. Null: there is none, or an earlier version
  -- wrote it; then its attempts tell.
  add column answered_batch uuid,
  -- The demo model gave the answer that is in the target, or the failure that the state speaks of. A real account asks again.
  add column demo boolean not null default false;
-- For which account the approval was given: what was said of a local server holds for no other.
alter table rowmill.pipelines add column approved_account text;
create index requests_of_demo on rowmill.requests (pipeline_id, id) where demo;

-- Batches of another account than the present one.
alter table rowmill.batches
  -- The account that the worker is set up for which looked at it last, where the batch was sent with another one and waits for that.
  add column held_for text,
  -- Given up by a person: what it may have cost, which counts as spent.
  add column lost_nano_usd bigint not null default 0 check (lost_nano_usd >= 0),
  add constraint lost_is_given_up check (lost_nano_usd = 0 or state = 'cancelled');

-- What a try had of its own, and what is normal for a definition.

-- The room that a try gave to its answer, in output tokens, which is no part of the fingerprint. Null: not rendered, or not known.
alter table rowmill.in_flight add column room integer;
alter table rowmill.attempts add column room integer;

-- Answers of a definition that fail one after another.
alter table rowmill.pipelines
  drop constraint pipelines_pause_kind_check,
  add constraint pipelines_pause_kind_check
    check (pause_kind in ('person', 'budget', 'account', 'provider', 'source', 'target', 'deployment', 'answers')),
  -- Answers of before do not count: a person said since then that it is worth another try. Null: all count.
  add column answers_since timestamptz;
-- By which failures a definition's pipeline does not pause, because a person said that so many of them are normal.
create table rowmill.accepted_failures (
  pipeline_id integer not null references rowmill.pipelines (id) on delete cascade,
  definition_hash text not null,
  outcome text not null,
  accepted_at timestamptz not null default now(),
  primary key (pipeline_id, definition_hash, outcome)
);
-- The request's tries for this content, this one included: tells the first answer of a row from those to a row that failed before.
alter table rowmill.attempts add column tries smallint;
-- The last answers of a definition, without looking at the others: by its batches of late, and in each from the end.
create index batches_by_definition on rowmill.batches (pipeline_id, definition_hash, settled_at);
drop index rowmill.attempts_by_batch;
create index attempts_by_batch on rowmill.attempts (batch_id, at);

-- Answers that came and cannot be written yet: a user's transaction holds their target row, or the write may go well another time. They are
-- written from here, so that the provider's files are read once. One for each request in flight at most; it leaves with its request's ending.
create table rowmill.kept_answers (
  request_id bigint primary key,
  batch_id uuid not null,
  attempt integer not null,
  -- The line of the provider's file, as it was read.
  outcome json not null,
  bytes integer not null,
  -- Writes of this row alone that failed.
  tries smallint not null default 0,
  -- When it was tried last.
  kept_at timestamptz not null default now()
);
create index kept_answers_by_batch on rowmill.kept_answers (batch_id, kept_at, request_id);
alter table rowmill.batches
  -- {"lines", "unknown", "missing"} of the results, once they were read to their end and are not needed any more: the answers that are left
  -- are kept. Null: not yet.
  add column results_read jsonb,
  add constraint results_read_when_done check (results_read is null or provider_done_at is not null);

-- What a provider refuses for its size without naming a limit.

alter table rowmill.learned_limits
  -- How many limits were guessed since a file last passed, `input_bytes` being the last of them, and that file's own one; 0: the provider
  -- named it, or there is none.
  add column size_guesses smallint not null default 0,
  -- The smallest file that was refused so.
  add column refused_bytes bigint;

-- Rows that are deleted while they are being answered.
alter table rowmill.requests
  -- The row was gone when its answer came, and the answer was kept (`source.onGone`): no sweep counts it as gone for that.
  add column row_gone boolean not null default false;

-- Rows that no key names: those with a null in their key are one line.
alter table rowmill.refused_keys add column rows bigint not null default 1;

-- What `rowmill retry` did with an answer that the target had refused.
alter table rowmill.attempts
  -- When the kept answer was written into the target after all; what the attempt ended as, and what it cost, stays.
  add column written_at timestamptz;

-- What a provider needs again of a batch. Nothing in our own columns is a vendor's.

alter table rowmill.batches
  -- Written and read by the provider's adapter: {"staged": input that waits for its create, "baseline": what was seen before it, "refs": of the
  -- batch that was created}; and {"refuted"}: ids of those that may have been it, and proved not to be.
  add column provider_data jsonb not null default '{}',
  -- The provider's batch is ours by circumstance: its results have to prove it before anything is believed of it, and it is never cancelled.
  add column presumed boolean not null default false,
  -- A person was told what is missing, of a create or of results: after "go on" it is believed. Null: nobody was, in this state.
  add column told_at timestamptz,
  -- Its creates can be told apart by circumstance alone: one of them may be open in an account.
  add column one_create boolean not null default false,
  -- By when the provider has ended it, from its creation.
  add column window_hours integer not null default 24 check (window_hours > 0),
  drop constraint submitting_has_file;
update rowmill.batches set
  provider_data = jsonb_strip_nulls(jsonb_build_object('staged', input_file_id, 'refs', case when provider_batch_id is not null
    then jsonb_build_object('input', coalesce(input_file_id, ''), 'output', output_file_id, 'error', error_file_id) end)),
  told_at = case when (state in ('running', 'collecting') and downloads >= 100) or (state = 'submitting' and polls >= 100) then now() end;
alter table rowmill.batches drop column input_file_id, drop column output_file_id, drop column error_file_id;
alter table rowmill.batches rename column files_deleted_at to forgotten_at;
create unique index batches_one_open_create on rowmill.batches (account) where one_create and create_intent_at is not null;

-- Duplicates: provider batches beside the one that is ours, for the same requests.
alter table rowmill.stray_batches rename to duplicate_batches;
alter table rowmill.duplicate_batches
  -- False: it may be one, by circumstance. Told, counted where nobody else uses the account, and never cancelled.
  add column certain boolean not null default true;

alter table rowmill.learned_limits
  -- Nothing is sent before then: the provider asked to wait, or has no room. Null: at once.
  add column not_before timestamptz;
