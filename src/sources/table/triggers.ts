/**
 * The triggers that append keys to `rowmill.arrivals`, and nothing else. They run inside a user's write, so they must not
 * raise, block or slow it down: no counting, no HTTP, no index, no look at any table but the statement's own rows.
 *
 * Installing and removing happens in one transaction with a short lock time-out, again and again for a bounded while: a trigger
 * waiting behind an open writer would stop all writers after it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { RowmillError } from "../../model/errors.js";
import {
  DatabaseError,
  isConflict,
  quoteIdentifier,
  raw,
  sql,
  type Database,
  type Queryable,
} from "../../postgres/database.js";
import type { SourceTable } from "./inspection.js";
import {
  TRIGGER_VERSION,
  triggerFunctionName,
  triggerFunctionText,
  type TriggerOptions,
} from "./trigger-function.js";

export type { TriggerOptions };

const LOCK_TIMEOUT_MS = 2_000;
const INSTALL_TRIES = 15;
const INSTALL_PAUSE_MS = 1_000;
/** Owns the function: may insert arrivals, and nothing else in the whole database. */
export const ARRIVALS_ROLE = "rowmill_arrivals";
const INSUFFICIENT_PRIVILEGE = "42501";
const EVENTS = ["INSERT", "UPDATE", "DELETE", "TRUNCATE"] as const;

export interface Grants {
  /** True: by the time the statements run, somebody has given the user the arrivals role. */
  readonly roleGranted?: boolean;
}

/**
 * Puts the triggers on the table and its partitions, in place of any of this pipeline's that were anywhere before. Repeatable.
 * Returns a snapshot taken while no writer was under way: the rows that it sees were there before.
 */
export async function installTriggers(
  database: Database,
  table: SourceTable,
  options: TriggerOptions & Grants,
): Promise<string> {
  const role = await ensureArrivalsRole(database, options);
  return withShortLocks(`put its triggers on ${table.qualified}`, () =>
    database.transaction(
      async (tx) => {
        const wanted = wantedTriggers(table, options.pipelineId);
        const kept = await keepTriggers(tx, wanted, options.pipelineId);
        await tx.run(raw(triggerFunctionText(table, options)));
        for (const [place, text] of wanted)
          await tx.run(raw(`${kept.has(place) ? "create or replace" : "create"} ${text}`));
        await handOver(tx, options.pipelineId, role);
        const row = await tx.first<{ snapshot: string }>(sql`select pg_current_snapshot()::text as snapshot`);
        return row?.snapshot ?? "";
      },
      { lockTimeoutMs: LOCK_TIMEOUT_MS },
    ),
  );
}

export async function removeTriggers(database: Database, pipelineId: number): Promise<void> {
  await withShortLocks("remove its triggers", () =>
    database.transaction((tx) => dropTriggers(tx, pipelineId), { lockTimeoutMs: LOCK_TIMEOUT_MS }),
  );
}

/**
 * Everything that the installed triggers were made for, in one word: columns and their types, relations, triggers, their state.
 * Another word than at the last installation: install and sweep again.
 */
export async function triggerSignature(
  client: Queryable,
  table: SourceTable,
  options: TriggerOptions,
): Promise<string> {
  const oids = table.relations.map((relation) => relation.oid);
  const row = await client.first<{ signature: string }>(sql`
    select md5(concat_ws('|', ${TRIGGER_VERSION}::int, ${JSON.stringify([table.oid, table.key, table.columns, oids, options.wholeRow])}::text,
      (select concat_ws(',', md5(p.prosrc), p.prosecdef, p.proconfig::text, p.proowner) from pg_catalog.pg_proc p
       where p.oid = to_regproc(${`rowmill.${triggerFunctionName(options.pipelineId)}`})),
      (select string_agg(concat_ws(',', t.tgrelid, t.tgname, t.tgenabled), ';' order by t.tgrelid, t.tgname)
       from pg_catalog.pg_trigger t where t.tgfoid = to_regproc(${`rowmill.${triggerFunctionName(options.pipelineId)}`})))) as signature`);
  return row?.signature ?? "";
}

async function withShortLocks<T>(what: string, work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!isConflict(error)) throw error;
      if (tries === INSTALL_TRIES) {
        throw new RowmillError(
          "database_timeout",
          `Rowmill could not ${what}: other sessions hold locks on the table.`,
          {
            cause: error,
            hints: [
              "Look for long transactions: select pid, state, xact_start, query from pg_stat_activity order by xact_start;",
            ],
          },
        );
      }
      await sleep(INSTALL_PAUSE_MS);
    }
  }
}

/**
 * The role's name; null where it cannot be made, or belongs to somebody who did not let this user have it: then the current user
 * owns the function, who must not be a superuser.
 */
async function ensureArrivalsRole(database: Database, { roleGranted }: Grants): Promise<string | null> {
  const now = { ...(await roleFacts(database)), ...(roleGranted ? { exists: true, member: true } : {}) };
  if (!now.exists && !now.mayCreate) return null;
  if (!now.exists) await createRole(database);
  const role = quoteIdentifier(ARRIVALS_ROLE);
  try {
    await database.transaction(async (tx) => {
      if (!now.superuser && !now.member) await tx.run(raw(`grant ${role} to current_user`));
      await tx.run(raw(`grant usage on schema rowmill to ${role}`));
      await tx.run(raw(`grant insert on rowmill.arrivals to ${role}`));
    });
    return ARRIVALS_ROLE;
  } catch (error) {
    if (error instanceof DatabaseError && error.sqlState === INSUFFICIENT_PRIVILEGE) return null;
    throw error;
  }
}

async function roleFacts(
  client: Queryable,
): Promise<{ exists: boolean; mayCreate: boolean; superuser: boolean; member: boolean }> {
  const row = await client.first<{
    exists: boolean;
    mayCreate: boolean;
    superuser: boolean;
    member: boolean;
  }>(sql`
    select exists (select 1 from pg_catalog.pg_roles where rolname = ${ARRIVALS_ROLE}) as exists,
      r.rolsuper or r.rolcreaterole as "mayCreate", r.rolsuper as superuser,
      coalesce((select pg_has_role(r.oid, a.oid, case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end) from pg_catalog.pg_roles a where a.rolname = ${ARRIVALS_ROLE}), false) as member
    from pg_catalog.pg_roles r where r.rolname = current_user`);
  return row ?? { exists: false, mayCreate: false, superuser: false, member: false };
}

/** Two processes may get here at once; the loser finds the role made. */
async function createRole(database: Database): Promise<void> {
  await database.run(
    raw(`do $$ begin
    create role ${quoteIdentifier(ARRIVALS_ROLE)} nologin noinherit;
  exception when duplicate_object or unique_violation then null; end $$`),
  );
}

/** The function's owner becomes the role that may do nothing else; nobody may call the function or attach it elsewhere. */
async function handOver(tx: Queryable, pipelineId: number, role: string | null): Promise<void> {
  const name = `rowmill.${triggerFunctionName(pipelineId)}()`;
  await tx.run(raw(`revoke execute on function ${name} from public`));
  if (role === null) return refuseSuperuserOwner(tx);
  const quoted = quoteIdentifier(role);
  // A new owner needs CREATE on the schema at this moment, and never again.
  await tx.run(raw(`grant create on schema rowmill to ${quoted}`));
  await tx.run(raw(`alter function ${name} owner to ${quoted}`));
  await tx.run(raw(`revoke create on schema rowmill from ${quoted}`));
}

async function refuseSuperuserOwner(tx: Queryable): Promise<void> {
  const row = await tx.first<{ superuser: boolean }>(
    sql`select rolsuper as superuser from pg_catalog.pg_roles where rolname = current_user`,
  );
  if (row?.superuser)
    throw new RowmillError(
      "database_refused",
      "A trigger function must not belong to a superuser, and the role rowmill_arrivals could not be made.",
    );
}

/**
 * The triggers that stay to be replaced, which takes no more than the right to put triggers on a table, and lets its readers go on.
 * Where there are others (on a table that left, under another name), or where the function is somebody's whom we may not act for,
 * all of them go and none stays.
 */
async function keepTriggers(
  tx: Queryable,
  wanted: ReadonlyMap<string, string>,
  pipelineId: number,
): Promise<ReadonlySet<string>> {
  const found = await tx.rows<{ owned: boolean; oid: string | null; name: string | null }>(sql`
    select pg_has_role(p.proowner, 'USAGE') as owned, t.tgrelid::int8::text as oid, t.tgname as name
    from pg_catalog.pg_proc p left join pg_catalog.pg_trigger t on t.tgfoid = p.oid
    where p.oid = to_regproc(${`rowmill.${triggerFunctionName(pipelineId)}`})`);
  const places = found.flatMap(({ oid, name }) => (oid === null || name === null ? [] : placeOf(oid, name)));
  if (found.every(({ owned }) => owned) && places.every((place) => wanted.has(place))) return new Set(places);
  await dropTriggers(tx, pipelineId);
  return new Set();
}

/** With the function, whose owner or schema's owner may do so: a trigger alone only its table's owner may drop. */
async function dropTriggers(tx: Queryable, pipelineId: number): Promise<void> {
  await tx.run(raw(`drop function if exists rowmill.${triggerFunctionName(pipelineId)}() cascade`));
}

/** By place, each as what follows `create`. Without `or replace` a trigger of that name that is somebody's own is left alone. */
function wantedTriggers(table: SourceTable, pipelineId: number): ReadonlyMap<string, string> {
  return new Map(
    table.relations.flatMap(({ oid, qualified }) =>
      EVENTS.map((event) => {
        const name = `rowmill_${pipelineId}_${event.toLowerCase()}`;
        const rows = TRANSITION_TABLES[event];
        return [
          placeOf(String(oid), name),
          `trigger ${quoteIdentifier(name)} after ${event} on ${qualified} ${rows} for each statement execute function rowmill.${triggerFunctionName(pipelineId)}()`,
        ] as const;
      }),
    ),
  );
}

const TRANSITION_TABLES = {
  INSERT: "referencing new table as rowmill_new",
  UPDATE: "referencing old table as rowmill_old new table as rowmill_new",
  DELETE: "referencing old table as rowmill_old",
  TRUNCATE: "",
} as const;

function placeOf(relationOid: string, trigger: string): string {
  return `${relationOid} ${trigger}`;
}
