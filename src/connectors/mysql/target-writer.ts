/** Makes or checks the table of a target, and writes to it. */
import { ConnectorError, type PrepareOptions, type TargetConnector } from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";
import type { Secret } from "../../model/secret.js";
import { raw } from "sql-template-tag";
import { requireAddress, type Address } from "./address.js";
import { isInteger, isText } from "./column-text.js";
import { withSession, type Session } from "./connection.js";
import { isDuplicateColumn } from "./failure.js";
import { findTable, qualifiedName, requireColumns, requireUnique, type Column, type FoundTable } from "./inspection.js";
import { fenceOf, planTarget, requireFaultless, type TargetPlan } from "./plan-target.js";
import { writeFenced, type FencedTable } from "./write-fenced.js";

const KEY_DEFAULT = ["key"];
/** Of all columns of a key together, in bytes of at most four a character: the longest key of an index. */
const KEY_CHARS_MAX = 700;
/** Another worker may make the table, or add a column, between a look and a statement. */
const LOOKS_MAX = 3;

export interface Wanted {
  readonly table: string;
  readonly key: readonly string[] | null;
  readonly columns: Readonly<Record<string, string>>;
  readonly addColumns: boolean;
}

/** @throws ConnectorError */
export function openWriter(url: Secret, wanted: Wanted): Pick<TargetConnector, "prepare" | "write"> {
  const address = requireAddress(url.reveal(), wanted.table);
  const tables = new Map<string, { readonly table: FencedTable; readonly of: PrepareOptions }>();
  const prepare = async (session: Session, of: PrepareOptions) =>
    void tables.set(of.pipeline, { table: await ensureTable(session, address, { wanted, of }), of });
  return {
    prepare: async (of) => withSession(address, of.signal, (session) => prepare(session, of)),
    write: async (changes, { pipeline, signal, readBack }) => {
      const prepared = tables.get(pipeline);
      if (prepared === undefined) throw new RowmillError("internal", `The target was not prepared for "${pipeline}".`);
      try {
        return await withSession(address, signal, async (session) => {
          const written = await writeFenced(session, prepared.table, { changes, readBack });
          // Perhaps it is no row's fault: the table may have changed, such as the type of a column.
          if (written.failed.length === changes.length && changes.length > 0) await prepare(session, prepared.of);
          return written;
        });
      } catch (error) {
        // The next prepare judges what has changed.
        if (error instanceof ConnectorError) tables.delete(pipeline);
        throw error;
      }
    },
  };
}

async function ensureTable(session: Session, address: Address, preparing: Preparing): Promise<FencedTable> {
  for (let looks = 1; ; looks++) {
    const { plan, key, content } = await lookAtTarget(session, address, preparing);
    requireFaultless(plan);
    if (plan.exists && plan.statements.length === 0) {
      const { columns, stamps } = plan;
      const fence = fenceOf(preparing.of.pipeline);
      return { qualified: qualifiedName(address), key, columns, stamps, fence, content };
    }
    if (looks === LOOKS_MAX) throw new ConnectorError("again", `${address.table} changed while it was prepared.`);
    await change(session, plan);
  }
}

async function change(session: Session, { statements }: TargetPlan): Promise<void> {
  for (const statement of statements) {
    try {
      await session.run(raw(statement));
    } catch (error) {
      // Another worker was faster. A statement about columns cannot be rolled back, so it stands.
      if (!isDuplicateColumn(error)) throw error;
    }
  }
}

export interface Preparing {
  readonly wanted: Wanted;
  readonly of: Pick<PrepareOptions, "pipeline" | "fields" | "key" | "source">;
}

export interface LookedAt {
  readonly found: FoundTable | null;
  readonly plan: TargetPlan;
  readonly key: readonly Column[];
  readonly content: readonly Column[] | null;
}

/** @throws ConnectorError */
export async function lookAtTarget(session: Session, address: Address, { wanted, of }: Preparing): Promise<LookedAt> {
  const { source = null, pipeline, fields } = of;
  const names = source?.key ?? wanted.key ?? KEY_DEFAULT;
  if (source !== null) refuseKeys(wanted, { fields, key: source.key });
  else if (of.key !== undefined && of.key.length !== names.length)
    throw new ConnectorError("stop", `The key of ${wanted.table} needs ${of.key.length} columns, as the source's has.`);
  const found = await findTable(session, address);
  if (source !== null && found === null)
    throw new ConnectorError("stop", `There is no table ${wanted.table}, or the user may not see it.`);
  const plan = planTarget(
    {
      pipeline,
      fields,
      key: names,
      keyType: keyType(session, names.length),
      qualified: qualifiedName(address),
      names: wanted.columns,
      addColumns: wanted.addColumns,
      isSource: source !== null,
    },
    found,
  );
  if (found === null) return { found, plan, key: [], content: null };
  refuseEngine(found);
  const key = requireColumns(found, names);
  requireUnique(found, names);
  if (source === null) for (const column of key) refuseKeyType(column);
  return { found, plan, key, content: source === null ? null : requireColumns(found, source.columns) };
}

/** Two keys are one only where their bytes are: also not where one ends with a space. */
function keyType({ server }: Session, count: number): string {
  const collation = server.isMariaDb ? "utf8mb4_nopad_bin" : "utf8mb4_0900_bin";
  return `varchar(${Math.floor(KEY_CHARS_MAX / count)}) character set utf8mb4 collate ${collation}`;
}

/** @throws ConnectorError */
function refuseEngine({ engine, qualified }: FoundTable): void {
  if (/^(?:innodb|rocksdb|ndbcluster)$/i.test(engine)) return;
  throw new ConnectorError("stop", `${qualified} is of the engine ${engine}, which has no transactions.`, {
    hints: [`alter table ${qualified} engine = InnoDB;`],
  });
}

/** @throws ConnectorError */
function refuseKeyType(column: Column): void {
  if (isInteger(column) || isText(column) || column.type === "uuid") return;
  const { name, declared } = column;
  throw new ConnectorError(
    "stop",
    `The key column "${name}" is of type ${declared}. The key of a target is a whole number, text or uuid.`,
  );
}

/** @throws ConnectorError */
function refuseKeys(
  { table, key, columns }: Wanted,
  source: { readonly fields: PrepareOptions["fields"]; readonly key: readonly string[] },
): void {
  if (key !== null && key.join("\n") !== source.key.join("\n"))
    throw new ConnectorError("stop", `Answers go back into ${table}, so leave out the key in the target.`);
  const taken = source.fields.find(({ field }) => source.key.includes(columns[field] ?? field));
  if (taken === undefined) return;
  const column = columns[taken.field] ?? taken.field;
  throw new ConnectorError("stop", `The answer's "${taken.field}" would overwrite the key column "${column}".`);
}
