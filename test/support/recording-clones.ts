/**
 * A schema `evil` with a namesake of everything in pg_catalog: each function, aggregate, operator, type and relation,
 * with exactly the same signature. Each call is noted in the server's log, also where the error that follows is
 * caught, and raises.
 *
 * Functions that take `"any"` and the like can be written in no language but the server's own: these only raise
 * (`cannot accept a value of type any`), which the log shows unless it is caught. Left out is what no statement of
 * ours can name by mistake: ordered-set aggregates, functions over `internal`, and the input functions of
 * pseudo-types.
 */
import pg from "pg";

const marks = ["TAKEN FROM evil", "cannot accept a value of type any"] as const;

/** The server must have `logging_collector = on`. */
export async function plantClones(url: string): Promise<{ clones: number; skipped: readonly string[] }> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("set search_path = pg_catalog");
    await client.query(setup);
    for (const part of parts) await client.query(part);
    const { rows } = await client.query<{ what: string }>("select what from evil.skipped order by what");
    const made = await client.query<{ count: number }>(
      "select (select count(*) from pg_proc where pronamespace = 'evil'::regnamespace)::int as count",
    );
    return { clones: made.rows[0]?.count ?? 0, skipped: rows.map((row) => row.what) };
  } finally {
    await client.end();
  }
}

/** Lines of the log since the server's start that report a call, each with what followed it. */
export async function recordedCalls(url: string): Promise<readonly string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ log: string }>(
      "select pg_catalog.pg_read_file(pg_catalog.pg_current_logfile()) as log",
    );
    const lines = (rows[0]?.log ?? "").split("\n");
    return lines.flatMap((line, index) =>
      marks.some((mark) => line.includes(mark)) ? [lines.slice(index, index + 6).join("\n")] : [],
    );
  } finally {
    await client.end();
  }
}

const setup = `
create schema evil;
create table evil.skipped (what text);
create function evil.trap(what text) returns boolean language plpgsql as $$
begin
  raise log 'TAKEN FROM evil: %', what;
  raise exception 'taken from evil: %', what;
end $$;
create function evil.make(what text, statement text, other text default null) returns void language plpgsql as $$
begin
  execute statement;
exception when others then
  if other is null then
    insert into evil.skipped values (what || ': ' || sqlerrm);
  else
    perform evil.make(what, other);
  end if;
end $$;`;

/** What stands behind a clone: the log has its name. */
const body = (what: string): string =>
  `format('language plpgsql as %L', format('begin perform evil.trap(%L); end', ${what}))`;
const raising = "'language internal as ''any_in'''";

const parts = [
  // Operators before types: the types of their operands are named as the session's path finds them.
  `select evil.make(o.oid::regoperator::text,
    format('create function evil.op_%s(%s) returns %s %s', o.oid, operands, format_type(o.oprresult, null),
      ${body("o.oid::regoperator::text")}),
    format('create function evil.op_%s(%s) returns %s %s', o.oid, operands, format_type(o.oprresult, null),
      ${raising})),
    evil.make(o.oid::regoperator::text, format('create operator evil.%s (function = evil.op_%s, %s)', o.oprname,
      o.oid, sides))
  from pg_operator o cross join lateral (select
    concat_ws(', ', case when o.oprleft <> 0 then format_type(o.oprleft, null) end,
      case when o.oprright <> 0 then format_type(o.oprright, null) end) as operands,
    concat_ws(', ', case when o.oprleft <> 0 then 'leftarg = ' || format_type(o.oprleft, null) end,
      case when o.oprright <> 0 then 'rightarg = ' || format_type(o.oprright, null) end) as sides) s
  where o.oprnamespace = 'pg_catalog'::regnamespace`,
  `select evil.make(p.oid::regprocedure::text,
    format('create function evil.%I(%s) returns %s %s', p.proname, arguments, result,
      case when p.prokind = 'w' then ${raising} || ' window' else ${body("p.oid::regprocedure::text")} end),
    format('create function evil.%I(%s) returns %s %s', p.proname, arguments, result, ${raising}))
  from pg_proc p cross join lateral (select
    (select string_agg(case when t.n = array_length(p.proargtypes::oid[], 1)
      and p.provariadic <> 0 then 'variadic ' else '' end || format_type(t.type, null), ', ' order by t.n)
     from unnest(p.proargtypes::oid[]) with ordinality t (type, n)) as arguments,
    case when p.proretset then 'setof ' else '' end || format_type(p.prorettype, null) as result) s
  where p.pronamespace = 'pg_catalog'::regnamespace and (p.prokind = 'f' or p.prokind = 'w')
    and not ('internal'::regtype = any(p.proargtypes::oid[]))
      and p.prorettype not in ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)`,
  `select evil.make(p.oid::regprocedure::text,
      format('create function evil.step_%s(%s) returns text %s', p.oid, concat_ws(', ', 'text', arguments),
        ${body("p.oid::regprocedure::text")}),
      format('create function evil.step_%s(%s) returns text %s', p.oid, concat_ws(', ', 'text', arguments),
        ${raising})),
    evil.make(p.oid::regprocedure::text, format('create aggregate evil.%I(%s) (sfunc = evil.step_%s, stype = text)',
      p.proname, coalesce(arguments, '*'), p.oid))
  from pg_proc p join pg_aggregate a on a.aggfnoid = p.oid and a.aggkind = 'n' cross join lateral (select
    (select string_agg(case when t.n = array_length(p.proargtypes::oid[], 1)
      and p.provariadic <> 0 then 'variadic ' else '' end || format_type(t.type, null), ', ' order by t.n)
     from unnest(p.proargtypes::oid[]) with ordinality t (type, n)) as arguments) s
  where p.pronamespace = 'pg_catalog'::regnamespace`,
  `select evil.make(c.relname, format('create view evil.%I as select * from pg_catalog.%I where evil.trap(%L)',
    c.relname, c.relname, 'relation ' || c.relname),
    format('create view evil.%I as select true as anything where evil.trap(%L)', c.relname, 'relation ' || c.relname))
  from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v')`,
  // A view made the type of its row already.
  `select evil.make(t.typname, format('create domain evil.%I as pg_catalog.%I check (evil.trap(%L))', t.typname,
    t.typname, 'type ' || t.typname))
  from pg_type t where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype in ('b', 'e', 'r')
    and t.typcategory <> 'A'`,
  "grant usage on schema evil to public",
  "grant select on all tables in schema evil to public",
];
