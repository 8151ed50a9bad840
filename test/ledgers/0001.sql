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
CREATE TYPE rowmill.attempt_ending AS ENUM (
    'succeeded',
    'failed',
    'returned'
);
CREATE TYPE rowmill.request_state AS ENUM (
    'waiting',
    'batched',
    'succeeded',
    'failed',
    'cancelled',
    'gone'
);
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
    AS $$
declare
  found_keys text[];
  one_key text;
  as_expected boolean;
  is_large boolean;
begin
  if current_setting('rowmill.writing', true) = '1' then return null; end if;
  if tg_op = 'TRUNCATE' then
    insert into rowmill.arrivals (pipeline_id, keys) values (1, null);
    return null;
  end if;
  begin
    if tg_op = 'INSERT' then
      found_keys := array(select case when pg_typeof(t."id") = 20::oid and pg_typeof(t."body") = 25::oid then concat(t."id") end from rowmill_new t limit 5001);
    elsif tg_op = 'DELETE' then
      found_keys := array(select case when pg_typeof(t."id") = 20::oid and pg_typeof(t."body") = 25::oid then concat(t."id") end from rowmill_old t limit 5001);
    else
      select pg_typeof(t."id") = 20::oid and pg_typeof(t."body") = 25::oid, exists (select from rowmill_new offset 5000)
        into as_expected, is_large from rowmill_new t limit 1;
      if as_expected is null then
        found_keys := array(select case when pg_typeof(t."id") = 20::oid and pg_typeof(t."body") = 25::oid then concat(t."id") end from rowmill_old t limit 5001);
      elsif not as_expected then
        found_keys := array[null];
      elsif not is_large then
        found_keys := array(select concat(coalesce(n.k0, o.k0))
        from (select t."id" as k0, t."body" as c0 from rowmill_new t) n
          full join (select t."id" as k0, t."body" as c0 from rowmill_old t) o on n.k0 = o.k0
        where n.k0 is null or o.k0 is null or case when greatest(octet_length(n.c0), octet_length(o.c0)) <= 4194304 then row(n.c0)::record *<> row(o.c0)::record else row(octet_length(n.c0))::record *<> row(octet_length(o.c0))::record end limit 5001);
      end if;
    end if;
  exception when others then
    found_keys := array[null];
  end;
  if cardinality(found_keys) = 0 then
    return null;
  elsif found_keys[1] is null and found_keys is not null then
    insert into rowmill.arrivals (pipeline_id, keys) values (1, null);
  elsif cardinality(found_keys) <= 5000 then
    insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys);
  else
    begin
      if tg_op = 'INSERT' then
        insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys[:5000]);
        found_keys := '{}';
        for one_key in select case when pg_typeof(t."id") = 20::oid and pg_typeof(t."body") = 25::oid then concat(t."id") end from rowmill_new t offset 5000 loop
          found_keys := found_keys || one_key;
          if cardinality(found_keys) = 5000 then
            insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys);
            found_keys := '{}';
          end if;
        end loop;
      elsif tg_op = 'DELETE' then
        insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys[:5000]);
        found_keys := '{}';
        for one_key in select case when pg_typeof(t."id") = 20::oid and pg_typeof(t."body") = 25::oid then concat(t."id") end from rowmill_old t offset 5000 loop
          found_keys := found_keys || one_key;
          if cardinality(found_keys) = 5000 then
            insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys);
            found_keys := '{}';
          end if;
        end loop;
      else
        found_keys := '{}';
        for one_key in select concat(coalesce(n.k0, o.k0))
        from (select t."id" as k0, case when octet_length(t."body") <= 4194304 then hashtextextended(t."body" collate "C", 0) else octet_length(t."body") end as c0 from rowmill_new t) n
          full join (select t."id" as k0, case when octet_length(t."body") <= 4194304 then hashtextextended(t."body" collate "C", 0) else octet_length(t."body") end as c0 from rowmill_old t) o on n.k0 = o.k0
        where n.k0 is null or o.k0 is null or row(n.c0)::record *<> row(o.c0)::record loop
          found_keys := found_keys || one_key;
          if cardinality(found_keys) = 5000 then
            insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys);
            found_keys := '{}';
          end if;
        end loop;
      end if;
      if cardinality(found_keys) > 0 then
        insert into rowmill.arrivals (pipeline_id, keys) values (1, found_keys);
      end if;
    exception when others then
      insert into rowmill.arrivals (pipeline_id, keys) values (1, null);
    end;
  end if;
  return null;
end$$;
CREATE FUNCTION rowmill.is_older(a text, b text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN CASE WHEN ((a IS NULL) OR (b IS NULL)) THEN NULL::boolean WHEN (a ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$'::text) THEN CASE WHEN (b ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$'::text) THEN ((a)::numeric < (b)::numeric) ELSE true END WHEN (b ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$'::text) THEN false ELSE ((a COLLATE "C") < (b COLLATE "C")) END;
CREATE FUNCTION rowmill.push(pipeline text, rows jsonb, OUT accepted integer, OUT unchanged integer, OUT older integer, OUT refused integer, OUT problems json) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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
CREATE FUNCTION rowmill.push_rows(pipeline_name text, given json, pushes integer[], by_sync boolean DEFAULT false) RETURNS TABLE(push integer, accepted integer, unchanged integer, older integer, refused integer, problems json)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;
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
    rowmill_model text NOT NULL,
    rowmill_version integer
);
CREATE TABLE public.notes (
    id bigint NOT NULL,
    body text
);
CREATE TABLE rowmill.accepted_failures (
    pipeline_id integer NOT NULL,
    definition_hash text NOT NULL,
    outcome text NOT NULL,
    accepted_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE rowmill.arrivals (
    pipeline_id integer NOT NULL,
    keys text[],
    arrived_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='1000', toast.autovacuum_vacuum_scale_factor='0.01', toast.autovacuum_vacuum_threshold='1000');
ALTER TABLE ONLY rowmill.arrivals ALTER COLUMN keys SET STORAGE EXTERNAL;
CREATE TABLE rowmill.attempts (
    request_id bigint NOT NULL,
    cost_nano_usd bigint,
    at timestamp with time zone DEFAULT now() NOT NULL,
    batch integer NOT NULL,
    attempt integer NOT NULL,
    input_tokens integer DEFAULT 0 NOT NULL,
    cached_input_tokens integer DEFAULT 0 NOT NULL,
    output_tokens integer DEFAULT 0 NOT NULL,
    room integer,
    ending rowmill.attempt_ending NOT NULL,
    tries smallint NOT NULL,
    outcome text NOT NULL,
    model text,
    detail text,
    answer text,
    shared_from bigint,
    written_at timestamp with time zone
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
    no integer NOT NULL,
    pipeline_id integer NOT NULL,
    state text NOT NULL,
    definition_hash text NOT NULL,
    provider text NOT NULL,
    account text NOT NULL,
    model text NOT NULL,
    endpoint text NOT NULL,
    price jsonb,
    batch_factor numeric NOT NULL,
    room integer,
    requests integer NOT NULL,
    lines integer,
    sharing integer DEFAULT 0 NOT NULL,
    spool_bytes bigint,
    spool_sha256 text,
    reserved_nano_usd bigint DEFAULT 0 NOT NULL,
    reserved_tokens bigint DEFAULT 0 NOT NULL,
    run_id uuid,
    adopted_pattern text,
    recovered boolean DEFAULT false NOT NULL,
    shared boolean DEFAULT false NOT NULL,
    provider_data jsonb DEFAULT '{}'::jsonb NOT NULL,
    create_intent_at timestamp with time zone,
    creates integer DEFAULT 0 NOT NULL,
    one_create boolean DEFAULT false NOT NULL,
    provider_batch_id text,
    presumed boolean DEFAULT false NOT NULL,
    provider_status text,
    provider_counts jsonb,
    provider_errors jsonb,
    told_at timestamp with time zone,
    downloads integer DEFAULT 0 NOT NULL,
    results_read jsonb,
    forgotten_at timestamp with time zone,
    held_for text,
    lease_token uuid,
    lease_until timestamp with time zone,
    lease_worker text,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    polls integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    trouble text,
    trouble_since timestamp with time zone,
    window_hours integer DEFAULT 24 NOT NULL,
    planned_at timestamp with time zone DEFAULT now() NOT NULL,
    submitted_at timestamp with time zone,
    provider_done_at timestamp with time zone,
    settled_at timestamp with time zone,
    succeeded integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    returned integer DEFAULT 0 NOT NULL,
    input_tokens bigint DEFAULT 0 NOT NULL,
    cached_input_tokens bigint DEFAULT 0 NOT NULL,
    output_tokens bigint DEFAULT 0 NOT NULL,
    cost_nano_usd bigint DEFAULT 0 NOT NULL,
    unpriced integer DEFAULT 0 NOT NULL,
    sharing_saved_nano_usd bigint DEFAULT 0 NOT NULL,
    cancel_wanted_at timestamp with time zone,
    cancel_wanted_by text,
    cancel_drops boolean DEFAULT false NOT NULL,
    cancel_asked_at timestamp with time zone,
    likely_nano_usd bigint,
    lost_nano_usd bigint DEFAULT 0 NOT NULL,
    CONSTRAINT batches_batch_factor_check CHECK ((batch_factor > (0)::numeric)),
    CONSTRAINT batches_likely_nano_usd_check CHECK ((likely_nano_usd >= 0)),
    CONSTRAINT batches_lost_nano_usd_check CHECK ((lost_nano_usd >= 0)),
    CONSTRAINT batches_requests_check CHECK ((requests >= 0)),
    CONSTRAINT batches_reserved_nano_usd_check CHECK ((reserved_nano_usd >= 0)),
    CONSTRAINT batches_reserved_tokens_check CHECK ((reserved_tokens >= 0)),
    CONSTRAINT batches_sharing_check CHECK ((sharing >= 0)),
    CONSTRAINT batches_state_check CHECK ((state = ANY (ARRAY['planned'::text, 'uploading'::text, 'submitting'::text, 'running'::text, 'collecting'::text, 'settled'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT batches_window_hours_check CHECK ((window_hours > 0)),
    CONSTRAINT cancel_has_person CHECK (((cancel_wanted_at IS NULL) = (cancel_wanted_by IS NULL))),
    CONSTRAINT cancel_is_wanted CHECK (((cancel_wanted_at IS NOT NULL) OR ((NOT cancel_drops) AND (cancel_asked_at IS NULL)))),
    CONSTRAINT collecting_is_done CHECK (((state <> 'collecting'::text) OR (provider_done_at IS NOT NULL))),
    CONSTRAINT ended_has_time CHECK (((state = ANY (ARRAY['settled'::text, 'rejected'::text, 'cancelled'::text])) = (settled_at IS NOT NULL))),
    CONSTRAINT ended_reserves_nothing CHECK (((settled_at IS NULL) OR ((reserved_nano_usd = 0) AND (reserved_tokens = 0)))),
    CONSTRAINT lease_is_whole CHECK (((lease_token IS NULL) = (lease_until IS NULL))),
    CONSTRAINT lost_is_given_up CHECK (((lost_nano_usd = 0) OR (state = 'cancelled'::text))),
    CONSTRAINT results_read_when_done CHECK (((results_read IS NULL) OR (provider_done_at IS NOT NULL))),
    CONSTRAINT running_has_provider_batch CHECK (((state <> ALL (ARRAY['running'::text, 'collecting'::text])) OR ((provider_batch_id IS NOT NULL) AND (submitted_at IS NOT NULL)))),
    CONSTRAINT trouble_has_start CHECK (((trouble IS NULL) = (trouble_since IS NULL))),
    CONSTRAINT uploading_has_spool CHECK (((state = ANY (ARRAY['planned'::text, 'settled'::text, 'rejected'::text, 'cancelled'::text])) OR ((lines > 0) AND (spool_bytes > 0) AND ((spool_sha256 IS NOT NULL) OR ((recovered OR (adopted_pattern IS NOT NULL)) AND (state = ANY (ARRAY['running'::text, 'collecting'::text])))))))
)
WITH (fillfactor='70');
CREATE VIEW rowmill.batch_processing_details AS
 SELECT (b.no)::bigint AS id,
    COALESCE(b.submitted_at, b.planned_at) AS created_at,
    b.provider_batch_id AS batch_job_id,
    (b.settled_at IS NOT NULL) AS batch_job_status
   FROM rowmill.batches b
  WHERE (b.provider_batch_id IS NOT NULL);
ALTER TABLE rowmill.batches ALTER COLUMN no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.batches_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.duplicate_batches (
    account text NOT NULL,
    provider_batch_id text NOT NULL,
    batch_id uuid,
    reason text NOT NULL,
    reserved_nano_usd bigint DEFAULT 0 NOT NULL,
    certain boolean DEFAULT true NOT NULL,
    found_at timestamp with time zone DEFAULT now() NOT NULL,
    cancelled_at timestamp with time zone
);
CREATE TABLE rowmill.pipelines (
    id integer NOT NULL,
    name text NOT NULL,
    definition jsonb NOT NULL,
    definition_hash text NOT NULL,
    approved_hash text,
    approved_account text,
    estimate jsonb,
    line_tokens_max bigint DEFAULT 0 NOT NULL,
    line_nano_usd_max bigint DEFAULT 0 NOT NULL,
    source_table text NOT NULL,
    source_oid oid NOT NULL,
    source_signature text,
    installed_snapshot pg_snapshot,
    target_table text NOT NULL,
    change_decision text,
    change_previous_hash text,
    change_rows bigint,
    pause_kind text,
    pause_reason text,
    paused_at timestamp with time zone,
    answers_since timestamp with time zone,
    flush_at timestamp with time zone,
    uninstalled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pause_has_reason CHECK ((((pause_kind IS NULL) = (pause_reason IS NULL)) AND ((pause_kind IS NULL) = (paused_at IS NULL)))),
    CONSTRAINT pipelines_change_decision_check CHECK ((change_decision = ANY (ARRAY['undecided'::text, 'reask'::text, 'newOnly'::text, 'keep'::text]))),
    CONSTRAINT pipelines_pause_kind_check CHECK ((pause_kind = ANY (ARRAY['person'::text, 'budget'::text, 'account'::text, 'provider'::text, 'source'::text, 'target'::text, 'deployment'::text, 'answers'::text, 'deletions'::text])))
);
CREATE TABLE rowmill.usage (
    pipeline_id integer NOT NULL,
    batch integer,
    hour timestamp with time zone DEFAULT date_trunc('hour'::text, now(), 'UTC'::text) NOT NULL,
    succeeded integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    returned integer DEFAULT 0 NOT NULL,
    input_tokens bigint DEFAULT 0 NOT NULL,
    cached_input_tokens bigint DEFAULT 0 NOT NULL,
    output_tokens bigint DEFAULT 0 NOT NULL,
    cost_nano_usd bigint DEFAULT 0 NOT NULL,
    unpriced integer DEFAULT 0 NOT NULL,
    sharing_saved_nano_usd bigint DEFAULT 0 NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='1000');
CREATE VIEW rowmill.costs AS
 SELECT p.name AS pipeline,
    b.model,
    b.provider,
    b.id AS batch_id,
    ((COALESCE(b.submitted_at, b.planned_at) AT TIME ZONE 'UTC'::text))::date AS day,
    b.submitted_at,
    b.settled_at AS ended_at,
    b.requests,
    (b.succeeded + u.succeeded) AS succeeded,
    (b.failed + u.failed) AS failed,
    (b.returned + u.returned) AS returned,
    (((b.input_tokens)::numeric + u.input_tokens))::bigint AS input_tokens,
    (((b.output_tokens)::numeric + u.output_tokens))::bigint AS output_tokens,
    (((b.likely_nano_usd)::numeric / '1000000000'::numeric))::numeric(20,9) AS estimated_usd,
    (((b.reserved_nano_usd)::numeric / '1000000000'::numeric))::numeric(20,9) AS reserved_usd,
    ((s.nano_usd / '1000000000'::numeric))::numeric(20,9) AS spent_usd,
    ((round((s.nano_usd / b.batch_factor)) / '1000000000'::numeric))::numeric(20,9) AS live_usd,
    (((round((s.nano_usd / b.batch_factor)) - s.nano_usd) / '1000000000'::numeric))::numeric(20,9) AS saved_usd,
    (b.unpriced + u.unpriced) AS answers_without_price,
    (b.sharing)::bigint AS shared_requests,
    ((((b.sharing_saved_nano_usd)::numeric + u.sharing_saved_nano_usd) / '1000000000'::numeric))::numeric(20,9) AS sharing_saved_usd
   FROM (((rowmill.batches b
     JOIN rowmill.pipelines p ON ((p.id = b.pipeline_id)))
     CROSS JOIN LATERAL ( SELECT COALESCE(sum(u_1.succeeded), (0)::bigint) AS succeeded,
            COALESCE(sum(u_1.failed), (0)::bigint) AS failed,
            COALESCE(sum(u_1.returned), (0)::bigint) AS returned,
            COALESCE(sum(u_1.input_tokens), (0)::numeric) AS input_tokens,
            COALESCE(sum(u_1.output_tokens), (0)::numeric) AS output_tokens,
            COALESCE(sum(u_1.cost_nano_usd), (0)::numeric) AS cost_nano_usd,
            COALESCE(sum(u_1.unpriced), (0)::bigint) AS unpriced,
            COALESCE(sum(u_1.sharing_saved_nano_usd), (0)::numeric) AS sharing_saved_nano_usd
           FROM rowmill.usage u_1
          WHERE ((u_1.batch = b.no) AND (b.settled_at IS NULL))) u)
     CROSS JOIN LATERAL ( SELECT ((((b.cost_nano_usd)::numeric + u.cost_nano_usd) + (b.lost_nano_usd)::numeric) + COALESCE(sum(d.reserved_nano_usd), (0)::numeric)) AS nano_usd
           FROM rowmill.duplicate_batches d
          WHERE (d.batch_id = b.id)) s);
CREATE TABLE rowmill.counts (
    pipeline_id integer NOT NULL,
    waiting bigint DEFAULT 0 NOT NULL,
    batched bigint DEFAULT 0 NOT NULL,
    succeeded bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    cancelled bigint DEFAULT 0 NOT NULL,
    gone bigint DEFAULT 0 NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='1000');
CREATE TABLE rowmill.definitions (
    pipeline_id integer NOT NULL,
    definition_hash text NOT NULL,
    version integer NOT NULL,
    follows integer,
    since timestamp with time zone DEFAULT now() NOT NULL,
    definition jsonb NOT NULL,
    answer_schema json
);
CREATE TABLE rowmill.deliverers (
    pipeline_id integer NOT NULL,
    target text NOT NULL,
    target_hash text NOT NULL,
    lease_token uuid,
    lease_until timestamp with time zone,
    lease_worker text,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    trouble text,
    trouble_since timestamp with time zone,
    settle_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT lease_is_whole CHECK (((lease_token IS NULL) = (lease_until IS NULL))),
    CONSTRAINT trouble_has_start CHECK (((trouble IS NULL) = (trouble_since IS NULL)))
);
CREATE TABLE rowmill.deliveries (
    pipeline_id integer NOT NULL,
    key text NOT NULL,
    fence bigint NOT NULL,
    deleted boolean DEFAULT false NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    failures smallint DEFAULT 0 NOT NULL,
    reason text,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    read_back json,
    CONSTRAINT deliveries_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'delivered'::text, 'stale'::text, 'failed'::text, 'dropped'::text]))),
    CONSTRAINT undelivered_has_reason CHECK (((state <> ALL (ARRAY['stale'::text, 'failed'::text])) OR (reason IS NOT NULL)))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05');
CREATE SEQUENCE rowmill.delivery_fences
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE rowmill.deployment (
    one boolean DEFAULT true NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    system_identifier text,
    database_name text NOT NULL,
    database_oid oid,
    folder text,
    folder_inode text,
    suspicion text,
    suspected_at timestamp with time zone,
    oldest_version integer DEFAULT 1 NOT NULL,
    fence_epoch bigint DEFAULT (EXTRACT(epoch FROM now()))::bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT deployment_one_check CHECK (one),
    CONSTRAINT suspicion_has_time CHECK (((suspicion IS NULL) = (suspected_at IS NULL)))
);
CREATE TABLE rowmill.refused_keys (
    pipeline_id integer NOT NULL,
    key_sha256 text NOT NULL,
    key_prefix text NOT NULL,
    reason text NOT NULL,
    rows bigint DEFAULT 1 NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE rowmill.requests (
    id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    not_before timestamp with time zone,
    pipeline_id integer NOT NULL,
    batch integer,
    attempt integer DEFAULT 0 NOT NULL,
    answered_batch integer,
    room integer,
    tries smallint DEFAULT 0 NOT NULL,
    returns smallint DEFAULT 0 NOT NULL,
    state rowmill.request_state DEFAULT 'waiting'::rowmill.request_state NOT NULL,
    gone_from rowmill.request_state,
    demo boolean DEFAULT false NOT NULL,
    row_gone boolean DEFAULT false NOT NULL,
    alone boolean DEFAULT false NOT NULL,
    forgotten boolean DEFAULT false NOT NULL,
    content_hash bytea,
    fingerprint bytea,
    answered_hash bytea,
    answered_fingerprint bytea,
    error_code text,
    error text,
    key text NOT NULL,
    CONSTRAINT batched_has_batch CHECK (((state <> 'batched'::rowmill.request_state) OR (batch IS NOT NULL))),
    CONSTRAINT failed_has_error CHECK (((state <> 'failed'::rowmill.request_state) OR (error_code IS NOT NULL))),
    CONSTRAINT gone_remembers CHECK (((state = 'gone'::rowmill.request_state) = (gone_from IS NOT NULL))),
    CONSTRAINT requests_gone_from_check CHECK ((gone_from = ANY (ARRAY['waiting'::rowmill.request_state, 'succeeded'::rowmill.request_state, 'failed'::rowmill.request_state, 'cancelled'::rowmill.request_state]))),
    CONSTRAINT requests_key_check CHECK (((octet_length(key) >= 1) AND (octet_length(key) <= 1024))),
    CONSTRAINT succeeded_has_answer CHECK (((state <> 'succeeded'::rowmill.request_state) OR ((answered_hash IS NOT NULL) AND (answered_hash = content_hash))))
)
WITH (fillfactor='33');
CREATE TABLE rowmill.sweeps (
    pipeline_id integer NOT NULL,
    wanted_at timestamp with time zone,
    wanted_reason text,
    phase text DEFAULT 'idle'::text NOT NULL,
    cursor jsonb,
    last_request_id bigint DEFAULT 0 NOT NULL,
    met bigint DEFAULT 0 NOT NULL,
    definition_hash text,
    swept_hash text,
    rows_seen bigint DEFAULT 0 NOT NULL,
    keys_found bigint DEFAULT 0 NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT running_has_start CHECK (((phase = 'idle'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT sweeps_phase_check CHECK ((phase = ANY (ARRAY['idle'::text, 'source'::text, 'definition'::text, 'ledger'::text])))
);
CREATE VIEW rowmill.failures AS
 SELECT p.name AS pipeline,
    r.key,
    r.error_code AS reason,
    r.error AS message,
    r.tries,
    r.changed_at AS failed_at,
    b.id AS batch_id,
    (1)::bigint AS rows
   FROM ((rowmill.requests r
     JOIN rowmill.pipelines p ON ((p.id = r.pipeline_id)))
     LEFT JOIN rowmill.batches b ON ((b.no = r.batch)))
  WHERE ((p.uninstalled_at IS NULL) AND ((r.state = 'failed'::rowmill.request_state) OR ((r.state = 'cancelled'::rowmill.request_state) AND (r.error_code = 'dropped'::text))))
UNION ALL
 SELECT p.name AS pipeline,
    k.key_prefix AS key,
    'refusedKey'::text AS reason,
    k.reason AS message,
    (0)::smallint AS tries,
    k.seen_at AS failed_at,
    NULL::uuid AS batch_id,
    k.rows
   FROM (rowmill.refused_keys k
     JOIN rowmill.pipelines p ON ((p.id = k.pipeline_id)))
  WHERE ((p.uninstalled_at IS NULL) AND (NOT (EXISTS ( SELECT 1
           FROM rowmill.sweeps s
          WHERE ((s.pipeline_id = k.pipeline_id) AND (s.phase = 'idle'::text) AND (k.seen_at < s.started_at))))));
CREATE TABLE rowmill.forgotten_rows (
    pipeline_id integer NOT NULL,
    key_sha256 bytea NOT NULL,
    attempt integer NOT NULL,
    forgotten_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE rowmill.gone_versions (
    pipeline text NOT NULL,
    key_sha256 bytea NOT NULL,
    version text NOT NULL
);
CREATE TABLE rowmill.kept_answers (
    request_id bigint NOT NULL,
    batch integer NOT NULL,
    attempt integer NOT NULL,
    outcome json NOT NULL,
    bytes integer NOT NULL,
    tries smallint DEFAULT 0 NOT NULL,
    kept_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE rowmill.learned_limits (
    account text NOT NULL,
    model text NOT NULL,
    enqueued_tokens bigint,
    input_bytes bigint,
    size_guesses smallint DEFAULT 0 NOT NULL,
    refused_bytes bigint,
    not_before timestamp with time zone,
    message text NOT NULL,
    learned_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT learned_limits_enqueued_tokens_check CHECK ((enqueued_tokens > 0)),
    CONSTRAINT learned_limits_input_bytes_check CHECK ((input_bytes > 0))
);
CREATE TABLE rowmill.lines (
    batch integer NOT NULL,
    part integer NOT NULL,
    first integer NOT NULL,
    ids bigint[] NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='100', toast.autovacuum_vacuum_scale_factor='0.02', toast.autovacuum_vacuum_threshold='100');
ALTER TABLE ONLY rowmill.lines ALTER COLUMN ids SET STORAGE EXTERNAL;
CREATE TABLE rowmill.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE rowmill.named_lines (
    request_id bigint NOT NULL,
    batch integer NOT NULL,
    custom_id text NOT NULL,
    sharing boolean DEFAULT false NOT NULL
);
CREATE TABLE rowmill.output_sizes (
    pipeline text NOT NULL,
    definition_hash text NOT NULL,
    answers integer NOT NULL,
    mean real NOT NULL,
    p99 integer NOT NULL,
    CONSTRAINT output_sizes_answers_check CHECK ((answers > 0))
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
ALTER TABLE rowmill.pipelines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.pipelines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE VIEW rowmill.progress AS
 SELECT p.name AS pipeline,
    (COALESCE(c.waiting, (0)::numeric))::bigint AS waiting,
    (COALESCE(c.batched, (0)::numeric))::bigint AS in_batches,
    (COALESCE(c.succeeded, (0)::numeric))::bigint AS succeeded,
    (COALESCE(c.failed, (0)::numeric))::bigint AS failed,
    (COALESCE(c.cancelled, (0)::numeric))::bigint AS cancelled,
    (COALESCE(c.gone, (0)::numeric))::bigint AS gone,
    COALESCE(b.open, (0)::bigint) AS open_batches,
    b.oldest_submitted_at,
    (COALESCE((b.reserved / '1000000000'::numeric), (0)::numeric))::numeric(20,9) AS reserved_usd,
    p.pause_kind AS paused_by,
    p.pause_reason AS paused_because,
    p.target_table AS answers_in,
        CASE
            WHEN (d.target IS NOT NULL) THEN ( SELECT count(*) AS count
               FROM rowmill.deliveries l
              WHERE ((l.pipeline_id = p.id) AND (l.state = 'waiting'::text)))
            ELSE NULL::bigint
        END AS deliveries_waiting,
        CASE
            WHEN (d.target IS NOT NULL) THEN ( SELECT count(*) AS count
               FROM rowmill.deliveries l
              WHERE ((l.pipeline_id = p.id) AND (l.state = 'delivered'::text)))
            ELSE NULL::bigint
        END AS deliveries_delivered,
        CASE
            WHEN (d.target IS NOT NULL) THEN ( SELECT count(*) AS count
               FROM rowmill.deliveries l
              WHERE ((l.pipeline_id = p.id) AND (l.state = 'stale'::text)))
            ELSE NULL::bigint
        END AS deliveries_stale,
        CASE
            WHEN (d.target IS NOT NULL) THEN ( SELECT count(*) AS count
               FROM rowmill.deliveries l
              WHERE ((l.pipeline_id = p.id) AND (l.state = 'failed'::text)))
            ELSE NULL::bigint
        END AS deliveries_failed
   FROM (((rowmill.pipelines p
     LEFT JOIN rowmill.deliverers d ON ((d.pipeline_id = p.id)))
     LEFT JOIN ( SELECT counts.pipeline_id,
            sum(counts.waiting) AS waiting,
            sum(counts.batched) AS batched,
            sum(counts.succeeded) AS succeeded,
            sum(counts.failed) AS failed,
            sum(counts.cancelled) AS cancelled,
            sum(counts.gone) AS gone
           FROM rowmill.counts
          GROUP BY counts.pipeline_id) c ON ((c.pipeline_id = p.id)))
     LEFT JOIN ( SELECT batches.pipeline_id,
            count(*) AS open,
            min(batches.submitted_at) AS oldest_submitted_at,
            sum(batches.reserved_nano_usd) AS reserved
           FROM rowmill.batches
          WHERE (batches.settled_at IS NULL)
          GROUP BY batches.pipeline_id) b ON ((b.pipeline_id = p.id)))
  WHERE (p.uninstalled_at IS NULL);
CREATE TABLE rowmill.push_digests (
    pipeline text NOT NULL,
    token integer NOT NULL,
    sha256 bytea NOT NULL,
    told json NOT NULL
);
CREATE TABLE rowmill.queue (
    no bigint NOT NULL,
    pipeline_id integer NOT NULL,
    batch integer,
    since timestamp with time zone DEFAULT now() NOT NULL,
    not_before timestamp with time zone DEFAULT now() NOT NULL,
    n integer GENERATED ALWAYS AS (cardinality(ids)) STORED NOT NULL,
    ids bigint[] NOT NULL,
    CONSTRAINT queue_ids_check CHECK ((cardinality(ids) > 0))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='100', toast.autovacuum_vacuum_scale_factor='0.02', toast.autovacuum_vacuum_threshold='100');
ALTER TABLE ONLY rowmill.queue ALTER COLUMN ids SET STORAGE EXTERNAL;
ALTER TABLE rowmill.queue ALTER COLUMN no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.queue_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.refused_pushes (
    pipeline text NOT NULL,
    reason text NOT NULL,
    pushes bigint DEFAULT 1 NOT NULL,
    rows bigint DEFAULT 0 NOT NULL,
    example text,
    last_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE rowmill.replicas (
    pipeline text NOT NULL,
    key text[] NOT NULL,
    columns text[] NOT NULL,
    version_field text,
    generation integer DEFAULT 1 NOT NULL,
    synced boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT replicas_key_check CHECK ((cardinality(key) > 0))
);
ALTER TABLE rowmill.requests ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.requests_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.result_chunks (
    no bigint NOT NULL,
    pipeline_id integer NOT NULL,
    era integer DEFAULT 0 NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    ids bigint[] NOT NULL,
    CONSTRAINT result_chunks_ids_check CHECK ((cardinality(ids) > 0))
);
ALTER TABLE ONLY rowmill.result_chunks ALTER COLUMN ids SET STORAGE EXTERNAL;
ALTER TABLE rowmill.result_chunks ALTER COLUMN no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.result_chunks_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.syncs (
    pipeline text NOT NULL,
    phase text DEFAULT 'idle'::text NOT NULL,
    is_full boolean DEFAULT true NOT NULL,
    place json,
    rows bigint DEFAULT 0 NOT NULL,
    began_at timestamp with time zone,
    mark json,
    next_mark json,
    definition text,
    full_began_at timestamp with time zone,
    full_ended_at timestamp with time zone,
    full_rows bigint,
    ended_at timestamp with time zone,
    gone bigint DEFAULT 0 NOT NULL,
    gone_before timestamp with time zone,
    held boolean DEFAULT false NOT NULL,
    agreed bigint DEFAULT 0 NOT NULL,
    gone_by_hour jsonb DEFAULT '{}'::jsonb NOT NULL,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    trouble text,
    trouble_since timestamp with time zone,
    failures integer DEFAULT 0 NOT NULL,
    lease_token uuid,
    lease_until timestamp with time zone,
    lease_worker uuid,
    full_wanted boolean DEFAULT false NOT NULL,
    CONSTRAINT syncs_phase_check CHECK ((phase = ANY (ARRAY['idle'::text, 'reading'::text, 'deleting'::text])))
);
CREATE TABLE rowmill.tokens (
    id integer NOT NULL,
    sha256 bytea NOT NULL,
    prefix text NOT NULL,
    scope text NOT NULL,
    pipeline text,
    note text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT tokens_scope_check CHECK ((scope = ANY (ARRAY['push'::text, 'read'::text, 'operate'::text, 'admin'::text])))
);
ALTER TABLE rowmill.tokens ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.tokens_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.tries (
    no integer NOT NULL,
    pipeline text NOT NULL,
    definition_hash text NOT NULL,
    overridden jsonb DEFAULT '{}'::jsonb NOT NULL,
    system text,
    prompt text NOT NULL,
    provider text NOT NULL,
    account text NOT NULL,
    model text NOT NULL,
    endpoint text NOT NULL,
    price jsonb,
    rows integer NOT NULL,
    asked_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tries_rows_check CHECK ((rows > 0))
);
ALTER TABLE rowmill.tries ALTER COLUMN no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME rowmill.tries_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE rowmill.try_answers (
    try integer NOT NULL,
    place integer NOT NULL,
    key text NOT NULL,
    content_hash bytea NOT NULL,
    fingerprint bytea,
    system text,
    prompt text,
    room integer NOT NULL,
    reserved_nano_usd bigint DEFAULT 0 NOT NULL,
    outcome text,
    detail text,
    answer text,
    reply json,
    cells json,
    answered_by text,
    input_tokens integer DEFAULT 0 NOT NULL,
    cached_input_tokens integer DEFAULT 0 NOT NULL,
    output_tokens integer DEFAULT 0 NOT NULL,
    cost_nano_usd bigint,
    latency_ms integer,
    asked_at timestamp with time zone DEFAULT now() NOT NULL,
    accepted_at timestamp with time zone,
    batch integer,
    CONSTRAINT accepted_has_batch CHECK (((accepted_at IS NULL) = (batch IS NULL))),
    CONSTRAINT cost_is_known_or_reserved CHECK (((cost_nano_usd IS NULL) OR (reserved_nano_usd = 0))),
    CONSTRAINT try_answers_reserved_nano_usd_check CHECK ((reserved_nano_usd >= 0))
);
CREATE TABLE rowmill.workers (
    id uuid NOT NULL,
    pool_id text,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    config_changed_at timestamp with time zone
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
INSERT INTO public.note_answers VALUES (5, '{drama}', '2026-11-27 20:32:50.192607+00', 'gpt-4o-mini', 1);
INSERT INTO public.note_answers VALUES (1, '{war}', '2026-11-27 20:32:50.192607+00', 'gpt-4o-mini', 1);
INSERT INTO public.note_answers VALUES (2, '{romance}', '2026-11-27 20:32:50.192607+00', 'gpt-4o-mini', 1);
INSERT INTO public.note_answers VALUES (3, '{drama}', '2026-11-27 20:32:51.324719+00', 'gpt-4o-mini', 1);
INSERT INTO public.notes VALUES (1, 'A war film.');
INSERT INTO public.notes VALUES (2, 'A love story.');
INSERT INTO public.notes VALUES (3, 'Odd at first. [[demo:mismatch-once]]');
INSERT INTO public.notes VALUES (4, 'Never. [[demo:error 400]]');
INSERT INTO public.notes VALUES (6, 'A comedy.');
INSERT INTO public.notes VALUES (7, 'A ghost story.');
INSERT INTO public.notes VALUES (8, 'A western.');
INSERT INTO public.notes VALUES (9, 'A fairy tale.');
INSERT INTO rowmill.attempts VALUES (5, 2325, '2026-11-27 20:32:50.192607+00', 1, 1, 7, 0, 6, 100, 'succeeded', 0, 'answered', 'gpt-4o-mini', NULL, NULL, NULL, NULL);
INSERT INTO rowmill.attempts VALUES (1, 2325, '2026-11-27 20:32:50.192607+00', 1, 1, 7, 0, 6, 100, 'succeeded', 0, 'answered', 'gpt-4o-mini', NULL, NULL, NULL, NULL);
INSERT INTO rowmill.attempts VALUES (2, 2700, '2026-11-27 20:32:50.192607+00', 1, 1, 8, 0, 7, 100, 'succeeded', 0, 'answered', 'gpt-4o-mini', NULL, NULL, NULL, NULL);
INSERT INTO rowmill.attempts VALUES (3, 3375, '2026-11-27 20:32:50.192607+00', 1, 1, 13, 0, 8, 100, 'returned', 1, 'invalid', 'gpt-4o-mini', 'categories: Invalid input: expected array, received undefined', '{"unexpected":[1,"two",null]}', NULL, NULL);
INSERT INTO rowmill.attempts VALUES (4, 0, '2026-11-27 20:32:50.192607+00', 1, 1, 0, 0, 0, 100, 'failed', 0, 'permanent', NULL, 'The message asked for this error (400).', NULL, NULL, NULL);
INSERT INTO rowmill.attempts VALUES (3, 2775, '2026-11-27 20:32:51.324719+00', 2, 2, 13, 0, 6, 100, 'succeeded', 1, 'answered', 'gpt-4o-mini', NULL, NULL, NULL, NULL);
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (1, '48f7daea-2031-40da-b8a1-c0046e421238', NULL, 'planned', 'flush', NULL, '2026-11-27 20:32:49.113789+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (2, '48f7daea-2031-40da-b8a1-c0046e421238', 'planned', 'uploading', '5 lines, 2,190 bytes', NULL, '2026-11-27 20:32:49.160336+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (3, '48f7daea-2031-40da-b8a1-c0046e421238', 'uploading', 'submitting', 'the input file was uploaded', NULL, '2026-11-27 20:32:49.189287+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (4, '48f7daea-2031-40da-b8a1-c0046e421238', 'submitting', 'running', 'the provider took it', NULL, '2026-11-27 20:32:49.202233+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (5, '48f7daea-2031-40da-b8a1-c0046e421238', 'running', 'collecting', 'the provider says completed', NULL, '2026-11-27 20:32:50.176462+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (6, '48f7daea-2031-40da-b8a1-c0046e421238', 'collecting', 'settled', 'the results name every request', '{"lines": 5, "missing": 0, "unknown": 0}', '2026-11-27 20:32:50.207914+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (7, '1343a4dd-583e-461a-8f53-0a9d3df9f512', NULL, 'planned', 'flush', NULL, '2026-11-27 20:32:50.2168+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (8, '1343a4dd-583e-461a-8f53-0a9d3df9f512', 'planned', 'uploading', '1 line, 455 bytes', NULL, '2026-11-27 20:32:50.236713+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (9, '1343a4dd-583e-461a-8f53-0a9d3df9f512', 'uploading', 'submitting', 'the input file was uploaded', NULL, '2026-11-27 20:32:50.25047+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (10, '1343a4dd-583e-461a-8f53-0a9d3df9f512', 'submitting', 'running', 'the provider took it', NULL, '2026-11-27 20:32:50.259867+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (11, '1343a4dd-583e-461a-8f53-0a9d3df9f512', 'running', 'collecting', 'the provider says completed', NULL, '2026-11-27 20:32:51.318525+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (12, '1343a4dd-583e-461a-8f53-0a9d3df9f512', 'collecting', 'settled', 'the results name every request', '{"lines": 1, "missing": 0, "unknown": 0}', '2026-11-27 20:32:51.330611+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (13, '82a1fe47-a612-4f51-8c7d-e99879610807', NULL, 'planned', 'threshold', NULL, '2026-11-27 20:32:56.327041+00');
INSERT INTO rowmill.batch_events OVERRIDING SYSTEM VALUE VALUES (14, '82a1fe47-a612-4f51-8c7d-e99879610807', 'planned', 'uploading', '2 lines, 859 bytes', NULL, '2026-11-27 20:32:56.397327+00');
INSERT INTO rowmill.batches OVERRIDING SYSTEM VALUE VALUES ('48f7daea-2031-40da-b8a1-c0046e421238', 1, 1, 'settled', '913e1ffc9e0c7db32936fadcf3a61a23', 'openai', 'http://127.0.0.1:45945/v1||', 'gpt-4o-mini', '/v1/chat/completions', '{"model": "gpt-4o-mini", "steps": [{"inputPicoUsd": 150000, "outputPicoUsd": 600000, "fromInputTokens": 0, "cachedInputPicoUsd": 75000}]}', 0.5, 100, 5, 5, 0, 2190, 'd86543ffcc3e08999e73d0b7dd2b9a1aafae41218c714808a45ac411584a4b88', 0, 0, '6721f74e-c7f5-4f23-a779-0ef7cb1449af', NULL, false, false, '{"refs": {"error": "file-6aac2d1bfbe2e01c8fcf39aaf196dc68", "input": "file-5289b0db2815ceb77e775d79a448ee57", "output": "file-cbd0ee8c4b011f7b2c3146562f56b43c"}, "staged": "file-5289b0db2815ceb77e775d79a448ee57", "baseline": null, "intendedAt": 1795811569.194570}', NULL, 1, false, 'batch_0b40bd1c7439afa9ad96810045ad0b73', false, 'completed', '{"total": 5, "failed": 1, "completed": 4}', NULL, NULL, 0, NULL, '2026-11-27 20:32:52.058677+00', NULL, '0ce80e64-4b37-4504-9421-a4a12b536738', '2026-11-27 20:33:10.210772+00', '9fc19309-5e82-4d87-b921-10ae0cdc367e', '2026-11-27 20:32:50.164373+00', 0, 0, NULL, NULL, 24, '2026-11-27 20:32:49.113789+00', '2026-11-27 20:32:49.202233+00', '2026-11-27 20:32:50.176462+00', '2026-11-27 20:32:50.207914+00', 3, 1, 1, 35, 0, 27, 10725, 0, 0, NULL, NULL, false, NULL, 78750, 0);
INSERT INTO rowmill.batches OVERRIDING SYSTEM VALUE VALUES ('1343a4dd-583e-461a-8f53-0a9d3df9f512', 2, 1, 'settled', '913e1ffc9e0c7db32936fadcf3a61a23', 'openai', 'http://127.0.0.1:45945/v1||', 'gpt-4o-mini', '/v1/chat/completions', '{"model": "gpt-4o-mini", "steps": [{"inputPicoUsd": 150000, "outputPicoUsd": 600000, "fromInputTokens": 0, "cachedInputPicoUsd": 75000}]}', 0.5, 100, 1, 1, 0, 455, 'd9bdb26cf38775484e878445c94bd56a10bff61caf804abe6e40228d525d8aa5', 0, 0, '6721f74e-c7f5-4f23-a779-0ef7cb1449af', NULL, false, false, '{"refs": {"error": null, "input": "file-9be89211fc1a7d9e03012d7765d0e789", "output": "file-dfe5f059aae7dacb5d617b42703ae434"}, "staged": "file-9be89211fc1a7d9e03012d7765d0e789", "baseline": null, "intendedAt": 1795811570.254656}', NULL, 1, false, 'batch_0f81660ad184e9f4e775ea2b0d17e095', false, 'completed', '{"total": 1, "failed": 0, "completed": 1}', NULL, NULL, 0, NULL, '2026-11-27 20:32:52.063741+00', NULL, '6ce8923b-1a03-455e-a667-6207322ec7be', '2026-11-27 20:33:11.332906+00', '9fc19309-5e82-4d87-b921-10ae0cdc367e', '2026-11-27 20:32:51.304524+00', 0, 0, NULL, NULL, 24, '2026-11-27 20:32:50.2168+00', '2026-11-27 20:32:50.259867+00', '2026-11-27 20:32:51.318525+00', '2026-11-27 20:32:51.330611+00', 1, 0, 0, 13, 0, 6, 2775, 0, 0, NULL, NULL, false, NULL, 6150, 0);
INSERT INTO rowmill.batches OVERRIDING SYSTEM VALUE VALUES ('82a1fe47-a612-4f51-8c7d-e99879610807', 3, 1, 'uploading', '913e1ffc9e0c7db32936fadcf3a61a23', 'openai', 'http://127.0.0.1:45945/v1||', 'gpt-4o-mini', '/v1/chat/completions', '{"model": "gpt-4o-mini", "steps": [{"inputPicoUsd": 150000, "outputPicoUsd": 600000, "fromInputTokens": 0, "cachedInputPicoUsd": 75000}]}', 0.5, 32, 2, 2, 0, 859, '8e2e8fa2919a0b05a0f85217f5445f67d398bf9733b01297319361d1c1fc8d36', 33450, 190, '7dcd5031-7597-4cc7-8711-02b943b8fbbb', NULL, false, false, '{}', NULL, 0, false, NULL, false, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-27 20:33:11.340262+00', 0, 2, 'could not list batches: no reply from http://127.0.0.1:45945/v1 (ECONNREFUSED)', '2026-11-27 20:32:59.400729+00', 24, '2026-11-27 20:32:56.327041+00', NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, false, NULL, 12000, 0);
INSERT INTO rowmill.counts VALUES (1, 2, 2, 3, 1, 0, 1);
INSERT INTO rowmill.definitions VALUES (1, '913e1ffc9e0c7db32936fadcf3a61a23', 1, NULL, '2026-11-27 20:32:48.79312+00', '{"user": "{{ body }}", "when": {"rows": 1000, "maxWaitMs": 86400000}, "limit": null, "model": "gpt-4o-mini", "price": null, "answer": {"type": "object", "required": ["categories"], "properties": {"categories": {"type": "array", "items": {"type": "string"}}}, "additionalProperties": false}, "budget": null, "source": {"key": ["id"], "table": "notes", "where": null, "columns": ["body"]}, "system": null, "target": {"table": "note_answers", "columns": {}}, "attempts": 3, "endpoint": "/v1/chat/completions", "provider": "openai", "parameters": {}, "maxOutputTokens": 100}', '{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"categories":{"type":"array","items":{"type":"string","x-zod":[{"checks":[],"coerce":false}]}}},"required":["categories"]}');
INSERT INTO rowmill.deployment VALUES (true, 'e77e6f70-9077-4ceb-85cc-47162659796d', '7712951953240246006', 'postgres', 13695, NULL, NULL, NULL, NULL, 1, 1795811569, '2026-11-27 20:32:48.651634+00');
INSERT INTO rowmill.lines VALUES (3, 0, 1, '{6,7}');
INSERT INTO rowmill.migrations VALUES (1, '0001_ledger.sql', '2acf4e2fd39f9c63be2ee8fb7196afc939839b52e53a787dc8ef273b013b3107', '2026-11-27 20:32:48.651634+00');
INSERT INTO rowmill.output_sizes VALUES ('notes', '913e1ffc9e0c7db32936fadcf3a61a23', 5, 6.6, 8);
INSERT INTO rowmill.pipeline_events OVERRIDING SYSTEM VALUE VALUES (1, 1, 'created', NULL, NULL, '2026-11-27 20:32:48.79312+00');
INSERT INTO rowmill.pipeline_events OVERRIDING SYSTEM VALUE VALUES (2, 1, 'approved', 'its estimate is not above approveAboveUsd', NULL, '2026-11-27 20:32:48.994725+00');
INSERT INTO rowmill.pipelines OVERRIDING SYSTEM VALUE VALUES (1, 'notes', '{"user": "{{ body }}", "when": {"rows": 1000, "maxWaitMs": 86400000}, "limit": null, "model": "gpt-4o-mini", "price": null, "answer": {"type": "object", "required": ["categories"], "properties": {"categories": {"type": "array", "items": {"type": "string"}}}, "additionalProperties": false}, "budget": null, "source": {"key": ["id"], "table": "notes", "where": null, "columns": ["body"]}, "system": null, "target": "note_answers", "parameters": {}, "maxOutputTokens": 100}', '913e1ffc9e0c7db32936fadcf3a61a23', '913e1ffc9e0c7db32936fadcf3a61a23', 'http://127.0.0.1:45945/v1||', '{"rows": 5, "tries": 3, "arrived": 0, "capNanoUsd": 563625, "inputTokens": 270, "liveNanoUsd": 157500, "outputTokens": 195, "likelyNanoUsd": 78750, "answersCounted": 0}', 0, 0, '"public"."notes"', 16384, '6b363f4b598210679f80a556426f52b2', '763:763:', 'note_answers', NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-27 20:32:48.79312+00');
INSERT INTO rowmill.queue OVERRIDING SYSTEM VALUE VALUES (4, 1, NULL, '2026-11-27 20:33:03.21368+00', '2026-11-27 20:33:03.21368+00', DEFAULT, '{8,9}');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (8, '2026-11-27 20:33:03.21368+00', '2026-11-27 20:33:03.21368+00', NULL, 1, NULL, 0, NULL, NULL, 0, 0, 'waiting', NULL, false, false, false, false, NULL, NULL, NULL, NULL, NULL, NULL, '8');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (9, '2026-11-27 20:33:03.21368+00', '2026-11-27 20:33:03.21368+00', NULL, 1, NULL, 0, NULL, NULL, 0, 0, 'waiting', NULL, false, false, false, false, NULL, NULL, NULL, NULL, NULL, NULL, '9');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (1, '2026-11-27 20:32:48.825995+00', '2026-11-27 20:32:50.192607+00', NULL, 1, 1, 1, 1, NULL, 0, 0, 'succeeded', NULL, true, false, false, false, '\xdfaa114fe7bb1977b27c4a151c8d55b3', '\xf348c8c18aa1913f64a880acf0ef6325', '\xdfaa114fe7bb1977b27c4a151c8d55b3', '\xf348c8c18aa1913f64a880acf0ef6325', NULL, NULL, '1');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (2, '2026-11-27 20:32:48.825995+00', '2026-11-27 20:32:50.192607+00', NULL, 1, 1, 1, 1, NULL, 0, 0, 'succeeded', NULL, true, false, false, false, '\xdaf856fae87a2db1e811f50dce213658', '\x36a60d21c34b4648b34031408aa68d5f', '\xdaf856fae87a2db1e811f50dce213658', '\x36a60d21c34b4648b34031408aa68d5f', NULL, NULL, '2');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (4, '2026-11-27 20:32:48.825995+00', '2026-11-27 20:32:50.198473+00', NULL, 1, 1, 1, NULL, NULL, 0, 0, 'failed', NULL, true, false, false, false, '\xb39df82f1bc869514f57ea40ecdbdc06', '\x13643ae3e5df0b9941dcf54dc4153eea', NULL, NULL, 'permanent', 'The message asked for this error (400).', '4');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (3, '2026-11-27 20:32:48.825995+00', '2026-11-27 20:32:51.324719+00', NULL, 1, 2, 2, 2, NULL, 1, 0, 'succeeded', NULL, true, false, false, false, '\x35d0c30aba9b37713baf9e6fc7538847', '\xe9358206ab2792a5f2b0e0b7746d6cf6', '\x35d0c30aba9b37713baf9e6fc7538847', '\xe9358206ab2792a5f2b0e0b7746d6cf6', NULL, NULL, '3');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (5, '2026-11-27 20:32:48.825995+00', '2026-11-27 20:32:52.410368+00', NULL, 1, 1, 1, 1, NULL, 0, 0, 'gone', 'succeeded', true, false, false, false, '\xc9544ffa65527e56d3a4bd996f305b3d', '\x3796abff78cf087df18ca9ca8cd37f7b', '\xc9544ffa65527e56d3a4bd996f305b3d', '\x3796abff78cf087df18ca9ca8cd37f7b', NULL, NULL, '5');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (6, '2026-11-27 20:32:52.410368+00', '2026-11-27 20:32:56.381447+00', NULL, 1, 3, 1, NULL, NULL, 0, 0, 'batched', NULL, false, false, false, false, '\xfaee8ed819b901db0ff2e65f69d7006e', '\x8931f707b5c95fadedb6984f2d8d33fe', NULL, NULL, NULL, NULL, '6');
INSERT INTO rowmill.requests OVERRIDING SYSTEM VALUE VALUES (7, '2026-11-27 20:32:52.410368+00', '2026-11-27 20:32:56.381447+00', NULL, 1, 3, 1, NULL, NULL, 0, 0, 'batched', NULL, false, false, false, false, '\x144479e04ad122e372830bb71d2d88fb', '\xf65bdfe857487004e8989adf921814e3', NULL, NULL, NULL, NULL, '7');
INSERT INTO rowmill.sweeps VALUES (1, NULL, NULL, 'idle', NULL, 0, 0, '913e1ffc9e0c7db32936fadcf3a61a23', '913e1ffc9e0c7db32936fadcf3a61a23', 5, 5, '2026-11-27 20:32:48.819573+00', '2026-11-27 20:32:48.833385+00');
INSERT INTO rowmill.usage VALUES (1, NULL, '2026-11-27 20:00:00+00', 4, 1, 1, 48, 0, 33, 13500, 0, 0);
INSERT INTO rowmill_worker._private_job_queues OVERRIDING SYSTEM VALUE VALUES (1, 'batch:48f7daea-2031-40da-b8a1-c0046e421238', NULL, NULL, DEFAULT);
INSERT INTO rowmill_worker._private_job_queues OVERRIDING SYSTEM VALUE VALUES (5, 'batch:1343a4dd-583e-461a-8f53-0a9d3df9f512', NULL, NULL, DEFAULT);
INSERT INTO rowmill_worker._private_job_queues OVERRIDING SYSTEM VALUE VALUES (9, 'batch:82a1fe47-a612-4f51-8c7d-e99879610807', NULL, NULL, DEFAULT);
INSERT INTO rowmill_worker._private_jobs OVERRIDING SYSTEM VALUE VALUES (9, 9, 1, '{"batchId" : "82a1fe47-a612-4f51-8c7d-e99879610807"}', 0, '2026-11-27 20:33:11.34295+00', 0, 25, NULL, '2026-11-27 20:32:56.327041+00', '2026-11-27 20:33:10.944814+00', 'batch:82a1fe47-a612-4f51-8c7d-e99879610807', NULL, NULL, 2, NULL, DEFAULT);
INSERT INTO rowmill_worker._private_tasks OVERRIDING SYSTEM VALUE VALUES (1, 'batch');
INSERT INTO rowmill_worker.migrations VALUES (1, '2026-11-27 20:32:48.73021+00', true);
INSERT INTO rowmill_worker.migrations VALUES (2, '2026-11-27 20:32:48.736005+00', false);
INSERT INTO rowmill_worker.migrations VALUES (3, '2026-11-27 20:32:48.738215+00', true);
INSERT INTO rowmill_worker.migrations VALUES (4, '2026-11-27 20:32:48.739989+00', false);
INSERT INTO rowmill_worker.migrations VALUES (5, '2026-11-27 20:32:48.741167+00', false);
INSERT INTO rowmill_worker.migrations VALUES (6, '2026-11-27 20:32:48.742468+00', false);
INSERT INTO rowmill_worker.migrations VALUES (7, '2026-11-27 20:32:48.743898+00', false);
INSERT INTO rowmill_worker.migrations VALUES (8, '2026-11-27 20:32:48.745015+00', false);
INSERT INTO rowmill_worker.migrations VALUES (9, '2026-11-27 20:32:48.746906+00', false);
INSERT INTO rowmill_worker.migrations VALUES (10, '2026-11-27 20:32:48.747769+00', false);
INSERT INTO rowmill_worker.migrations VALUES (11, '2026-11-27 20:32:48.748361+00', true);
INSERT INTO rowmill_worker.migrations VALUES (12, '2026-11-27 20:32:48.761754+00', false);
INSERT INTO rowmill_worker.migrations VALUES (13, '2026-11-27 20:32:48.762662+00', true);
INSERT INTO rowmill_worker.migrations VALUES (14, '2026-11-27 20:32:48.763889+00', true);
INSERT INTO rowmill_worker.migrations VALUES (15, '2026-11-27 20:32:48.764867+00', false);
INSERT INTO rowmill_worker.migrations VALUES (16, '2026-11-27 20:32:48.765575+00', true);
INSERT INTO rowmill_worker.migrations VALUES (17, '2026-11-27 20:32:48.767172+00', false);
INSERT INTO rowmill_worker.migrations VALUES (18, '2026-11-27 20:32:48.768389+00', false);
INSERT INTO rowmill_worker.migrations VALUES (19, '2026-11-27 20:32:48.769583+00', true);
SELECT pg_catalog.setval('rowmill.batch_events_id_seq', 14, true);
SELECT pg_catalog.setval('rowmill.batches_no_seq', 3, true);
SELECT pg_catalog.setval('rowmill.delivery_fences', 1, false);
SELECT pg_catalog.setval('rowmill.pipeline_events_id_seq', 2, true);
SELECT pg_catalog.setval('rowmill.pipelines_id_seq', 3, true);
SELECT pg_catalog.setval('rowmill.queue_no_seq', 4, true);
SELECT pg_catalog.setval('rowmill.requests_id_seq', 9, true);
SELECT pg_catalog.setval('rowmill.result_chunks_no_seq', 1, false);
SELECT pg_catalog.setval('rowmill.tokens_id_seq', 1, false);
SELECT pg_catalog.setval('rowmill.tries_no_seq', 1, false);
SELECT pg_catalog.setval('rowmill_worker.job_queues_id_seq', 11, true);
SELECT pg_catalog.setval('rowmill_worker.jobs_id_seq1', 11, true);
SELECT pg_catalog.setval('rowmill_worker.tasks_id_seq', 12, true);
ALTER TABLE ONLY public.note_answers
    ADD CONSTRAINT note_answers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.notes
    ADD CONSTRAINT notes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.accepted_failures
    ADD CONSTRAINT accepted_failures_pkey PRIMARY KEY (pipeline_id, definition_hash, outcome);
ALTER TABLE ONLY rowmill.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (request_id, attempt);
ALTER TABLE ONLY rowmill.batch_events
    ADD CONSTRAINT batch_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.batches
    ADD CONSTRAINT batches_account_provider_batch_id_key UNIQUE (account, provider_batch_id);
ALTER TABLE ONLY rowmill.batches
    ADD CONSTRAINT batches_no_key UNIQUE (no);
ALTER TABLE ONLY rowmill.batches
    ADD CONSTRAINT batches_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.definitions
    ADD CONSTRAINT definitions_pipeline_id_version_key UNIQUE (pipeline_id, version);
ALTER TABLE ONLY rowmill.definitions
    ADD CONSTRAINT definitions_pkey PRIMARY KEY (pipeline_id, definition_hash);
ALTER TABLE ONLY rowmill.deliverers
    ADD CONSTRAINT deliverers_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY rowmill.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (pipeline_id, key);
ALTER TABLE ONLY rowmill.deployment
    ADD CONSTRAINT deployment_pkey PRIMARY KEY (one);
ALTER TABLE ONLY rowmill.duplicate_batches
    ADD CONSTRAINT duplicate_batches_pkey PRIMARY KEY (account, provider_batch_id);
ALTER TABLE ONLY rowmill.forgotten_rows
    ADD CONSTRAINT forgotten_rows_pkey PRIMARY KEY (pipeline_id, key_sha256);
ALTER TABLE ONLY rowmill.gone_versions
    ADD CONSTRAINT gone_versions_pkey PRIMARY KEY (pipeline, key_sha256);
ALTER TABLE ONLY rowmill.kept_answers
    ADD CONSTRAINT kept_answers_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY rowmill.learned_limits
    ADD CONSTRAINT learned_limits_pkey PRIMARY KEY (account, model);
ALTER TABLE ONLY rowmill.lines
    ADD CONSTRAINT lines_pkey PRIMARY KEY (batch, part);
ALTER TABLE ONLY rowmill.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY rowmill.named_lines
    ADD CONSTRAINT named_lines_pkey PRIMARY KEY (batch, request_id);
ALTER TABLE ONLY rowmill.output_sizes
    ADD CONSTRAINT output_sizes_pkey PRIMARY KEY (pipeline, definition_hash);
ALTER TABLE ONLY rowmill.pipeline_events
    ADD CONSTRAINT pipeline_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.pipelines
    ADD CONSTRAINT pipelines_name_key UNIQUE (name);
ALTER TABLE ONLY rowmill.pipelines
    ADD CONSTRAINT pipelines_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.push_digests
    ADD CONSTRAINT push_digests_pkey PRIMARY KEY (pipeline, token);
ALTER TABLE ONLY rowmill.queue
    ADD CONSTRAINT queue_pkey PRIMARY KEY (no);
ALTER TABLE ONLY rowmill.refused_keys
    ADD CONSTRAINT refused_keys_pkey PRIMARY KEY (pipeline_id, key_sha256);
ALTER TABLE ONLY rowmill.refused_pushes
    ADD CONSTRAINT refused_pushes_pkey PRIMARY KEY (pipeline, reason);
ALTER TABLE ONLY rowmill.replicas
    ADD CONSTRAINT replicas_pkey PRIMARY KEY (pipeline);
ALTER TABLE ONLY rowmill.requests
    ADD CONSTRAINT requests_pipeline_id_key_key UNIQUE (pipeline_id, key);
ALTER TABLE ONLY rowmill.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.result_chunks
    ADD CONSTRAINT result_chunks_pkey PRIMARY KEY (no);
ALTER TABLE ONLY rowmill.sweeps
    ADD CONSTRAINT sweeps_pkey PRIMARY KEY (pipeline_id);
ALTER TABLE ONLY rowmill.syncs
    ADD CONSTRAINT syncs_pkey PRIMARY KEY (pipeline);
ALTER TABLE ONLY rowmill.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);
ALTER TABLE ONLY rowmill.tokens
    ADD CONSTRAINT tokens_sha256_key UNIQUE (sha256);
ALTER TABLE ONLY rowmill.tries
    ADD CONSTRAINT tries_pkey PRIMARY KEY (no);
ALTER TABLE ONLY rowmill.try_answers
    ADD CONSTRAINT try_answers_pkey PRIMARY KEY (try, place);
ALTER TABLE ONLY rowmill.try_answers
    ADD CONSTRAINT try_answers_try_key_key UNIQUE (try, key);
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
CREATE INDEX attempts_by_batch ON rowmill.attempts USING brin (batch) WITH (pages_per_range='32', autosummarize='on');
CREATE INDEX attempts_failed ON rowmill.attempts USING btree (batch, at) WHERE (outcome = ANY (ARRAY['truncated'::text, 'invalid'::text, 'refused'::text]));
CREATE INDEX attempts_with_answer ON rowmill.attempts USING btree (at) WHERE (answer IS NOT NULL);
CREATE INDEX batch_events_by_batch ON rowmill.batch_events USING btree (batch_id, id);
CREATE INDEX batches_by_definition ON rowmill.batches USING btree (pipeline_id, definition_hash, settled_at);
CREATE INDEX batches_due ON rowmill.batches USING btree (next_at) WHERE (settled_at IS NULL);
CREATE UNIQUE INDEX batches_one_open_create ON rowmill.batches USING btree (account) WHERE (one_create AND (create_intent_at IS NOT NULL));
CREATE INDEX batches_unfinished ON rowmill.batches USING btree (pipeline_id) WHERE (settled_at IS NULL);
CREATE INDEX deliveries_refused ON rowmill.deliveries USING btree (pipeline_id, state) WHERE (state = ANY (ARRAY['stale'::text, 'failed'::text]));
CREATE INDEX deliveries_waiting ON rowmill.deliveries USING btree (pipeline_id, next_at, fence) WHERE (state = 'waiting'::text);
CREATE INDEX kept_answers_by_batch ON rowmill.kept_answers USING btree (batch, kept_at, request_id);
CREATE UNIQUE INDEX named_lines_by_name ON rowmill.named_lines USING btree (batch, custom_id) WHERE (NOT sharing);
CREATE INDEX named_lines_shared ON rowmill.named_lines USING btree (batch, custom_id) WHERE sharing;
CREATE INDEX queue_by_batch ON rowmill.queue USING btree (batch, no) WHERE (batch IS NOT NULL);
CREATE INDEX queue_by_turn ON rowmill.queue USING btree (pipeline_id, not_before, no) WHERE (batch IS NULL);
CREATE INDEX requests_of_demo ON rowmill.requests USING btree (pipeline_id, id) WHERE demo;
CREATE INDEX result_chunks_in_order ON rowmill.result_chunks USING btree (pipeline_id, era, xid, no);
CREATE INDEX tries_by_pipeline ON rowmill.tries USING btree (pipeline, no);
CREATE INDEX try_answers_with_text ON rowmill.try_answers USING btree (asked_at) WHERE ((prompt IS NOT NULL) OR (answer IS NOT NULL));
CREATE INDEX usage_by_hour ON rowmill.usage USING btree (hour);
CREATE INDEX usage_of_batch ON rowmill.usage USING btree (batch) WHERE (batch IS NOT NULL);
CREATE INDEX jobs_main_index ON rowmill_worker._private_jobs USING btree (priority, run_at) INCLUDE (id, task_id, job_queue_id) WHERE (is_available = true);
CREATE INDEX jobs_no_queue_index ON rowmill_worker._private_jobs USING btree (priority, run_at) INCLUDE (id, task_id) WHERE ((is_available = true) AND (job_queue_id IS NULL));
CREATE TRIGGER rowmill_1_delete AFTER DELETE ON public.notes REFERENCING OLD TABLE AS rowmill_old FOR EACH STATEMENT EXECUTE FUNCTION rowmill.arrive_1();
CREATE TRIGGER rowmill_1_insert AFTER INSERT ON public.notes REFERENCING NEW TABLE AS rowmill_new FOR EACH STATEMENT EXECUTE FUNCTION rowmill.arrive_1();
CREATE TRIGGER rowmill_1_truncate AFTER TRUNCATE ON public.notes FOR EACH STATEMENT EXECUTE FUNCTION rowmill.arrive_1();
CREATE TRIGGER rowmill_1_update AFTER UPDATE ON public.notes REFERENCING OLD TABLE AS rowmill_old NEW TABLE AS rowmill_new FOR EACH STATEMENT EXECUTE FUNCTION rowmill.arrive_1();
ALTER TABLE ONLY rowmill.accepted_failures
    ADD CONSTRAINT accepted_failures_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.batch_events
    ADD CONSTRAINT batch_events_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES rowmill.batches(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.batches
    ADD CONSTRAINT batches_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id);
ALTER TABLE ONLY rowmill.definitions
    ADD CONSTRAINT definitions_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.deliverers
    ADD CONSTRAINT deliverers_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.forgotten_rows
    ADD CONSTRAINT forgotten_rows_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.pipeline_events
    ADD CONSTRAINT pipeline_events_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.refused_keys
    ADD CONSTRAINT refused_keys_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.sweeps
    ADD CONSTRAINT sweeps_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES rowmill.pipelines(id) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.syncs
    ADD CONSTRAINT syncs_pipeline_fkey FOREIGN KEY (pipeline) REFERENCES rowmill.replicas(pipeline) ON DELETE CASCADE;
ALTER TABLE ONLY rowmill.try_answers
    ADD CONSTRAINT try_answers_try_fkey FOREIGN KEY (try) REFERENCES rowmill.tries(no) ON DELETE CASCADE;
ALTER TABLE public.note_answers ENABLE ROW LEVEL SECURITY;
ALTER TABLE rowmill_worker._private_job_queues ENABLE ROW LEVEL SECURITY;
ALTER TABLE rowmill_worker._private_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE rowmill_worker._private_known_crontabs ENABLE ROW LEVEL SECURITY;
ALTER TABLE rowmill_worker._private_tasks ENABLE ROW LEVEL SECURITY;
