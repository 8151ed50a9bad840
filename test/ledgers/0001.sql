SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA rowmill;
CREATE SCHEMA rowmill_worker;
CREATE TYPE rowmill_worker.job_spec AS (
	identifier text,
	payload json,
	queue_name text,
	run_at timestamp with time zone,
	max_attempts smallint,
	job_key text,
	priority smallint,
	flags text[]
);
CREATE FUNCTION rowmill.arrive_1() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, YMD'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    AS $$
declare found_keys text[];
begin
  if current_setting('rowmill.writing', true) = '1' then return null; end if;
  if tg_op = 'TRUNCATE' or (select count(*) from pg_attribute a where a.attrelid = tg_relid and not a.attisdropped
    and (a.attname, a.atttypid) in (('id'::name, 20::oid), ('body'::name, 25::oid))) <> 2 then
    insert into rowmill.arrivals (pipeline_id) values (1);
    return null;
  end if;
  if tg_op = 'INSERT' then
    select array_agg(k.key) into found_keys from (select t."id"::text as key from rowmill_new t where t."id" is not null and octet_length(t."id"::text) <= 1024 limit 5001) k;
    if cardinality(found_keys) <= 5000 then
      insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys);
    elsif found_keys is not null then
      insert into rowmill.arrivals (pipeline_id, keys)
      select 1, array_agg(k.key) from (
        select n.key, (row_number() over () - 1) / 5000 as part from (select t."id"::text as key from rowmill_new t where t."id" is not null and octet_length(t."id"::text) <= 1024) n) k group by k.part;
    end if;
  elsif tg_op = 'DELETE' then
    select array_agg(k.key) into found_keys from (select t."id"::text as key from rowmill_old t where t."id" is not null and octet_length(t."id"::text) <= 1024 limit 5001) k;
    if cardinality(found_keys) <= 5000 then
      insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys);
    elsif found_keys is not null then
      insert into rowmill.arrivals (pipeline_id, keys)
      select 1, array_agg(k.key) from (
        select n.key, (row_number() over () - 1) / 5000 as part from (select t."id"::text as key from rowmill_old t where t."id" is not null and octet_length(t."id"::text) <= 1024) n) k group by k.part;
    end if;
  else
    select array_agg(k.key) into found_keys from (select distinct d.key from (
      ((select t."id"::text as key, t."body"::text as c0 from rowmill_new t where t."id" is not null and octet_length(t."id"::text) <= 1024) except all (select t."id"::text as key, t."body"::text as c0 from rowmill_old t where t."id" is not null and octet_length(t."id"::text) <= 1024)) union all ((select t."id"::text as key, t."body"::text as c0 from rowmill_old t where t."id" is not null and octet_length(t."id"::text) <= 1024) except all (select t."id"::text as key, t."body"::text as c0 from rowmill_new t where t."id" is not null and octet_length(t."id"::text) <= 1024))) d limit 5001) k;
    if cardinality(found_keys) <= 5000 then
      insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys);
    elsif found_keys is not null then
      insert into rowmill.arrivals (pipeline_id, keys)
      select 1, array_agg(k.key) from (
        select n.key, (row_number() over () - 1) / 5000 as part from (select distinct d.key from (
      ((select t."id"::text as key, t."body"::text as c0 from rowmill_new t where t."id" is not null and octet_length(t."id"::text) <= 1024) except all (select t."id"::text as key, t."body"::text as c0 from rowmill_old t where t."id" is not null and octet_length(t."id"::text) <= 1024)) union all ((select t."id"::text as key, t."body"::text as c0 from rowmill_old t where t."id" is not null and octet_length(t."id"::text) <= 1024) except all (select t."id"::text as key, t."body"::text as c0 from rowmill_new t where t."id" is not null and octet_length(t."id"::text) <= 1024))) d) n) k group by k.part;
    end if;
  end if;
  return null;
end$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE rowmill_worker._private_jobs (
    id bigint NOT NULL,
    job_queue_id integer,
    task_id integer NOT NULL,
    payload json DEFAULT '{}'::json NOT NULL,
    priority smallint DEFAULT 0 NOT NULL,
    run_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    max_attempts smallint DEFAULT 25 NOT NULL,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    key text,
    locked_at timestamp with time zone,
    locked_by text,
    revision integer DEFAULT 0 NOT NULL,
    flags jsonb,
    is_available boolean GENERATED ALWAYS AS (((locked_at IS NULL) AND (attempts < max_attempts))) STORED NOT NULL,
    CONSTRAINT jobs_key_check CHECK (((length(key) > 0) AND (length(key) <= 512))),
    CONSTRAINT jobs_max_attempts_check CHECK ((max_attempts >= 1))
);
CREATE FUNCTION rowmill_worker.add_job(identifier text, payload json DEFAULT NULL::json, queue_name text DEFAULT NULL::text, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_attempts integer DEFAULT NULL::integer, job_key text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, flags text[] DEFAULT NULL::text[], job_key_mode text DEFAULT 'replace'::text) RETURNS rowmill_worker._private_jobs
    LANGUAGE plpgsql
    AS $$
declare
  v_job "rowmill_worker"._private_jobs;
begin
  if (job_key is null or job_key_mode is null or job_key_mode in ('replace', 'preserve_run_at')) then
    select * into v_job
    from "rowmill_worker".add_jobs(
      ARRAY[(
        identifier,
        payload,
        queue_name,
        run_at,
        max_attempts::smallint,
        job_key,
        priority::smallint,
        flags
      )::"rowmill_worker".job_spec],
      (job_key_mode = 'preserve_run_at')
    )
    limit 1;
    return v_job;
  elsif job_key_mode = 'unsafe_dedupe' then
    -- Ensure all the tasks exist
    insert into "rowmill_worker"._private_tasks as tasks (identifier)
    values (add_job.identifier)
    on conflict do nothing;
    -- Ensure all the queues exist
    if add_job.queue_name is not null then
      insert into "rowmill_worker"._private_job_queues as job_queues (queue_name)
      values (add_job.queue_name)
      on conflict do nothing;
    end if;
    -- Insert job, but if one already exists then do nothing, even if the
    -- existing job has already started (and thus represents an out-of-date
    -- world state). This is dangerous because it means that whatever state
    -- change triggered this add_job may not be acted upon (since it happened
    -- after the existing job started executing, but no further job is being
    -- scheduled), but it is useful in very rare circumstances for
    -- de-duplication. If in doubt, DO NOT USE THIS.
    insert into "rowmill_worker"._private_jobs as jobs (
      job_queue_id,
      task_id,
      payload,
      run_at,
      max_attempts,
      key,
      priority,
      flags
    )
      select
        job_queues.id,
        tasks.id,
        coalesce(add_job.payload, '{}'::json),
        coalesce(add_job.run_at, now()),
        coalesce(add_job.max_attempts::smallint, 25::smallint),
        add_job.job_key,
        coalesce(add_job.priority::smallint, 0::smallint),
        (
          select jsonb_object_agg(flag, true)
          from unnest(add_job.flags) as item(flag)
        )
      from "rowmill_worker"._private_tasks as tasks
      left join "rowmill_worker"._private_job_queues as job_queues
      on job_queues.queue_name = add_job.queue_name
      where tasks.identifier = add_job.identifier
    on conflict (key)
      -- Bump the updated_at so that there's something to return
      do update set
        revision = jobs.revision + 1,
        updated_at = now()
      returning *
      into v_job;
    if v_job.revision = 0 then
      perform pg_notify('jobs:insert', '{"r":' || random()::text || ',"count":1}');
    end if;
    return v_job;
  else
    raise exception 'Invalid job_key_mode value, expected ''replace'', ''preserve_run_at'' or ''unsafe_dedupe''.' using errcode = 'GWBKM';
  end if;
end;
$$;
CREATE FUNCTION rowmill_worker.add_jobs(specs rowmill_worker.job_spec[], job_key_preserve_run_at boolean DEFAULT false) RETURNS SETOF rowmill_worker._private_jobs
    LANGUAGE plpgsql
    AS $$
begin
  -- Ensure all the tasks exist
  insert into "rowmill_worker"._private_tasks as tasks (identifier)
  select distinct spec.identifier
  from unnest(specs) spec
  on conflict do nothing;
  -- Ensure all the queues exist
  insert into "rowmill_worker"._private_job_queues as job_queues (queue_name)
  select distinct spec.queue_name
  from unnest(specs) spec
  where spec.queue_name is not null
  on conflict do nothing;
  -- Ensure any locked jobs have their key cleared - in the case of locked
  -- existing job create a new job instead as it must have already started
  -- executing (i.e. it's world state is out of date, and the fact add_job
  -- has been called again implies there's new information that needs to be
  -- acted upon).
  update "rowmill_worker"._private_jobs as jobs
  set
    key = null,
    attempts = jobs.max_attempts,
    updated_at = now()
  from unnest(specs) spec
  where spec.job_key is not null
  and jobs.key = spec.job_key
  and is_available is not true;
  -- WARNING: this count is not 100% accurate; 'on conflict' clause will cause it to be an overestimate
  perform pg_notify('jobs:insert', '{"r":' || random()::text || ',"count":' || array_length(specs, 1)::text || '}');
  -- TODO: is there a risk that a conflict could occur depending on the
  -- isolation level?
  return query insert into "rowmill_worker"._private_jobs as jobs (
    job_queue_id,
    task_id,
    payload,
    run_at,
    max_attempts,
    key,
    priority,
    flags
  )
    select
      job_queues.id,
      tasks.id,
      coalesce(spec.payload, '{}'::json),
      coalesce(spec.run_at, now()),
      coalesce(spec.max_attempts, 25),
      spec.job_key,
      coalesce(spec.priority, 0),
      (
        select jsonb_object_agg(flag, true)
        from unnest(spec.flags) as item(flag)
      )
    from unnest(specs) spec
    inner join "rowmill_worker"._private_tasks as tasks
    on tasks.identifier = spec.identifier
    left join "rowmill_worker"._private_job_queues as job_queues
    on job_queues.queue_name = spec.queue_name
  on conflict (key) do update set
    job_queue_id = excluded.job_queue_id,
    task_id = excluded.task_id,
    payload =
      case
      when json_typeof(jobs.payload) = 'array' and json_typeof(excluded.payload) = 'array' then
        (jobs.payload::jsonb || excluded.payload::jsonb)::json
      else
        excluded.payload
      end,
    max_attempts = excluded.max_attempts,
    run_at = (case
      when job_key_preserve_run_at is true and jobs.attempts = 0 then jobs.run_at
      else excluded.run_at
    end),
    priority = excluded.priority,
    revision = jobs.revision + 1,
    flags = excluded.flags,
    -- always reset error/retry state
    attempts = 0,
    last_error = null,
    updated_at = now()
  where jobs.locked_at is null
  returning *;
end;
$$;
CREATE FUNCTION rowmill_worker.complete_jobs(job_ids bigint[]) RETURNS SETOF rowmill_worker._private_jobs
    LANGUAGE sql
    AS $$
  delete from "rowmill_worker"._private_jobs as jobs
    where id = any(job_ids)
    and (
      locked_at is null
    or
      locked_at < now() - interval '4 hours'
    )
    returning *;
$$;
CREATE FUNCTION rowmill_worker.force_unlock_workers(worker_ids text[]) RETURNS void
    LANGUAGE sql
    AS $$
update "rowmill_worker"._private_jobs as jobs
set locked_at = null, locked_by = null
where locked_by = any(worker_ids);
update "rowmill_worker"._private_job_queues as job_queues
set locked_at = null, locked_by = null
where locked_by = any(worker_ids);
$$;
CREATE FUNCTION rowmill_worker.permanently_fail_jobs(job_ids bigint[], error_message text DEFAULT NULL::text) RETURNS SETOF rowmill_worker._private_jobs
    LANGUAGE sql
    AS $$
  update "rowmill_worker"._private_jobs as jobs
    set
      last_error = coalesce(error_message, 'Manually marked as failed'),
      attempts = max_attempts,
      updated_at = now()
    where id = any(job_ids)
    and (
      locked_at is null
    or
      locked_at < NOW() - interval '4 hours'
    )
    returning *;
$$;
CREATE FUNCTION rowmill_worker.remove_job(job_key text) RETURNS rowmill_worker._private_jobs
    LANGUAGE plpgsql STRICT
    AS $$
declare
  v_job "rowmill_worker"._private_jobs;
begin
  -- Delete job if not locked
  delete from "rowmill_worker"._private_jobs as jobs
    where key = job_key
    and (
      locked_at is null
    or
      locked_at < NOW() - interval '4 hours'
    )
  returning * into v_job;
  if not (v_job is null) then
    perform pg_notify('jobs:insert', '{"r":' || random()::text || ',"count":-1}');
    return v_job;
  end if;
  -- Otherwise prevent job from retrying, and clear the key
  update "rowmill_worker"._private_jobs as jobs
  set
    key = null,
    attempts = jobs.max_attempts,
    updated_at = now()
  where key = job_key
  returning * into v_job;
  return v_job;
end;
$$;
CREATE FUNCTION rowmill_worker.reschedule_jobs(job_ids bigint[], run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, priority integer DEFAULT NULL::integer, attempts integer DEFAULT NULL::integer, max_attempts integer DEFAULT NULL::integer) RETURNS SETOF rowmill_worker._private_jobs
    LANGUAGE sql
    AS $$
  update "rowmill_worker"._private_jobs as jobs
    set
      run_at = coalesce(reschedule_jobs.run_at, jobs.run_at),
      priority = coalesce(reschedule_jobs.priority::smallint, jobs.priority),
      attempts = coalesce(reschedule_jobs.attempts::smallint, jobs.attempts),
      max_attempts = coalesce(reschedule_jobs.max_attempts::smallint, jobs.max_attempts),
      updated_at = now()
    where id = any(job_ids)
    and (
      locked_at is null
    or
      locked_at < NOW() - interval '4 hours'
    )
    returning *;
$$;
CREATE TABLE public.note_answers (
    id bigint NOT NULL,
    categories text[],
    rowmill_at timestamp with time zone NOT NULL,
    rowmill_model text NOT NULL
);
CREATE TABLE public.notes (
    id bigint NOT NULL,
    body text
);
CREATE TABLE rowmill.arrivals (
    pipeline_id integer NOT NULL,
    keys text[],
    arrived_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='1000');
CREATE TABLE rowmill.attempts (
    request_id bigint NOT NULL,
    attempt integer NOT NULL,
    batch_id uuid NOT NULL,
    ending text NOT NULL,
    outcome text NOT NULL,
    detail text,
    answer text,
    model text,
    input_tokens integer DEFAULT 0 NOT NULL,
    cached_input_tokens integer DEFAULT 0 NOT NULL,
    output_tokens integer DEFAULT 0 NOT NULL,
    cost_nano_usd bigint,
    at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT attempts_ending_check CHECK ((ending = ANY (ARRAY['succeeded'::text, 'failed'::text, 'returned'::text])))
);
CREATE TABLE rowmill.batch_events (
    id bigint NOT NULL,
    batch_id uuid NOT NULL,
    from_state text,
    to_state text NOT NULL,
    reason text NOT NULL,
    detail jsonb,
    at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE rowmill.batch_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.batch_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.batches (
    id uuid NOT NULL,
    pipeline_id integer NOT NULL,
    state text NOT NULL,
    definition_hash text NOT NULL,
    provider text NOT NULL,
    account text NOT NULL,
    model text NOT NULL,
    endpoint text NOT NULL,
    requests integer NOT NULL,
    lines integer,
    spool_bytes bigint,
    spool_sha256 text,
    reserved_nano_usd bigint DEFAULT 0 NOT NULL,
    reserved_tokens bigint DEFAULT 0 NOT NULL,
    run_id uuid,
    input_file_id text,
    create_intent_at timestamp with time zone,
    creates integer DEFAULT 0 NOT NULL,
    provider_batch_id text,
    provider_status text,
    provider_counts jsonb,
    provider_errors jsonb,
    output_file_id text,
    error_file_id text,
    downloads integer DEFAULT 0 NOT NULL,
    files_deleted_at timestamp with time zone,
    lease_token uuid,
    lease_until timestamp with time zone,
    lease_worker text,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    polls integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    planned_at timestamp with time zone DEFAULT now() NOT NULL,
    submitted_at timestamp with time zone,
    provider_done_at timestamp with time zone,
    settled_at timestamp with time zone,
    CONSTRAINT batches_requests_check CHECK ((requests > 0)),
    CONSTRAINT batches_reserved_nano_usd_check CHECK ((reserved_nano_usd >= 0)),
    CONSTRAINT batches_reserved_tokens_check CHECK ((reserved_tokens >= 0)),
    CONSTRAINT batches_state_check CHECK ((state = ANY (ARRAY['planned'::text, 'uploading'::text, 'submitting'::text, 'running'::text, 'collecting'::text, 'settled'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT collecting_is_done CHECK (((state <> 'collecting'::text) OR (provider_done_at IS NOT NULL))),
    CONSTRAINT ended_has_time CHECK (((state = ANY (ARRAY['settled'::text, 'rejected'::text, 'cancelled'::text])) = (settled_at IS NOT NULL))),
    CONSTRAINT ended_reserves_nothing CHECK (((settled_at IS NULL) OR ((reserved_nano_usd = 0) AND (reserved_tokens = 0)))),
    CONSTRAINT lease_is_whole CHECK (((lease_token IS NULL) = (lease_until IS NULL))),
    CONSTRAINT running_has_provider_batch CHECK (((state <> ALL (ARRAY['running'::text, 'collecting'::text])) OR ((provider_batch_id IS NOT NULL) AND (submitted_at IS NOT NULL)))),
    CONSTRAINT submitting_has_file CHECK (((state <> 'submitting'::text) OR (input_file_id IS NOT NULL))),
    CONSTRAINT uploading_has_spool CHECK (((state = ANY (ARRAY['planned'::text, 'settled'::text, 'rejected'::text, 'cancelled'::text])) OR ((lines > 0) AND (spool_sha256 IS NOT NULL) AND (spool_bytes > 0))))
)
WITH (fillfactor='70');
CREATE TABLE rowmill.deployment (
    one boolean DEFAULT true NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    system_identifier text NOT NULL,
    database_name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT deployment_one_check CHECK (one)
);
CREATE TABLE rowmill.in_flight (
    request_id bigint NOT NULL,
    batch_id uuid NOT NULL,
    attempt integer NOT NULL,
    content_hash text,
    fingerprint text,
    line integer
)
WITH (fillfactor='35');
CREATE TABLE rowmill.learned_limits (
    account text NOT NULL,
    model text NOT NULL,
    enqueued_tokens bigint,
    input_bytes bigint,
    message text NOT NULL,
    learned_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT learned_limits_enqueued_tokens_check CHECK ((enqueued_tokens > 0)),
    CONSTRAINT learned_limits_input_bytes_check CHECK ((input_bytes > 0))
);
CREATE TABLE rowmill.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE rowmill.pipeline_events (
    id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    event text NOT NULL,
    reason text,
    detail jsonb,
    at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE rowmill.pipeline_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.pipeline_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.pipelines (
    id integer NOT NULL,
    name text NOT NULL,
    definition jsonb NOT NULL,
    definition_hash text NOT NULL,
    approved_hash text,
    estimate jsonb,
    line_tokens_max bigint DEFAULT 0 NOT NULL,
    line_nano_usd_max bigint DEFAULT 0 NOT NULL,
    source_table text NOT NULL,
    source_oid oid NOT NULL,
    source_signature text,
    installed_snapshot pg_snapshot,
    target_table text NOT NULL,
    pause_kind text,
    pause_reason text,
    paused_at timestamp with time zone,
    flush_at timestamp with time zone,
    uninstalled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pause_has_reason CHECK ((((pause_kind IS NULL) = (pause_reason IS NULL)) AND ((pause_kind IS NULL) = (paused_at IS NULL)))),
    CONSTRAINT pipelines_pause_kind_check CHECK ((pause_kind = ANY (ARRAY['person'::text, 'budget'::text, 'account'::text, 'provider'::text, 'source'::text, 'target'::text, 'deployment'::text])))
);
ALTER TABLE rowmill.pipelines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.pipelines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.refused_keys (
    pipeline_id integer NOT NULL,
    key_sha256 text NOT NULL,
    key_prefix text NOT NULL,
    reason text NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE rowmill.requests (
    id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    key text NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    gone_from text,
    content_hash text,
    answered_hash text,
    fingerprint text,
    answered_fingerprint text,
    attempt integer DEFAULT 0 NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    returns integer DEFAULT 0 NOT NULL,
    error_code text,
    error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT failed_has_error CHECK (((state <> 'failed'::text) OR (error_code IS NOT NULL))),
    CONSTRAINT gone_remembers CHECK (((state = 'gone'::text) = (gone_from IS NOT NULL))),
    CONSTRAINT requests_gone_from_check CHECK ((gone_from = ANY (ARRAY['waiting'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT requests_key_check CHECK (((octet_length(key) >= 1) AND (octet_length(key) <= 1024))),
    CONSTRAINT requests_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'batched'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text, 'gone'::text]))),
    CONSTRAINT succeeded_has_answer CHECK (((state <> 'succeeded'::text) OR ((answered_hash IS NOT NULL) AND (answered_hash = content_hash))))
)
WITH (fillfactor='50');
ALTER TABLE rowmill.requests ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.requests_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.stray_batches (
    account text NOT NULL,
    provider_batch_id text NOT NULL,
    batch_id uuid,
    reason text NOT NULL,
    reserved_nano_usd bigint DEFAULT 0 NOT NULL,
    found_at timestamp with time zone DEFAULT now() NOT NULL,
    cancelled_at timestamp with time zone
);
CREATE TABLE rowmill.sweeps (
    pipeline_id integer NOT NULL,
    wanted_at timestamp with time zone,
    wanted_reason text,
    phase text DEFAULT 'idle'::text NOT NULL,
    cursor jsonb,
    definition_hash text,
    swept_hash text,
    rows_seen bigint DEFAULT 0 NOT NULL,
    keys_found bigint DEFAULT 0 NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT running_has_start CHECK (((phase = 'idle'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT sweeps_phase_check CHECK ((phase = ANY (ARRAY['idle'::text, 'source'::text, 'definition'::text, 'ledger'::text])))
);
CREATE TABLE rowmill.waiting (
    request_id bigint NOT NULL,
    pipeline_id integer NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    not_before timestamp with time zone DEFAULT now() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='1000');
CREATE TABLE rowmill.workers (
    id uuid NOT NULL,
    pool_id text,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE rowmill_worker._private_job_queues (
    id integer NOT NULL,
    queue_name text NOT NULL,
    locked_at timestamp with time zone,
    locked_by text,
    is_available boolean GENERATED ALWAYS AS ((locked_at IS NULL)) STORED NOT NULL,
    CONSTRAINT job_queues_queue_name_check CHECK ((length(queue_name) <= 128))
);
CREATE TABLE rowmill_worker._private_known_crontabs (
    identifier text NOT NULL,
    known_since timestamp with time zone NOT NULL,
    last_execution timestamp with time zone
);
CREATE TABLE rowmill_worker._private_tasks (
    id integer NOT NULL,
    identifier text NOT NULL,
    CONSTRAINT tasks_identifier_check CHECK ((length(identifier) <= 128))
);
ALTER TABLE rowmill_worker._private_job_queues ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill_worker.job_queues_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE VIEW rowmill_worker.jobs AS
 SELECT jobs.id,
    job_queues.queue_name,
    tasks.identifier AS task_identifier,
    jobs.priority,
    jobs.run_at,
    jobs.attempts,
    jobs.max_attempts,
    jobs.last_error,
    jobs.created_at,
    jobs.updated_at,
    jobs.key,
    jobs.locked_at,
    jobs.locked_by,
    jobs.revision,
    jobs.flags
   FROM ((rowmill_worker._private_jobs jobs
     JOIN rowmill_worker._private_tasks tasks ON ((tasks.id = jobs.task_id)))
     LEFT JOIN rowmill_worker._private_job_queues job_queues ON ((job_queues.id = jobs.job_queue_id)));
ALTER TABLE rowmill_worker._private_jobs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill_worker.jobs_id_seq1
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill_worker.migrations (
    id integer NOT NULL,
    ts timestamp with time zone DEFAULT now() NOT NULL,
    breaking boolean DEFAULT false NOT NULL
);
ALTER TABLE rowmill_worker._private_tasks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill_worker.tasks_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO public.note_answers VALUES (1, '{war}', '2026-11-23 02:38:47.905687+00', 'gpt-4o-mini');
INSERT INTO public.note_answers VALUES (2, '{romance}', '2026-11-23 02:38:47.905687+00', 'gpt-4o-mini');
INSERT INTO public.note_answers VALUES (5, '{drama}', '2026-11-23 02:38:47.905687+00', 'gpt-4o-mini');
INSERT INTO public.note_answers VALUES (3, '{drama}', '2026-11-23 02:38:49.452489+00', 'gpt-4o-mini');
INSERT INTO public.notes VALUES (1, 'A war film.');
INSERT INTO public.notes VALUES (2, 'A love story.');
INSERT INTO public.notes VALUES (3, 'Odd at first. [[demo:mismatch-once]]');
INSERT INTO public.notes VALUES (4, 'Never. [[demo:error 400]]');
INSERT INTO public.notes VALUES (6, 'A comedy.');
INSERT INTO public.notes VALUES (7, 'A ghost story.');
INSERT INTO public.notes VALUES (8, 'A western.');
INSERT INTO public.notes VALUES (9, 'A fairy tale.');
INSERT INTO rowmill.attempts VALUES (3, 1, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'returned', 'invalid', 'categories: Invalid input: expected array, received undefined', '{"unexpected":[1,"two",null]}', 'gpt-4o-mini', 13, 0, 8, 3375, '2026-11-23 02:38:47.905687+00');
INSERT INTO rowmill.attempts VALUES (1, 1, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'succeeded', 'answered', NULL, NULL, 'gpt-4o-mini', 7, 0, 6, 2325, '2026-11-23 02:38:47.905687+00');
INSERT INTO rowmill.attempts VALUES (2, 1, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'succeeded', 'answered', NULL, NULL, 'gpt-4o-mini', 8, 0, 7, 2700, '2026-11-23 02:38:47.905687+00');
INSERT INTO rowmill.attempts VALUES (5, 1, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'succeeded', 'answered', NULL, NULL, 'gpt-4o-mini', 7, 0, 6, 2325, '2026-11-23 02:38:47.905687+00');
INSERT INTO rowmill.attempts VALUES (4, 1, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'failed', 'permanent', 'The message asked for this error (400).', NULL, NULL, 0, 0, 0, 0, '2026-11-23 02:38:47.941665+00');
INSERT INTO rowmill.attempts VALUES (3, 2, 'a43a8f99-014b-4d0e-811e-fc36a7af64f7', 'succeeded', 'answered', NULL, NULL, 'gpt-4o-mini', 13, 0, 6, 2775, '2026-11-23 02:38:49.452489+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (1, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', NULL, 'planned', 'flush', NULL, '2026-11-23 02:38:46.625861+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (2, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'planned', 'uploading', '5 lines, 2190 bytes', NULL, '2026-11-23 02:38:46.683021+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (3, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'uploading', 'submitting', 'the input file was uploaded', NULL, '2026-11-23 02:38:46.807035+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (4, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'submitting', 'running', 'the provider took it', NULL, '2026-11-23 02:38:46.836987+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (5, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'running', 'collecting', 'the provider says completed', NULL, '2026-11-23 02:38:47.873193+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (6, 'fe644b85-96f4-4935-bc45-c163dd8c4ff6', 'collecting', 'settled', 'every request was named in the files', '{"lines": 5, "missing": 0, "unknown": 0}', '2026-11-23 02:38:47.951863+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (7, 'a43a8f99-014b-4d0e-811e-fc36a7af64f7', NULL, 'planned', 'flush', NULL, '2026-11-23 02:38:48.168036+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (8, 'a43a8f99-014b-4d0e-811e-fc36a7af64f7', 'planned', 'uploading', '1 lines, 455 bytes', NULL, '2026-11-23 02:38:48.200828+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (9, 'a43a8f99-014b-4d0e-811e-fc36a7af64f7', 'uploading', 'submitting', 'the input file was uploaded', NULL, '2026-11-23 02:38:48.225647+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (10, 'a43a8f99-014b-4d0e-811e-fc36a7af64f7', 'submitting', 'running', 'the provider took it', NULL, '2026-11-23 02:38:48.24094+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (11, 'a43a8f99-014b-4d0e-811e-fc36a7af64f7', 'running', 'collecting', 'the provider says completed', NULL, '2026-11-23 02:38:49.438523+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (12, 'a43a8f99-014b-4d0e-811e-fc36a7af64f7', 'collecting', 'settled', 'every request was named in the files', '{"lines": 1, "missing": 0, "unknown": 0}', '2026-11-23 02:38:49.464251+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (13, '1b650bc9-a378-4cfd-8988-97242a92e58f', NULL, 'planned', 'threshold', NULL, '2026-11-23 02:38:51.704554+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (14, '1b650bc9-a378-4cfd-8988-97242a92e58f', 'planned', 'uploading', '2 lines, 861 bytes', NULL, '2026-11-23 02:38:51.741501+00');
INSERT INTO rowmill.batches VALUES ('a43a8f99-014b-4d0e-811e-fc36a7af64f7', 1, 'settled', '913e1ffc9e0c7db32936fadcf3a61a23', 'openai', 'http://127.0.0.1:40173/v1||', 'gpt-4o-mini', '/v1/chat/completions', 1, 1, 455, 'd9bdb26cf38775484e878445c94bd56a10bff61caf804abe6e40228d525d8aa5', 0, 0, '2b9b8025-9559-4e32-aff3-15803400dd22', 'file-bb52f6994c5985dc66177b420c256a85', NULL, 1, 'batch_1301076073cdf05b56858d1e5d4de699', 'completed', '{"total": 1, "failed": 0, "completed": 1}', NULL, 'file-4ada439454ea3d71060d18b0b92f443f', NULL, 0, NULL, '9fca1b12-b827-4b42-aaa2-e234a0876ba8', '2026-11-23 02:39:09.408941+00', 'c3753e69-8c1c-4f3f-9c12-9df97e12b9b5', '2026-11-23 02:38:49.305288+00', 0, 0, '2026-11-23 02:38:48.168036+00', '2026-11-23 02:38:48.24094+00', '2026-11-23 02:38:49.438523+00', '2026-11-23 02:38:49.464251+00');
INSERT INTO rowmill.batches VALUES ('fe644b85-96f4-4935-bc45-c163dd8c4ff6', 1, 'settled', '913e1ffc9e0c7db32936fadcf3a61a23', 'openai', 'http://127.0.0.1:40173/v1||', 'gpt-4o-mini', '/v1/chat/completions', 5, 5, 2190, 'd86543ffcc3e08999e73d0b7dd2b9a1aafae41218c714808a45ac411584a4b88', 0, 0, '2b9b8025-9559-4e32-aff3-15803400dd22', 'file-9c0b61c0442b0d45f6dcf8002ddff56c', NULL, 1, 'batch_96fa078548bc99109736795dbfd40730', 'completed', '{"total": 5, "failed": 1, "completed": 4}', NULL, 'file-4f7ec20c0583dd25cff1cb45f77b3240', 'file-2486961b8e7cdc2e3b0b0fc8f4efd7df', 0, NULL, 'e6c89055-3f9d-4277-bc53-8c838ca4ecd8', '2026-11-23 02:39:07.856877+00', 'c3753e69-8c1c-4f3f-9c12-9df97e12b9b5', '2026-11-23 02:38:47.819409+00', 0, 0, '2026-11-23 02:38:46.625861+00', '2026-11-23 02:38:46.836987+00', '2026-11-23 02:38:47.873193+00', '2026-11-23 02:38:47.951863+00');
INSERT INTO rowmill.batches VALUES ('1b650bc9-a378-4cfd-8988-97242a92e58f', 1, 'uploading', '913e1ffc9e0c7db32936fadcf3a61a23', 'openai', 'http://127.0.0.1:40173/v1||', 'gpt-4o-mini', '/v1/chat/completions', 2, 2, 861, '27705eabc91c07c0e0b2c3a2c36fa30cb4069bd788c71331e386b80673395d8b', 74325, 191, 'aa36ee91-714c-4363-989a-9bd2ae303ce9', NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, '2026-11-23 02:39:07.90473+00', 0, 2, '2026-11-23 02:38:51.704554+00', NULL, NULL, NULL);
INSERT INTO rowmill.deployment VALUES (true, '92b70a91-13fe-481f-b32d-543cf80866b3', '7711190820515882468', 'postgres', '2026-11-23 02:38:45.696197+00');
INSERT INTO rowmill.in_flight VALUES (6, '1b650bc9-a378-4cfd-8988-97242a92e58f', 1, 'faee8ed819b901db0ff2e65f69d7006e', '0a6c682a40e36ae130394314371d44c0', 1);
INSERT INTO rowmill.in_flight VALUES (7, '1b650bc9-a378-4cfd-8988-97242a92e58f', 1, '144479e04ad122e372830bb71d2d88fb', 'c3e15159f6191e32f9d0f8fd7e4a8245', 2);
INSERT INTO rowmill.migrations VALUES (1, '0001_ledger.sql', '0ebc8330c026b8d0c9190da74e32f20ee042113311aa68f0ea47217bb7123650', '2026-11-23 02:38:45.696197+00');
INSERT INTO rowmill.pipeline_events OVERRIDING SYSTEM VALUE VALUES (1, 1, 'created', NULL, NULL, '2026-11-23 02:38:45.969067+00');
INSERT INTO rowmill.pipeline_events OVERRIDING SYSTEM VALUE VALUES (2, 1, 'approved', 'its estimate is not above approveAboveUsd', NULL, '2026-11-23 02:38:46.522003+00');
INSERT INTO rowmill.pipelines OVERRIDING SYSTEM VALUE VALUES (1, 'notes', '{"user": "{{ body }}", "when": {"rows": 1000, "maxWaitMs": 86400000}, "limit": null, "model": "gpt-4o-mini", "answer": {"type": "object", "required": ["categories"], "properties": {"categories": {"type": "array", "items": {"type": "string"}}}, "additionalProperties": false}, "budget": null, "source": {"key": ["id"], "table": "notes", "where": null, "columns": ["body"]}, "system": null, "target": "note_answers", "parameters": {}, "maxOutputTokens": 100}', '913e1ffc9e0c7db32936fadcf3a61a23', '913e1ffc9e0c7db32936fadcf3a61a23', '{"rows": 5, "inputTokens": 270, "liveNanoUsd": 340500, "batchNanoUsd": 170250, "outputTokens": 500}', 0, 0, '"public"."notes"', 16384, '726121848554e9b8e08f742923e8813e', '762:762:', 'note_answers', NULL, NULL, NULL, NULL, NULL, '2026-11-23 02:38:45.969067+00');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (1, 1, '1', 'succeeded', NULL, 'dfaa114fe7bb1977b27c4a151c8d55b3', 'dfaa114fe7bb1977b27c4a151c8d55b3', '64cc04b70147dac35cbb43d642fec6b5', '64cc04b70147dac35cbb43d642fec6b5', 1, 0, 0, NULL, NULL, '2026-11-23 02:38:46.008708+00', '2026-11-23 02:38:47.905687+00');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (2, 1, '2', 'succeeded', NULL, 'daf856fae87a2db1e811f50dce213658', 'daf856fae87a2db1e811f50dce213658', 'a68c36ba45a2881a13c1af619a9994b2', 'a68c36ba45a2881a13c1af619a9994b2', 1, 0, 0, NULL, NULL, '2026-11-23 02:38:46.008708+00', '2026-11-23 02:38:47.905687+00');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (4, 1, '4', 'failed', NULL, 'b39df82f1bc869514f57ea40ecdbdc06', NULL, 'dd88d122046ed0e0f8cc629f2b97345a', NULL, 1, 0, 0, 'permanent', 'The message asked for this error (400).', '2026-11-23 02:38:46.008708+00', '2026-11-23 02:38:47.941665+00');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (3, 1, '3', 'succeeded', NULL, '35d0c30aba9b37713baf9e6fc7538847', '35d0c30aba9b37713baf9e6fc7538847', '244fb51f2c2153dca9ef4f76a61946c2', '244fb51f2c2153dca9ef4f76a61946c2', 2, 1, 0, NULL, NULL, '2026-11-23 02:38:46.008708+00', '2026-11-23 02:38:49.452489+00');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (5, 1, '5', 'gone', 'succeeded', 'c9544ffa65527e56d3a4bd996f305b3d', 'c9544ffa65527e56d3a4bd996f305b3d', 'a2e99a2ec99f8e48fec29c496b7b84c9', 'a2e99a2ec99f8e48fec29c496b7b84c9', 1, 0, 0, NULL, NULL, '2026-11-23 02:38:46.008708+00', '2026-11-23 02:38:51.309432+00');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (6, 1, '6', 'batched', NULL, 'faee8ed819b901db0ff2e65f69d7006e', NULL, NULL, NULL, 1, 0, 0, NULL, NULL, '2026-11-23 02:38:51.309432+00', '2026-11-23 02:38:51.704554+00');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (7, 1, '7', 'batched', NULL, '144479e04ad122e372830bb71d2d88fb', NULL, NULL, NULL, 1, 0, 0, NULL, NULL, '2026-11-23 02:38:51.309432+00', '2026-11-23 02:38:51.704554+00');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (8, 1, '8', 'waiting', NULL, 'cac6df9e32a2c8ec08f090cbd86c6c48', NULL, NULL, NULL, 0, 0, 0, NULL, NULL, '2026-11-23 02:39:03.785973+00', '2026-11-23 02:39:03.785973+00');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (9, 1, '9', 'waiting', NULL, 'c1740903898e7deb1f82f1ecafb3d695', NULL, NULL, NULL, 0, 0, 0, NULL, NULL, '2026-11-23 02:39:03.785973+00', '2026-11-23 02:39:03.785973+00');
INSERT INTO rowmill.sweeps VALUES (1, NULL, NULL, 'idle', NULL, '913e1ffc9e0c7db32936fadcf3a61a23', '913e1ffc9e0c7db32936fadcf3a61a23', 5, 5, '2026-11-23 02:38:46.003172+00', '2026-11-23 02:38:46.037652+00');
INSERT INTO rowmill.waiting VALUES (8, 1, '2026-11-23 02:39:03.785973+00', '2026-11-23 02:39:03.785973+00');
INSERT INTO rowmill.waiting VALUES (9, 1, '2026-11-23 02:39:03.785973+00', '2026-11-23 02:39:03.785973+00');
INSERT INTO rowmill_worker._private_job_queues OVERRIDING SYSTEM VALUE VALUES (1, 'batch:fe644b85-96f4-4935-bc45-c163dd8c4ff6', NULL, NULL, DEFAULT);
INSERT INTO rowmill_worker._private_job_queues OVERRIDING SYSTEM VALUE VALUES (5, 'batch:a43a8f99-014b-4d0e-811e-fc36a7af64f7', NULL, NULL, DEFAULT);
INSERT INTO rowmill_worker._private_job_queues OVERRIDING SYSTEM VALUE VALUES (9, 'batch:1b650bc9-a378-4cfd-8988-97242a92e58f', NULL, NULL, DEFAULT);
INSERT INTO rowmill_worker._private_jobs OVERRIDING SYSTEM VALUE VALUES (9, 9, 1, '{"batchId" : "1b650bc9-a378-4cfd-8988-97242a92e58f"}', 0, '2026-11-23 02:39:07.906548+00', 0, 25, NULL, '2026-11-23 02:38:51.704554+00', '2026-11-23 02:39:07.542492+00', 'batch:1b650bc9-a378-4cfd-8988-97242a92e58f', NULL, NULL, 2, NULL, DEFAULT);
INSERT INTO rowmill_worker._private_tasks OVERRIDING SYSTEM VALUE VALUES (1, 'batch');
INSERT INTO rowmill_worker.migrations VALUES (1, '2026-11-23 02:38:45.809529+00', true);
INSERT INTO rowmill_worker.migrations VALUES (2, '2026-11-23 02:38:45.82776+00', false);
INSERT INTO rowmill_worker.migrations VALUES (3, '2026-11-23 02:38:45.835947+00', true);
INSERT INTO rowmill_worker.migrations VALUES (4, '2026-11-23 02:38:45.844583+00', false);
INSERT INTO rowmill_worker.migrations VALUES (5, '2026-11-23 02:38:45.849831+00', false);
INSERT INTO rowmill_worker.migrations VALUES (6, '2026-11-23 02:38:45.854696+00', false);
INSERT INTO rowmill_worker.migrations VALUES (7, '2026-11-23 02:38:45.858974+00', false);
INSERT INTO rowmill_worker.migrations VALUES (8, '2026-11-23 02:38:45.863157+00', false);
INSERT INTO rowmill_worker.migrations VALUES (9, '2026-11-23 02:38:45.869123+00', false);
INSERT INTO rowmill_worker.migrations VALUES (10, '2026-11-23 02:38:45.871758+00', false);
INSERT INTO rowmill_worker.migrations VALUES (11, '2026-11-23 02:38:45.873459+00', true);
INSERT INTO rowmill_worker.migrations VALUES (12, '2026-11-23 02:38:45.902612+00', false);
INSERT INTO rowmill_worker.migrations VALUES (13, '2026-11-23 02:38:45.90493+00', true);
INSERT INTO rowmill_worker.migrations VALUES (14, '2026-11-23 02:38:45.907859+00', true);
INSERT INTO rowmill_worker.migrations VALUES (15, '2026-11-23 02:38:45.910314+00', false);
INSERT INTO rowmill_worker.migrations VALUES (16, '2026-11-23 02:38:45.911873+00', true);
INSERT INTO rowmill_worker.migrations VALUES (17, '2026-11-23 02:38:45.917042+00', false);
INSERT INTO rowmill_worker.migrations VALUES (18, '2026-11-23 02:38:45.921793+00', false);
INSERT INTO rowmill_worker.migrations VALUES (19, '2026-11-23 02:38:45.92602+00', true);
SELECT pg_catalog.setval('rowmill.batch_events_id_seq', 14, true);
SELECT pg_catalog.setval('rowmill.pipeline_events_id_seq', 2, true);
SELECT pg_catalog.setval('rowmill.pipelines_id_seq', 3, true);
SELECT pg_catalog.setval('rowmill.requests_id_seq', 9, true);
SELECT pg_catalog.setval('rowmill_worker.job_queues_id_seq', 11, true);
SELECT pg_catalog.setval('rowmill_worker.jobs_id_seq1', 11, true);
SELECT pg_catalog.setval('rowmill_worker.tasks_id_seq', 12, true);
ALTER TABLE ONLY public.note_answers
    ADD CONSTRAINT note_answers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.notes
    ADD CONSTRAINT notes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (request_id, attempt);
ALTER TABLE ONLY rowmill.batch_events
    ADD CONSTRAINT batch_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.batches
    ADD CONSTRAINT batches_account_provider_batch_id_key UNIQUE (account, provider_batch_id);
ALTER TABLE ONLY rowmill.batches
    ADD CONSTRAINT batches_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.deployment
    ADD CONSTRAINT deployment_pkey PRIMARY KEY (one);
ALTER TABLE ONLY rowmill.in_flight
    ADD CONSTRAINT in_flight_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY rowmill.learned_limits
    ADD CONSTRAINT learned_limits_pkey PRIMARY KEY (account, model);
ALTER TABLE ONLY rowmill.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY rowmill.pipeline_events
    ADD CONSTRAINT pipeline_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.pipelines
    ADD CONSTRAINT pipelines_name_key UNIQUE (name);
ALTER TABLE ONLY rowmill.pipelines
    ADD CONSTRAINT pipelines_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.refused_keys
    ADD CONSTRAINT refused_keys_pkey PRIMARY KEY (pipeline_id, key_sha256);
ALTER TABLE ONLY rowmill.requests
    ADD CONSTRAINT requests_pipeline_id_key_key UNIQUE (pipeline_id, key);
ALTER TABLE ONLY rowmill.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.stray_batches
    ADD CONSTRAINT stray_batches_pkey PRIMARY KEY (account, provider_batch_id);
ALTER TABLE ONLY rowmill.sweeps
    ADD CONSTRAINT sweeps_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY rowmill.waiting
    ADD CONSTRAINT waiting_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY rowmill.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill_worker._private_job_queues
    ADD CONSTRAINT job_queues_pkey1 PRIMARY KEY (id);
ALTER TABLE ONLY rowmill_worker._private_job_queues
    ADD CONSTRAINT job_queues_queue_name_key UNIQUE (queue_name);
ALTER TABLE ONLY rowmill_worker._private_jobs
    ADD CONSTRAINT jobs_key_key1 UNIQUE (key);
ALTER TABLE ONLY rowmill_worker._private_jobs
    ADD CONSTRAINT jobs_pkey1 PRIMARY KEY (id);
ALTER TABLE ONLY rowmill_worker._private_known_crontabs
    ADD CONSTRAINT known_crontabs_pkey PRIMARY KEY (identifier);
ALTER TABLE ONLY rowmill_worker.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill_worker._private_tasks
    ADD CONSTRAINT tasks_identifier_key UNIQUE (identifier);
ALTER TABLE ONLY rowmill_worker._private_tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id);
CREATE INDEX attempts_by_batch ON rowmill.attempts USING btree (batch_id);
CREATE INDEX attempts_with_answer ON rowmill.attempts USING btree (at) WHERE (answer IS NOT NULL);
CREATE INDEX batch_events_by_batch ON rowmill.batch_events USING btree (batch_id, id);
CREATE INDEX batches_unfinished ON rowmill.batches USING btree (pipeline_id) WHERE (settled_at IS NULL);
CREATE INDEX in_flight_by_batch ON rowmill.in_flight USING btree (batch_id, request_id);
CREATE INDEX waiting_by_turn ON rowmill.waiting USING btree (pipeline_id, not_before, request_id);
CREATE INDEX jobs_main_index ON rowmill_worker._private_jobs USING btree (priority, run_at) INCLUDE (id, task_id, job_queue_id) WHERE (is_available = true);
CREATE INDEX jobs_no_queue_index ON rowmill_worker._private_jobs USING btree (priority, run_at) INCLUDE (id, task_id) WHERE ((is_available = true) AND (job_queue_id IS NULL));
CREATE TRIGGER rowmill_1_delete AFTER DELETE ON public.notes REFERENCING OLD TABLE AS rowmill_old FOR EACH STATEMENT EXECUTE FUNCTION rowmill.arrive_1();
CREATE TRIGGER rowmill_1_insert AFTER INSERT ON public.notes REFERENCING NEW TABLE AS rowmill_new FOR EACH STATEMENT EXECUTE FUNCTION rowmill.arrive_1();
CREATE TRIGGER rowmill_1_truncate AFTER TRUNCATE ON public.notes FOR EACH STATEMENT EXECUTE FUNCTION rowmill.arrive_1();
CREATE TRIGGER rowmill_1_update AFTER UPDATE ON public.notes REFERENCING OLD TABLE AS rowmill_old NEW TABLE AS rowmill_new FOR EACH STATEMENT EXECUTE FUNCTION rowmill.arrive_1();
ALTER TABLE ONLY rowmill.batch_events
    ADD CONSTRAINT batch_events_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES rowmill.batches(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.batches
    ADD CONSTRAINT batches_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id);
ALTER TABLE ONLY rowmill.pipeline_events
    ADD CONSTRAINT pipeline_events_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.refused_keys
    ADD CONSTRAINT refused_keys_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.sweeps
    ADD CONSTRAINT sweeps_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE public.note_answers ENABLE ROW LEVEL SECURITY;
ALTER TABLE rowmill_worker._private_job_queues ENABLE ROW LEVEL SECURITY;
ALTER TABLE rowmill_worker._private_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE rowmill_worker._private_known_crontabs ENABLE ROW LEVEL SECURITY;
ALTER TABLE rowmill_worker._private_tasks ENABLE ROW LEVEL SECURITY;
