/**
 * What keeps a table from holding every answer that the schema allows, by the catalogue. Pure. try-answers.ts runs
 * the CHECKs.
 */
import type { CatalogueColumn } from "../../sources/table/columns.js";
import { quoteIdentifier, quoteLiteral } from "../../postgres/database.js";
import { hiddenRows } from "../../postgres/row-security.js";
import { fault, namedValues, pairsOf, textOfValue, type Fault, type Judged } from "./fault.js";
import { limitFaults, typeFaults } from "./judge-types.js";
import { columnText, listedValues, STAMP_COLUMNS, stampsOf, type WantedColumn } from "./statements.js";

/** Faults for which no answer at all could be written, whichever definition asked. */
export function structuralFaults(judged: Judged): readonly Fault[] {
  const { config, facts } = judged;
  if (facts.kind !== "r" && facts.kind !== "p")
    return [fault(`target.table: ${config.table} is not a table, so Rowmill cannot write answers to it.`)];
  return [
    ...missingFaults(judged),
    ...typeFaults(judged),
    ...(judged.isSource ? [] : [...keyFaults(judged), ...requiredFaults(judged)]),
  ];
}

/** All of them, the structural ones first. */
export function faultsOf(judged: Judged): readonly Fault[] {
  const structural = structuralFaults(judged);
  if (judged.facts.kind !== "r" && judged.facts.kind !== "p") return structural;
  return [
    ...structural,
    ...limitFaults(judged),
    ...unwritableFaults(judged),
    ...stampFaults(judged),
    ...nullFaults(judged),
    ...listFaults(judged),
    ...ruleFaults(judged),
    ...partitionFaults(judged),
    ...rightFaults(judged),
    ...neighborFaults(judged),
  ];
}

/** PostgreSQL cuts longer names without an error. */
const NAME_BYTES_MAX = 63;

/** Of a table that may not be there yet. */
export function nameFaults(table: string, wanted: readonly WantedColumn[]): readonly Fault[] {
  const bytes = (name: string) => Buffer.byteLength(name);
  const cut = (name: string) => Buffer.from(name).subarray(0, NAME_BYTES_MAX).toString("latin1");
  const long = wanted.filter(({ name }) => bytes(name) > NAME_BYTES_MAX);
  return [
    ...(bytes(table) > NAME_BYTES_MAX
      ? [fault(`target.table: "${table}" has ${bytes(table)} bytes; PostgreSQL cuts names after ${NAME_BYTES_MAX}.`)]
      : []),
    ...long.map(({ name, field }) => {
      const twin = wanted.find((other) => other.name !== name && cut(other.name) === cut(name));
      const both = twin === undefined ? "" : `, so it would be the same column as "${twin.name}"`;
      return fault(
        `target: column name "${name}" has ${bytes(name)} bytes; PostgreSQL cuts after ${NAME_BYTES_MAX}${both}.`,
        { fixes: [`Give it a shorter name: target: { columns: { ${JSON.stringify(field)}: "a_shorter_name" } }`] },
      );
    }),
  ];
}

function missingFaults({ config, facts, wanted }: Judged): readonly Fault[] {
  const missing = wanted.filter(({ name }) => !facts.columns.some((column) => column.name === name));
  if (missing.length === 0) return [];
  const similar = missing.flatMap(({ field, name }) => {
    const found = facts.columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
    return found === undefined ? [] : [`${JSON.stringify(field)}: ${JSON.stringify(found.name)}`];
  });
  const named = similar.length === 0 ? 'field: "column"' : similar.join(", ");
  const names = missing.map(({ name }) => `"${name}"`).join(", ");
  const additions = missing.map((column) => `add column ${columnText(column)}`).join(", ");
  return [
    fault(`target: the table ${config.table} exists, but has no column ${names}.`, {
      fixes: [
        "Let Rowmill add what is missing: target: { addColumns: true }",
        `or: alter table ${facts.qualified} ${additions};`,
        `or map the fields to columns that exist: target: { columns: { ${named} } }`,
      ],
    }),
  ];
}

function keyFaults({ config, facts, source }: Judged): readonly Fault[] {
  const names = source.key.map((column) => column.name);
  const missing = names.filter((name) => !facts.columns.some((column) => column.name === name));
  if (missing.length > 0)
    return [
      fault(
        `target: ${config.table} has no column ${missing.map((name) => `"${name}"`).join(", ")}, the source's key, ` +
          "so an answer would have no row to go to.",
      ),
    ];
  const unlike = keyTypeFaults({ config, facts, source });
  if (facts.keyed || unlike.length > 0) return unlike;
  const list = names.map(quoteIdentifier).join(", ");
  return [
    fault(`target: ${config.table} has no unique index on (${list}), so an answer could be written twice.`, {
      fixes: [`create unique index concurrently on ${facts.qualified} (${list});`],
    }),
  ];
}

/** Within a group, built-in types compare with each other, so a key of one finds its row by another. */
const KEY_GROUPS = [
  /^(smallint|integer|bigint|numeric|real|double precision)$/,
  /^(text|character varying|character|name)$/,
  /^(date|timestamp with(out)? time zone)$/,
] as const;

/** A key of another type can neither be written nor looked up. */
function keyTypeFaults({ config, facts, source }: Pick<Judged, "config" | "facts" | "source">): readonly Fault[] {
  return source.key.flatMap((key) => {
    const found = facts.columns.find(({ name }) => name === key.name);
    if (found === undefined || !found.builtIn || !key.builtIn || found.type === key.type) return [];
    if (KEY_GROUPS.some((group) => group.test(found.type) && group.test(key.type))) return [];
    return [
      fault(
        `target: ${config.table}."${key.name}" is of type ${found.type}, but the source's key "${key.name}" ` +
          `is of type ${key.type}, so no answer could be written.`,
        { fixes: ["Give the column the type of the source's key, or choose another target."] },
      ),
    ];
  });
}

function requiredFaults(judged: Judged): readonly Fault[] {
  const written = new Set(writtenColumns(judged).map(({ name }) => name));
  const unwritten = judged.facts.columns.filter(
    ({ name, notNull, filled }) => notNull && !filled && !written.has(name),
  );
  if (unwritten.length === 0) return [];
  const names = unwritten.map(({ name }) => `"${name}"`).join(", ");
  const isRewritten = unwritten.every((column) => levelOf(judged, column) === "warning");
  return [
    fault(
      `target: ${judged.config.table} requires ${names}, which the answer does not fill, ` +
        `so no answer could be inserted${isRewritten ? " unless a trigger fills it" : ""}.`,
      {
        level: isRewritten ? "warning" : "problem",
        fixes: ["Give these columns a default, allow null, or choose another target."],
      },
    ),
  ];
}

/** A trigger may fix what NOT NULL or a CHECK would refuse; what a domain refuses, no trigger sees. */
function levelOf({ facts }: Judged, { name, castType, declared }: CatalogueColumn): "problem" | "warning" {
  return facts.rewritten.includes(name) && castType === declared.castType ? "warning" : "problem";
}

/** Those that a write names; an insert also names the key. */
function writtenColumns({ facts, wanted, source, isSource }: Judged): readonly CatalogueColumn[] {
  const names = new Set(wanted.map(({ name }) => name));
  if (!isSource) for (const { name } of source.key) names.add(name);
  for (const name of stampsOf(facts.columns)) names.add(name);
  return facts.columns.filter(({ name }) => names.has(name));
}

/** Columns that only PostgreSQL may fill. */
function unwritableFaults(judged: Judged): readonly Fault[] {
  const { config, facts } = judged;
  return writtenColumns(judged).flatMap(({ name, identity, generated }) => {
    const alter = `alter table ${facts.qualified} alter column ${quoteIdentifier(name)}`;
    if (generated !== "")
      return [
        fault(
          `target: ${config.table}."${name}" is a generated column, so PostgreSQL refuses every value for it.`,
          // A virtual one has no values that could stay.
          {
            sql: generated === "s" ? [`${alter} drop expression;`] : [],
            fixes: ['Or map the field to another column: target: { columns: { field: "column" } }'],
          },
        ),
      ];
    if (identity !== "a") return [];
    return [
      fault(
        `target: ${config.table}."${name}" is an identity column (generated always), ` +
          "so PostgreSQL refuses every value for it.",
        { sql: [`${alter} set generated by default;`] },
      ),
    ];
  });
}

/** A column of the user's own with the name of a stamp: no reason to refuse the answer. */
function stampFaults({ config, facts }: Judged): readonly Fault[] {
  const written: readonly string[] = stampsOf(facts.columns);
  return STAMP_COLUMNS.flatMap(({ name, type }) => {
    const found = facts.columns.find((column) => column.name === name);
    if (found === undefined || written.includes(name)) return [];
    const is = `is of type ${found.declared.type}, which cannot hold Rowmill's (${type}), so it is not written.`;
    return [fault(`target: ${config.table}."${name}" ${is}`, { level: "warning" })];
  });
}

function nullFaults(judged: Judged): readonly Fault[] {
  const { config, facts } = judged;
  return pairsOf(judged).flatMap(({ wanted, found }) =>
    wanted.nullable && found.notNull
      ? [
          fault(`target: ${config.table}."${found.name}" may not be null, but the answer's "${wanted.field}" may be.`, {
            level: levelOf(judged, found),
            sql: [`alter table ${facts.qualified} alter column ${quoteIdentifier(found.name)} drop not null;`],
            fixes: ["Or require a value in the answer: leave out .nullable() and .optional()."],
          }),
        ]
      : [],
  );
}

/** CHECKs of the form `column in ('a', 'b')`, which need not be run. */
function listFaults(judged: Judged): readonly Fault[] {
  const { config, facts } = judged;
  return pairsOf(judged).flatMap(({ wanted, found }) =>
    facts.checks.flatMap((check) => {
      const listed = listedValues(check.text, found.name);
      if (listed === null) return [];
      const of = `the CHECK "${check.name}" of ${config.table}."${found.name}"`;
      const values = wanted.limits?.values?.map(textOfValue) ?? null;
      if (values === null && wanted.type !== "text") return [];
      if (values === null)
        return [
          fault(`target: ${of} allows only ${namedValues(listed)}, but the answer may have another value.`, {
            level: "warning",
            fixes: [`Give the answer's "${wanted.field}" these values: z.enum([…])`],
          }),
        ];
      const refused = values.filter((value) => !listed.includes(value));
      if (refused.length === 0) return [];
      const name = quoteIdentifier(check.name);
      const all = [...new Set([...listed, ...values])].map(quoteLiteral).join(", ");
      return [
        fault(`target: ${of} refuses ${namedValues(refused)}.`, {
          level: levelOf(judged, found),
          sql: [
            `alter table ${facts.qualified} drop constraint ${name}, ` +
              `add constraint ${name} check (${quoteIdentifier(found.name)} in (${all}));`,
          ],
        }),
      ];
    }),
  );
}

/** PostgreSQL refuses `on conflict` on a table with rules. A rule may also replace the update of the source. */
function ruleFaults({ config, facts, isSource }: Judged): readonly Fault[] {
  const stopping = facts.rules.filter(({ event, instead }) => !isSource || (event === "UPDATE" && instead));
  return stopping.map(({ name, event, always }) => {
    const isPartial = isSource && !always;
    const effect = isPartial
      ? "does something else instead for some rows, so their answers may not be written"
      : isSource
        ? "does something else instead, so no answer could be written"
        : "prevents an upsert by key, so no answer could be written";
    return fault(`target: the rule "${name}" on ${event} of ${config.table} ${effect}.`, {
      level: isPartial ? "warning" : "problem",
      sql: [`drop rule ${quoteIdentifier(name)} on ${facts.qualified};`],
      fixes: ["Use a trigger instead of the rule."],
    });
  });
}

function partitionFaults({ config, facts }: Judged): readonly Fault[] {
  if (facts.partitions !== 0) return [];
  return [
    fault(`target: ${config.table} is partitioned and has no partition, so no answer could be written.`, {
      sql: [`create table … partition of ${facts.qualified} default;`],
    }),
  ];
}

function rightFaults(judged: Judged): readonly Fault[] {
  const { facts, isSource } = judged;
  // The default of a column that a write names draws no number.
  const written = new Set(writtenColumns(judged).map(({ name }) => name));
  const me = quoteIdentifier(facts.user);
  const rights = [
    ...(facts.select ? [] : ["select"]),
    ...(facts.insert || isSource ? [] : ["insert"]),
    ...(facts.update ? [] : ["update"]),
  ];
  const grants = [
    ...(facts.schemaUsage ? [] : [`grant usage on schema ${quoteIdentifier(facts.schema)} to ${me};`]),
    ...(rights.length === 0 ? [] : [`grant ${rights.join(", ")} on ${facts.qualified} to ${me};`]),
    ...(isSource
      ? []
      : facts.sequences
          .filter(({ column }) => !written.has(column))
          .map(({ sequence }) => `grant usage on sequence ${sequence} to ${me};`)),
  ];
  return [
    ...(grants.length === 0
      ? []
      : [
          fault(`the user "${facts.user}" may not write answers into ${facts.qualified}.`, {
            kind: "right",
            sql: grants,
          }),
        ]),
    ...(facts.thinned ? [thinnedFault(facts.qualified, facts.user)] : []),
  ];
}

function thinnedFault(qualified: string, user: string): Fault {
  const { text, fixes, sql } = hiddenRows(qualified, user);
  return fault(text, { kind: "right", fixes, sql });
}

/** Another row, of this table or another one, may forbid an answer. */
function neighborFaults({ config, facts, wanted, source }: Judged): readonly Fault[] {
  const answers = wanted.map(({ name }) => name);
  const key = source.key.map(({ name }) => name);
  const answered = (columns: readonly string[]) => columns.filter((name) => answers.includes(name));
  return [
    ...facts.foreignKeys.flatMap(({ name, columns, refers }) => {
      const [first] = answered(columns);
      if (first === undefined) return [];
      return [
        fault(
          `target: the foreign key "${name}" of ${config.table}."${first}" refuses answers that are not in ${refers}.`,
          { level: "warning", fixes: ["Limit the answer to those values: z.enum([…]). Or drop the foreign key."] },
        ),
      ];
    }),
    ...facts.uniques.flatMap(({ name, columns }) => {
      const [first] = answered(columns);
      if (first === undefined || key.every((column) => columns.includes(column))) return [];
      return [
        fault(
          `target: the unique index "${name}" of ${config.table}."${first}" ` +
            "refuses an answer that another row already has.",
          { level: "warning", fixes: ["Drop it, unless no two rows can have the same answer."] },
        ),
      ];
    }),
  ];
}
