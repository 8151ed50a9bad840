/**
 * The triggers that append keys to `rowmill.arrivals`, and nothing else. They run inside a user's write, so they must
 * not raise, block or slow it down: no counting, no HTTP, no index, no look at any table but the statement's own rows.
 *
 * Installing and removing happens in one transaction with a short lock time-out, again and again for a bounded while: a
 * trigger waiting behind an open writer would stop all writers after it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import {
  DatabaseError,
  isConflict,
  quoteIdentifier,
  raw,
  sql,
  type Database,
  type Queryable,
  type Reader,
} from "../../postgres/database.js";
import { LONG_TRANSACTIONS } from "../../postgres/failure.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { SourceTable } from "./inspection.js";
import { TRIGGER_VERSION, triggerFunctionName, triggerFunctionText, type TriggerOptions } from "./trigger-function.js";

export type { TriggerOptions };

const LOCK_TIMEOUT_MS = 2_000;
const INSTALL_TRIES = 15;
const INSTALL_PAUSE_MS = 1_000;
/** Owns the function: may insert arrivals, and nothing else in the whole database. */
export const ARRIVALS_ROLE = "rowmill_arrivals";
const INSUFFICIENT_PRIVILEGE = "42501";
const EVENTS = ["INSERT", "UPDATE", "DELETE", "TRUNCATE"] as const;

/**
 * Puts the triggers on the table and its partitions, in place of any of this pipeline's that were anywhere before.
 * Repeatable. Returns a snapshot taken while no writer was under way: the rows that it sees were there before.
 */
export async function installTriggers(
  database: Database,
  table: SourceTable,
  options: TriggerOptions,
): Promise<string> {
  const ownedByRole = await ensureArrivalsRole(database);
  return withShortLocks(`put its triggers on ${table.qualified}`, () =>
    database.transaction(
      async (tx) => {
        if (!ownedByRole) await refuseSuperuserOwner(tx);
        const found = await findTriggers(tx, options.pipelineId);
        for (const statement of triggerStatements(table, options, { found, ownedByRole })) await tx.run(raw(statement));
        return (await tx.value<string>(sql`select pg_current_snapshot()::text`)) ?? "";
      },
      { lockTimeoutMs: LOCK_TIMEOUT_MS },
    ),
  );
}

/** What `installTriggers` would run. `roleGranted`: assume that the user has the arrivals role. */
export async function installationStatements(
  client: Reader,
  table: SourceTable,
  options: TriggerOptions & { readonly roleGranted: boolean },
): Promise<readonly string[]> {
  const facts = await roleFacts(client);
  const role = roleStatements(options.roleGranted ? { ...facts, exists: true, member: true } : facts);
  if (role === null) await refuseSuperuserOwner(client);
  const found = await findTriggers(client, options.pipelineId);
  const made = { found, ownedByRole: role !== null };
  return [...(role?.create ?? []), ...(role?.grants ?? []), ...triggerStatements(table, options, made)];
}

export async function removeTriggers(database: Database, pipelineId: number): Promise<void> {
  await withShortLocks("remove its triggers", () =>
    database.transaction((tx) => tx.run(raw(dropStatement(pipelineId))), { lockTimeoutMs: LOCK_TIMEOUT_MS }),
  );
}

export function triggerOptions(config: PipelineConfig, pipelineId: number): TriggerOptions {
  return { pipelineId, wholeRow: config.source.where !== null || config.source.replica !== null };
}

/** True: the next `up` makes none, and needs no right to do so. */
export async function triggersInPlace(client: Queryable, config: PipelineConfig, table: SourceTable): Promise<boolean> {
  if (!(await overview.ledgerExists(client))) return false;
  const row = (await pipelines.all(client)).find(({ name }) => name === config.name);
  if (row === undefined || row.sourceSignature === null) return false;
  return (await triggerSignature(client, table, triggerOptions(config, row.id))) === row.sourceSignature;
}

/**
 * Everything that the installed triggers were made for, in one word: columns and their types, relations, triggers,
 * their state. Another word than at the last installation: install and sweep again.
 */
export async function triggerSignature(client: Reader, table: SourceTable, options: TriggerOptions): Promise<string> {
  const oids = table.relations.map((relation) => relation.oid);
  const shape = JSON.stringify([table.oid, table.key, table.columns, oids, options.wholeRow]);
  const name = `rowmill.${triggerFunctionName(options.pipelineId)}`;
  const row = await client.first<{ signature: string }>(sql`
    select md5(concat_ws('|', ${TRIGGER_VERSION}::int, ${shape}::text,
      (
        select concat_ws(',', md5(p.prosrc), p.prosecdef, p.proconfig::text, p.proowner)
        from pg_catalog.pg_proc p
        where p.oid = to_regproc(${name})
      ),
      (
        select string_agg(concat_ws(',', t.tgrelid, t.tgname, t.tgenabled), ';' order by t.tgrelid, t.tgname)
        from pg_catalog.pg_trigger t
        where t.tgfoid = to_regproc(${name})
      )
    )) as signature`);
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
            hints: [LONG_TRANSACTIONS],
          },
        );
      }
      await sleep(INSTALL_PAUSE_MS);
    }
  }
}

/** True: the arrivals role may own the function. Else the current user owns it, who must not be a superuser. */
async function ensureArrivalsRole(database: Database): Promise<boolean> {
  const role = roleStatements(await roleFacts(database));
  if (role === null) return false;
  for (const statement of role.create) await database.run(raw(statement));
  try {
    await database.transaction(async (tx) => {
      for (const statement of role.grants) await tx.run(raw(statement));
    });
    return true;
  } catch (error) {
    // It belongs to someone who did not let this user have it.
    if (error instanceof DatabaseError && error.sqlState === INSUFFICIENT_PRIVILEGE) return false;
    throw error;
  }
}

interface RoleFacts {
  readonly exists: boolean;
  readonly mayCreate: boolean;
  readonly superuser: boolean;
  readonly member: boolean;
}

async function roleFacts(client: Reader): Promise<RoleFacts> {
  const row = await client.first<RoleFacts>(sql`
    select a.oid is not null as exists,
      r.rolsuper or r.rolcreaterole as "mayCreate",
      r.rolsuper as superuser,
      coalesce(pg_has_role(r.oid, a.oid,
        case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end
      ), false) as member
    from pg_catalog.pg_roles r
    left join pg_catalog.pg_roles a on a.rolname = ${ARRIVALS_ROLE}
    where r.rolname = current_user`);
  return row ?? { exists: false, mayCreate: false, superuser: false, member: false };
}

/** Null: this user can neither use nor create it. */
function roleStatements({ exists, mayCreate, superuser, member }: RoleFacts): {
  readonly create: readonly string[];
  readonly grants: readonly string[];
} | null {
  if (!exists && !mayCreate) return null;
  const role = quoteIdentifier(ARRIVALS_ROLE);
  // Two processes may get here at once; the loser finds the role made.
  const create = `do $$ begin
    create role ${role} nologin noinherit;
  exception when duplicate_object or unique_violation then null; end $$`;
  return {
    create: exists ? [] : [create],
    grants: [
      ...(superuser || member ? [] : [`grant ${role} to current_user`]),
      `grant usage on schema rowmill to ${role}`,
      `grant insert on rowmill.arrivals to ${role}`,
    ],
  };
}

async function refuseSuperuserOwner(client: Reader): Promise<void> {
  if (await client.value<boolean>(sql`select rolsuper from pg_catalog.pg_roles where rolname = current_user`))
    throw new RowmillError(
      "database_refused",
      "Rowmill could not create the role rowmill_arrivals, and a superuser must not own a trigger function.",
    );
}

interface FoundTriggers {
  /** By `placeOf`. */
  readonly places: readonly string[];
  /** This user may replace the function, if there is one. */
  readonly owned: boolean;
}

async function findTriggers(client: Reader, pipelineId: number): Promise<FoundTriggers> {
  const found = await client.rows<{ owned: boolean; oid: string | null; name: string | null }>(sql`
    select pg_has_role(p.proowner, 'USAGE') as owned, t.tgrelid::int8::text as oid, t.tgname as name
    from pg_catalog.pg_proc p
    left join pg_catalog.pg_trigger t on t.tgfoid = p.oid
    where p.oid = to_regproc(${`rowmill.${triggerFunctionName(pipelineId)}`})`);
  return {
    places: found.flatMap(({ oid, name }) => (oid === null || name === null ? [] : placeOf(oid, name))),
    owned: found.every(({ owned }) => owned),
  };
}

/**
 * Triggers that stay are replaced, which takes only the right to put triggers on a table, and lets its readers
 * continue. Where there are others (on a table that left, under another name), or where this user may not replace the
 * function, all of them go with it.
 */
function triggerStatements(
  table: SourceTable,
  options: TriggerOptions,
  { found, ownedByRole }: { found: FoundTriggers; ownedByRole: boolean },
): readonly string[] {
  const { pipelineId } = options;
  const wanted = wantedTriggers(table, pipelineId);
  const isKept = found.owned && found.places.every((place) => wanted.has(place));
  const kept = new Set(isKept ? found.places : []);
  return [
    ...(isKept ? [] : [dropStatement(pipelineId)]),
    triggerFunctionText(table, options),
    ...[...wanted].map(([place, text]) => `${kept.has(place) ? "create or replace" : "create"} ${text}`),
    ...handOverStatements(pipelineId, ownedByRole),
  ];
}

/** With the function, whose owner or schema's owner may do so: a trigger alone only its table's owner may drop. */
function dropStatement(pipelineId: number): string {
  return `drop function if exists rowmill.${triggerFunctionName(pipelineId)}() cascade`;
}

/** No one may call the function or attach it elsewhere. */
function handOverStatements(pipelineId: number, ownedByRole: boolean): readonly string[] {
  const name = `rowmill.${triggerFunctionName(pipelineId)}()`;
  const role = quoteIdentifier(ARRIVALS_ROLE);
  const revoke = `revoke execute on function ${name} from public`;
  if (!ownedByRole) return [revoke];
  return [
    revoke,
    // A new owner needs CREATE on the schema at this moment, and never again.
    `grant create on schema rowmill to ${role}`,
    `alter function ${name} owner to ${role}`,
    `revoke create on schema rowmill from ${role}`,
  ];
}

/** By place, each as what follows `create`. Without `or replace`, another program's trigger of that name stays. */
function wantedTriggers(table: SourceTable, pipelineId: number): ReadonlyMap<string, string> {
  const run = `execute function rowmill.${triggerFunctionName(pipelineId)}()`;
  return new Map(
    table.relations.flatMap(({ oid, qualified }) =>
      EVENTS.map((event) => {
        const name = `rowmill_${pipelineId}_${event.toLowerCase()}`;
        const rows = TRANSITION_TABLES[event];
        return [
          placeOf(String(oid), name),
          `trigger ${quoteIdentifier(name)} after ${event} on ${qualified} ${rows} for each statement ${run}`,
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
