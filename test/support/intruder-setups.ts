/**
 * Tables that a worker would write to, with code in them that somebody else can change: what is in the schema
 * `intruder` belongs to the role INTRUDER, everything else to the worker. Each function there notes in
 * `intruder.calls` that it ran. An immutable function may write nothing itself, but what it calls may.
 */
export interface IntruderSetup {
  /** Makes `labels` (id, summary), or adds to the source `texts`. */
  readonly sql: string;
  /** Without the `target: writing to … would run …` before it. */
  readonly says: string;
  /** Where the answers go. Default: `labels`. */
  readonly target?: "texts";
  /** Nothing of it runs at a write yet: its owner may put something there. */
  readonly idle?: true;
}

/** Before each of them. */
export const intruderObjects = `
  create schema intruder;
  grant usage on schema intruder to public;
  create table intruder.calls (name text);
  create function intruder.notes(name text) returns void language plpgsql as $$
    begin insert into intruder.calls values (name); end $$;
  create function intruder.fires() returns trigger language plpgsql as $$ begin
    perform intruder.notes('trigger'); return new; end $$;
  create function intruder.accepts(value text) returns boolean immutable language plpgsql as $$ begin
    perform intruder.notes('check'); return true; end $$;
  create function intruder.gives(value text) returns text immutable language plpgsql as $$ begin
    perform intruder.notes('value'); return value; end $$;
  create function intruder.compares(a int, b int) returns int immutable language plpgsql as $$ begin
    perform intruder.notes('comparison'); return case when a < b then -1 when a = b then 0 else 1 end; end $$;
  create function intruder.equals(a int, b int) returns boolean immutable language plpgsql as $$ begin
    perform intruder.notes('equality'); return a = b; end $$;
  create function intruder.hashes(a int) returns int immutable language plpgsql as $$ begin
    perform intruder.notes('hash'); return a; end $$;
  alter function intruder.fires() owner to INTRUDER;
  alter function intruder.accepts(text) owner to INTRUDER;
  alter function intruder.gives(text) owner to INTRUDER;
  alter function intruder.compares(int, int) owner to INTRUDER;
  alter function intruder.equals(int, int) owner to INTRUDER;
  alter function intruder.hashes(int) owner to INTRUDER;
  create function public.passes() returns trigger language plpgsql as $$ begin return new; end $$;
  create table texts (id int primary key, body text, summary text);
  insert into texts values (1, 'One text.'), (2, 'Another text.');`;

const labels = "create table labels (id int primary key, summary text);";
const owned = (what: string, via: string) => `the ${what}, which the ${via} uses, belongs to "INTRUDER"`;
const fires = (via: string) => owned("function intruder.fires()", via);
const accepts = (via: string) => owned("function intruder.accepts(pg_catalog.text)", via);
const gives = (via: string) => owned("function intruder.gives(pg_catalog.text)", via);
const integers = "integer,integer";

/** By what is somebody else's. */
export const intruderSetups: Readonly<Record<string, IntruderSetup>> = {
  "the table itself": {
    sql: `${labels} alter table labels owner to INTRUDER;`,
    says: `the table public.labels belongs to "INTRUDER"`,
    idle: true,
  },
  "a partition": {
    sql: `create table labels (id int primary key, summary text) partition by hash (id);
      create table labels_0 partition of labels for values with (modulus 1, remainder 0);
      alter table labels_0 owner to INTRUDER;`,
    says: `the table public.labels_0 belongs to "INTRUDER"`,
    idle: true,
  },
  "a table whose partition the target is": {
    sql: `create table all_labels (id int, summary text) partition by list (intruder.gives('x' || id % 1));
      create table labels partition of all_labels for values in ('x0');
      alter table labels add primary key (id);`,
    says: gives("table public.all_labels"),
  },
  "a table that an answer is copied into by its foreign key": {
    sql: `${labels} alter table labels add unique (summary);
      create table public.copies (summary text references labels (summary) on update cascade);
      alter table public.copies owner to INTRUDER;`,
    says: `the table public.copies belongs to "INTRUDER"`,
    idle: true,
  },
  "extended statistics": {
    sql: `${labels} create statistics public.s (ndistinct) on (intruder.gives(summary)), id from labels;`,
    says: gives("statistics object public.s"),
    idle: true,
  },
  "a trigger's function": {
    sql: `${labels} create trigger t before insert on labels for each row execute function intruder.fires();`,
    says: fires("trigger t on public.labels"),
  },
  "a constraint trigger that waits for the commit": {
    sql: `${labels} create constraint trigger late after insert on labels deferrable initially deferred
      for each row execute function intruder.fires();`,
    says: fires("trigger late on public.labels"),
  },
  "a statement trigger that always fires": {
    sql: `${labels} create trigger t after update on labels execute function intruder.fires();
      alter table labels enable always trigger t;`,
    says: fires("trigger t on public.labels"),
  },
  "the condition of a trigger": {
    sql: `${labels} create trigger t before insert on labels for each row when (intruder.accepts(new.summary))
      execute function passes();`,
    says: accepts("trigger t on public.labels"),
  },
  "a trigger on a partition of a partition": {
    sql: `create table labels (id int primary key, summary text) partition by hash (id);
      create table labels_0 partition of labels for values with (modulus 1, remainder 0) partition by hash (id);
      create table labels_00 partition of labels_0 for values with (modulus 1, remainder 0);
      create trigger t before insert on labels_00 for each row execute function intruder.fires();`,
    says: fires("trigger t on public.labels_00"),
  },
  "a trigger on a source that is the target": {
    target: "texts",
    sql: `create trigger t before update on texts for each row execute function intruder.fires();`,
    says: fires("trigger t on public.texts"),
  },
  "a check": {
    sql: `${labels} alter table labels add constraint c check (intruder.accepts(summary));`,
    says: accepts("table constraint c on public.labels"),
  },
  "the function of an operator in a check": {
    sql: `create operator public.=== (leftarg = int, rightarg = int, function = intruder.equals);
      ${labels} alter table labels add constraint c check (id operator(public.===) id);`,
    says: owned(`function intruder.equals(${integers})`, "table constraint c on public.labels"),
  },
  "the function of a cast in a check": {
    sql: `create type public.shade as (n int);
      create function intruder.casts(shade) returns boolean immutable language plpgsql as $$ begin
        perform intruder.notes('cast'); return true; end $$;
      alter function intruder.casts(shade) owner to INTRUDER;
      create cast (shade as boolean) with function intruder.casts(shade);
      ${labels} alter table labels add constraint c check (row(id)::shade::boolean);`,
    says: owned("function intruder.casts(public.shade)", "table constraint c on public.labels"),
  },
  "what a function in a check calls, where its body is parsed": {
    sql: `create function public.calls(value text) returns boolean immutable begin atomic
      select intruder.accepts(value); end;
      ${labels} alter table labels add constraint c check (calls(summary));`,
    says: accepts("table constraint c on public.labels"),
  },
  "a default": {
    sql: `${labels} alter table labels add column note text default intruder.gives('x');`,
    says: gives("default value for public.labels.note"),
  },
  "a generated column": {
    sql: `${labels} alter table labels add column note text generated always as (intruder.gives(summary)) stored;`,
    says: gives("default value for public.labels.note"),
  },
  "an enum, whose owner may define a cast of text to it": {
    sql: `create type intruder.mood as enum ('calm'); alter type intruder.mood owner to INTRUDER;
      ${labels} alter table labels add column felt intruder.mood;`,
    says: owned("type intruder.mood", "table column public.labels.felt"),
    idle: true,
  },
  "the check of a domain": {
    sql: `create domain public.short as text check (intruder.accepts(value));
      create table labels (id int primary key, summary short);`,
    says: accepts("table column public.labels.summary"),
  },
  "the check of a domain below a domain": {
    sql: `create domain public.short as text check (intruder.accepts(value)); create domain public.shorter as short;
      create table labels (id int primary key, summary shorter);`,
    says: accepts("table column public.labels.summary"),
  },
  "the check of a domain inside of an array of composites": {
    sql: `create domain public.short as text check (intruder.accepts(value)); create type public.pair as (a short);
      ${labels} alter table labels add column pairs pair[] default array[row('x')::pair];`,
    says: accepts("table column public.labels.pairs"),
  },
  "the default of a domain": {
    sql: `create domain public.short as text default intruder.gives('x');
      ${labels} alter table labels add column note short;`,
    says: gives("default value for public.labels.note"),
  },
  "a domain": {
    sql: `create domain public.short as text; alter domain short owner to INTRUDER;
      create table labels (id int primary key, summary short);`,
    says: owned("type public.short", "table column public.labels.summary"),
    idle: true,
  },
  "the expression of an index": {
    sql: `${labels} create index i on labels (intruder.gives(summary));`,
    says: gives("index public.i"),
  },
  "the predicate of an index": {
    sql: `${labels} create index i on labels (summary) where intruder.accepts(summary);`,
    says: accepts("index public.i"),
  },
  "the function of an operator class": {
    sql: `create operator class public.odd for type int
      using btree as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >,
        function 1 intruder.compares(int, int);
      ${labels} create index i on labels (id public.odd);`,
    says: owned(`function intruder.compares(${integers})`, "index public.i"),
  },
  "the operator of an exclusion constraint": {
    sql: `create operator public.=== (leftarg = int, rightarg = int, function = intruder.equals,
      commutator = operator(public.===));
      create function public.alike(a int) returns int immutable language sql as 'select 0';
      create operator class public.odd for type int using hash as operator 1 public.===, function 1 public.alike(int);
      ${labels} alter table labels add constraint c exclude using hash (id public.odd with operator(public.===));`,
    says: owned(`function intruder.equals(${integers})`, "index public.c"),
  },
  "a rule's own function, and the table that it writes to": {
    target: "texts",
    sql: `create table public.log (id int, note text); alter table log owner to INTRUDER;
      create rule r as on update to texts do also insert into log values (new.id, intruder.gives('x'));`,
    says: `${gives("rule r on public.texts")}; ${owned("table public.log", "rule r on public.texts")}`,
  },
};
