/**
 * Tries answers against a target's CHECKs, domains and generated columns, in a temporary table that has nothing else:
 * no trigger, rule, foreign key or default. One transaction, rolled back at its end. It runs the table owner's code
 * under the role's own path, so the owners are checked before, under a lock that keeps other code out.
 */
import type { Json } from "../../model/pipeline.js";
import { bisect } from "../../postgres/bisect.js";
import {
  DatabaseError,
  identifier,
  isDatabaseWide,
  quoteIdentifier,
  raw,
  sql,
  underRolePath,
  type Database,
  type Queryable,
} from "../../postgres/database.js";
import { fault, namedValues, pairsOf, type Fault, type Judged, type Pair } from "./fault.js";
import type { TableCheck } from "./catalogue.js";
import { refuseForeignCode, type Ownership } from "./owners.js";
import { listedValues } from "./statements.js";

const STATEMENT_MS_MAX = 3_000;
const LOCK_MS_MAX = 1_000;
/** Of one column. */
const VALUES_TRIED_MAX = 1_000;
/** Each takes several statements to find, while an exclusive lock on the table has to wait. */
const VALUES_REFUSED_MAX = 10;
const TRIED = "pg_temp.rowmill_tried_answers";

interface Trial {
  readonly pair: Pair;
  readonly values: readonly Json[];
}

interface Refused {
  readonly value: Json;
  readonly error: Error;
}

/** Values that the table refuses whatever the rest of the row is. `ownership`: null for a trusted owner. */
export async function tryAnswers(
  database: Database,
  judged: Judged,
  ownership: Ownership | null,
): Promise<readonly Fault[]> {
  const { config, facts } = judged;
  const trials = pairsOf(judged).flatMap((pair) => trialOf(judged, pair));
  if (trials.length === 0) return [];
  const notTried = (why: string, grants: readonly string[] = []): Fault[] => [
    fault(`target: the CHECKs of ${config.table} were not tried: ${why}.`, {
      level: "unknown",
      kind: "right",
      sql: grants,
    }),
  ];
  try {
    return await database.transaction(
      async (tx) => {
        const obstacle = await findObstacle(tx);
        if (obstacle !== null) return notTried(obstacle.why, obstacle.grants);
        await tx.run(sql`lock table ${raw(facts.qualified)} in access share mode`);
        if (ownership !== null) await refuseForeignCode(tx, ownership);
        const faults: Fault[] = [];
        for (const trial of trials) {
          // Rolled back, not dropped: an event trigger may fire on that.
          await tx.run(sql`savepoint rowmill_trial`);
          const failure = await makeTable(tx, judged, trial.pair);
          if (failure === null) faults.push(...(await refusedOf(tx, judged, trial)));
          await tx.run(sql`rollback to savepoint rowmill_trial`);
          if (failure !== null) return [...faults, ...notTried(withoutStop(failure))];
        }
        return faults;
      },
      { trial: true, statementTimeoutMs: STATEMENT_MS_MAX, lockTimeoutMs: LOCK_MS_MAX },
    );
  } catch (error) {
    if (!(error instanceof DatabaseError) || isDatabaseWide(error)) throw error;
    // Another session's lock, or a slow CHECK.
    if (error.code === "database_timeout") return notTried(withoutStop(error));
    return [
      fault(`target: trying an answer on ${config.table} failed. ${error.message}`, {
        level: trials.some(({ pair }) => facts.rewritten.includes(pair.found.name)) ? "warning" : "problem",
        fixes: ["A CHECK or a domain of the table raises this error. Change it, or grant the missing right."],
      }),
    ];
  }
}

/** None where the catalogue decides: no CHECK, no domain, and no generated column that may read the answer. */
function trialOf(judged: Judged, pair: Pair): Trial[] {
  const { wanted, found } = pair;
  const isDomain = found.castType !== found.declared.castType;
  const isRead = judged.facts.columns.some(({ generated }) => generated === "s");
  const isChecked = judged.facts.checks.some((check) => isDecisive(check, found));
  if (!isDomain && !isRead && !isChecked) return [];
  if (wanted.type === "text[]" || wanted.type === "jsonb") return [];
  const { values = null, min = null, max = null } = wanted.limits ?? {};
  const known = values ?? [...new Set([min, max])].filter((bound) => bound !== null);
  const tried = [...known.slice(0, VALUES_TRIED_MAX), ...(wanted.nullable ? [null] : [])];
  return tried.length === 0 ? [] : [{ pair, values: tried }];
}

/** A CHECK of this column alone: others depend on the rest of the row. judge.ts has judged lists. */
function isDecisive({ columns, text }: TableCheck, { name }: Pair["found"]): boolean {
  return columns.length === 1 && columns[0] === name && listedValues(text, name) === null;
}

/** Why no temporary table can be made here. It must not fire an event trigger of the user's. */
async function findObstacle(tx: Queryable): Promise<{ why: string; grants: string[] } | null> {
  const row = await tx.first<{
    user: string;
    database: string;
    temporary: boolean;
    readOnly: boolean;
    event: string | null;
  }>(sql`
    select current_user::text as user, current_database()::text as database,
      has_database_privilege(current_database(), 'TEMP') as temporary,
      current_setting('transaction_read_only')::boolean as "readOnly",
      (
        select e.evtname::text
        from pg_catalog.pg_event_trigger e
        join pg_catalog.pg_roles o on o.oid = e.evtowner
        cross join (select oid, rolsuper from pg_catalog.pg_roles where rolname = current_user) me
        where e.evtenabled <> 'D'
          and (e.evtevent like 'ddl_command_%' or e.evtevent = 'sql_drop')
          and (e.evttags is null or e.evttags && array['CREATE TABLE', 'ALTER TABLE'])
          and (o.oid = me.oid or me.rolsuper or not o.rolsuper)
        limit 1) as event`);
  if (row === null) throw new Error("The catalogue gave no row.");
  if (row.readOnly) return { why: "this server is read-only", grants: [] };
  if (row.event !== null) return { why: `the event trigger "${row.event}" would fire`, grants: [] };
  if (row.temporary) return null;
  const grant = `grant temporary on database ${quoteIdentifier(row.database)} to ${quoteIdentifier(row.user)};`;
  return { why: `the user "${row.user}" may not create temporary tables`, grants: [grant] };
}

/**
 * Keeps only the tried column and what depends on it alone: the values of other columns are unknown, and null may not
 * suit them (a domain that is never null, a generated column that divides by another). Returns why no such table can
 * be made.
 */
async function makeTable(tx: Queryable, { facts }: Judged, { found }: Pair): Promise<DatabaseError | null> {
  const others = facts.columns.filter(({ name, generated }) => name !== found.name && generated === "");
  const changes = [
    [
      ...facts.columns
        .filter(({ notNull }) => notNull)
        .map(({ name }) => `alter column ${quoteIdentifier(name)} drop not null`),
      ...facts.checks
        .filter((check) => !isDecisive(check, found))
        .map(({ name }) => `drop constraint ${quoteIdentifier(name)}`),
    ],
    others.map(({ name }) => `drop column ${quoteIdentifier(name)} cascade`),
  ];
  try {
    await tx.run(
      sql`create temporary table ${raw(TRIED)}
        (like ${raw(facts.qualified)} including constraints including generated) on commit drop`,
    );
    for (const actions of changes)
      if (actions.length > 0) await tx.run(raw(`alter table ${TRIED} ${actions.join(", ")}`));
    return null;
  } catch (error) {
    if (!(error instanceof DatabaseError) || isDatabaseWide(error)) throw error;
    return error;
  }
}

/** Ends a search that has found enough. */
class Enough extends Error {}

async function findRefused(tx: Queryable, { pair, values: all }: Trial): Promise<readonly Refused[]> {
  const { found } = pair;
  const refused: Refused[] = [];
  try {
    await bisect(
      tx,
      all,
      async (values) => {
        const rows = JSON.stringify(values.map((value) => ({ v: value })));
        await tx.run(
          underRolePath(sql`
            insert into ${raw(TRIED)} (${identifier(found.name)})
            select x.v
            from pg_catalog.json_to_recordset(${rows}::pg_catalog.json) as x (v ${raw(found.declared.castType)})`),
        );
      },
      (value, error) => {
        refused.push({ value, error });
        return refused.length < VALUES_REFUSED_MAX ? Promise.resolve() : Promise.reject(new Enough());
      },
    );
  } catch (error) {
    if (!(error instanceof Enough)) throw error;
  }
  return refused;
}

async function refusedOf(tx: Queryable, { config, facts }: Judged, trial: Trial): Promise<Fault[]> {
  const { found, wanted } = trial.pair;
  const refused = await findRefused(tx, trial);
  const isAll = refused.length < VALUES_REFUSED_MAX;
  const reasons = [...new Set(refused.map(({ error }) => reasonOf(error)))];
  return reasons.map((reason) => {
    const same = refused.filter(({ error }) => reasonOf(error) === reason);
    const values = namedValues(same.map(({ value }) => value));
    const isRewritten = facts.rewritten.includes(found.name) && !same.some(({ error }) => isOfDomain(error));
    return fault(
      `target: ${config.table}."${found.name}" refuses ${values}${isAll ? "" : " and perhaps others"} ` +
        `of the answer's "${wanted.field}": ${reason}.`,
      {
        level: isRewritten ? "warning" : "problem",
        fixes: ["Change the CHECK, or limit the answer to values that it accepts."],
      },
    );
  });
}

/** Without the value, so that values with the same failure are named together. */
function reasonOf(error: Error): string {
  const { cause } = error;
  const constraint =
    cause instanceof Error && "constraint" in cause && typeof cause.constraint === "string" ? cause.constraint : null;
  return constraint === null ? withoutStop(error) : `the CHECK "${constraint}"`;
}

/** A domain checks a value before any trigger can change it. */
function isOfDomain({ cause }: Error): boolean {
  return cause instanceof Error && "dataType" in cause && typeof cause.dataType === "string";
}

function withoutStop({ message }: Error): string {
  return message.replace(/\.$/, "");
}
