/** Compares a target's types, lengths, ranges and enum labels with what the answer's schema allows. Pure. */
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import { quoteIdentifier, quoteLiteral } from "../../postgres/database.js";
import { fault, namedValues, pairsOf, textOfValue, type Fault, type Judged, type Pair } from "./fault.js";
import { listedValues } from "./statements.js";

type AnswerType = AnswerColumn["type"];

/** Types that can hold no answer of the wanted type; others PostgreSQL may convert. */
const UNFIT: Readonly<Record<AnswerType, RegExp>> = {
  text: /^(bigint|integer|smallint|double precision|real|boolean|.*\[\])$/,
  bigint: /^(boolean|date|timestamp.*|uuid|.*\[\])$/,
  "double precision": /^(bigint|integer|smallint|boolean|date|timestamp.*|uuid|.*\[\])$/,
  boolean: /^(bigint|integer|smallint|double precision|real|numeric.*|date|timestamp.*|uuid|.*\[\])$/,
  "text[]": /^(bigint|integer|smallint|double precision|real|numeric.*|boolean|date|timestamp.*|uuid)$/,
  jsonb: /^(bigint|integer|smallint|double precision|real|numeric.*|boolean|date|timestamp.*|uuid)$/,
};

/** Built-in types of a column that Rowmill made for such an answer: with another, the answer's type has changed. */
const OURS: Readonly<Record<AnswerType, RegExp>> = {
  text: /^(?!.*\[\]$|numeric|jsonb?$|bigint|integer|smallint|double precision|real|boolean)/,
  bigint: /^(bigint|integer|smallint|numeric.*)$/,
  "double precision": /^(double precision|real|numeric.*)$/,
  boolean: /^boolean$/,
  "text[]": /\[\]$/,
  jsonb: /^jsonb?$/,
};

/** Reported now, not by every answer after it was paid for. */
export function typeFaults(judged: Judged): readonly Fault[] {
  return pairsOf(judged).flatMap((pair) => typeFault(judged, pair) ?? []);
}

function typeFault({ config, facts }: Judged, { wanted, found }: Pair): Fault | null {
  const { limitedType, builtIn, declared } = found;
  const lists = facts.checks.filter(({ text }) => listedValues(text, found.name) !== null);
  // A CHECK lists texts: an answer of another type is never among them.
  const isListed = lists.length > 0 && wanted.type !== "text" && wanted.limits?.values == null;
  const isRetyped = facts.made && builtIn && !OURS[wanted.type].test(limitedType);
  if (!UNFIT[wanted.type].test(limitedType) && !isListed && !isRetyped) return null;
  const drops = lists.map(({ name }) => `drop constraint ${quoteIdentifier(name)}, `).join("");
  const name = quoteIdentifier(wanted.name);
  const using = conversion(name, limitedType, wanted.type);
  return fault(
    `target: ${config.table}."${wanted.name}" is of type ${declared.type}, ` +
      `which cannot hold the answer's "${wanted.field}" (${wanted.type}).`,
    {
      fixes: [
        `alter table ${facts.qualified} ${drops}alter column ${name} type ${wanted.type} using ${using};`,
        ...(using === "null" ? ["This drops the values in the column. Rowmill sends the rows again."] : []),
        'or map the field to another column: target: { columns: { field: "column" } }',
      ],
    },
  );
}

function conversion(name: string, from: string, to: AnswerType): string {
  const isText = /^(text|character|citext)/.test(from);
  if (to === "text") return `${name}::text`;
  if (to === "jsonb") return `to_jsonb(${name})`;
  if (to === "text[]") return from.endsWith("[]") ? `${name}::text[]` : `array[${name}::text]`;
  return isText || from === "jsonb" || from.endsWith("[]") || to === "boolean" ? "null" : `${name}::text::${to}`;
}

/** Values that do not fit into a column of the right type. */
export function limitFaults(judged: Judged): readonly Fault[] {
  return pairsOf(judged).flatMap((pair) => {
    if (typeFault(judged, pair) !== null) return [];
    return pair.found.labels === null
      ? [...lengthFaults(judged, pair), ...rangeFaults(judged, pair)]
      : labelFaults(judged, pair, pair.found.labels);
  });
}

function labelFaults({ config }: Judged, { wanted, found }: Pair, labels: readonly string[]): readonly Fault[] {
  const values = wanted.limits?.values?.map(textOfValue) ?? null;
  const of = `${config.table}."${found.name}" is of the enum ${found.declared.type}`;
  if (values === null)
    return [
      fault(`target: ${of}, which has only ${namedValues(labels)}, but the answer may have another value.`, {
        level: "warning",
        fixes: [`Give the answer's "${wanted.field}" these values: z.enum([…])`],
      }),
    ];
  const unknown = values.filter((value) => !labels.includes(value));
  if (unknown.length === 0) return [];
  return [
    fault(`target: ${of}, which has no ${namedValues(unknown)}.`, {
      sql: unknown.map(
        (value) => `alter type ${found.limitedType.replace(/\[\]$/, "")} add value ${quoteLiteral(value)};`,
      ),
    }),
  ];
}

/** Of text and of the items of a list, in characters. */
function lengthFaults({ config, facts }: Judged, { wanted, found }: Pair): readonly Fault[] {
  const [, kind = "", room, list = ""] =
    /^(character varying|character)\((\d+)\)(\[\])?$/.exec(found.limitedType) ?? [];
  if (room === undefined || (wanted.type !== "text" && wanted.type !== "text[]")) return [];
  const lengthMax = wanted.limits?.lengthMax ?? null;
  const values = wanted.limits?.values?.map(textOfValue) ?? null;
  const of = `${config.table}."${found.name}" holds ${room} characters`;
  const alter = `alter table ${facts.qualified} alter column ${quoteIdentifier(found.name)} type`;
  if (lengthMax === null)
    return [
      fault(`target: ${of}, but the answer's "${wanted.field}" may be longer.`, {
        level: "warning",
        fixes: [`${alter} text${list};`, `or limit the answer's "${wanted.field}": z.string().max(${room})`],
      }),
    ];
  if (lengthMax <= Number(room)) return [];
  const long = values?.filter((value) => [...value].length > Number(room)) ?? [];
  const what =
    long.length > 0 ? `too few for ${namedValues(long)}` : `but the answer's "${wanted.field}" may have ${lengthMax}`;
  return [fault(`target: ${of}, ${what}.`, { sql: [`${alter} ${kind}(${lengthMax})${list};`] })];
}

const INTEGER_BITS: Readonly<Record<string, number>> = { smallint: 15, integer: 31 };

function rangeFaults({ config, facts }: Judged, { wanted, found }: Pair): readonly Fault[] {
  if (wanted.type !== "bigint" && wanted.type !== "double precision") return [];
  const { min = null, max = null } = wanted.limits ?? {};
  const bits = INTEGER_BITS[found.limitedType];
  const [, digits, scale] = /^numeric\((\d+),(-?\d+)\)$/.exec(found.limitedType) ?? [];
  if (bits === undefined && digits === undefined) return [];
  const bound = bits === undefined ? 10 ** (Number(digits) - Number(scale)) : 2 ** bits;
  const alter = `alter table ${facts.qualified} alter column ${quoteIdentifier(found.name)} type`;
  const of = `${config.table}."${found.name}" is of type ${found.declared.type}`;
  if ((max ?? 0) < bound && (min ?? 0) >= -bound) {
    if (found.limitedType !== "smallint" || (min !== null && max !== null)) return [];
    return [
      fault(`target: ${of}, but the answer's "${wanted.field}" may be larger.`, {
        level: "warning",
        fixes: [`${alter} ${wanted.type};`, `or limit the answer's "${wanted.field}": z.int().min(…).max(…)`],
      }),
    ];
  }
  return [
    fault(`target: ${of}, but the answer's "${wanted.field}" may be ${(max ?? 0) >= bound ? max : min}.`, {
      sql: [`${alter} ${bits === undefined ? "numeric" : wanted.type};`],
    }),
  ];
}
