/**
 * Owns an answer's schema as JSON for the ledger, and back: a paid answer is checked with the schema that asked for
 * it, even if the config has another one now. It is zod's own JSON schema, and under `x-zod` what JSON schema cannot
 * express. Pure. Functions are lost: `.refine()`, `.overwrite()`, and a `.catch()` that reads its input.
 */
import { z } from "zod";
import type { Json } from "../pipeline.js";

/** What zod does with a value at this place, from the inside out. */
type Layer =
  | { readonly checks: readonly Check[]; readonly coerce: boolean }
  | { readonly nullable: true }
  | { readonly optional: boolean }
  | { readonly default: Json }
  | { readonly prefault: Json }
  | { readonly catch: Json };

/** Of a string, in the order in which zod runs them. */
interface Check {
  readonly check: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly length?: number;
  readonly format?: string;
  readonly pattern?: Pattern;
  /** Of a URL. */
  readonly protocol?: Pattern;
  readonly hostname?: Pattern;
  readonly normalize?: boolean;
  /** Of a JWT. */
  readonly alg?: string;
  /** Of an overwrite. */
  readonly name?: OverwriteName;
}

interface Pattern {
  readonly source: string;
  readonly flags: string;
}

interface Stored {
  readonly "x-zod"?: readonly Layer[];
  readonly type?: string | readonly string[];
  readonly anyOf?: readonly Stored[];
  readonly oneOf?: readonly Stored[];
  readonly allOf?: readonly Stored[];
  readonly const?: Literal;
  readonly enum?: readonly Literal[];
  readonly properties?: Readonly<Record<string, Stored>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
  readonly items?: Stored;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly multipleOf?: number;
}

type Literal = string | number | boolean | null;

/** zod's own functions over texts. Two of them never agree on `PROBE`. */
const OVERWRITES = {
  trim: (text: string) => text.trim(),
  toLowerCase: (text: string) => text.toLowerCase(),
  toUpperCase: (text: string) => text.toUpperCase(),
  normalize: (text: string) => text.normalize(),
  normalizeNFD: (text: string) => text.normalize("NFD"),
  normalizeNFKC: (text: string) => text.normalize("NFKC"),
  normalizeNFKD: (text: string) => text.normalize("NFKD"),
  slugify: (text: string) => z.core.util.slugify(text),
};
type OverwriteName = keyof typeof OVERWRITES;
const PROBE = " aB\u00e9\u0065\u0301\ufb01 ";

/** Formats that zod checks with more than a pattern. */
const FORMATS: Readonly<Record<string, (check: Check) => z.core.$ZodCheck<string>>> = {
  url: ({ protocol, hostname, normalize = false }) =>
    z.url({
      ...some({ protocol: regexOf(protocol), hostname: regexOf(hostname) }),
      ...(normalize ? { normalize } : {}),
    }),
  ipv6: () => z.ipv6(),
  cidrv6: () => z.cidrv6(),
  base64: () => z.base64(),
  base64url: () => z.base64url(),
  credit_card: () => z.creditCard(),
  iban: () => z.iban(),
  jwt: ({ alg }) => z.jwt(alg === undefined ? {} : { alg: alg as z.core.util.JWTAlgorithm }),
};

/** @throws Error if JSON schema cannot express a part of it. */
export function storedSchema(schema: z.ZodType): Json {
  const json = z.toJSONSchema(schema, {
    io: "input",
    cycles: "throw",
    reused: "inline",
    metadata: z.registry<Record<string, unknown>>(),
    override: ({ zodSchema, jsonSchema }) => {
      const layer = layerOf(zodSchema._zod.def as Def);
      if (layer === null) return;
      const inner = (jsonSchema["x-zod"] ?? []) as readonly Layer[];
      jsonSchema["x-zod"] = [...inner, layer];
    },
  });
  // A default or a catch may be anything; the ledger keeps JSON.
  const plain = (_: string, value: unknown) => (typeof value === "bigint" ? null : value);
  return JSON.parse(JSON.stringify(json, plain)) as Json;
}

/** @throws Error for what `storedSchema` did not write. */
export function restoredSchema(stored: Json): z.ZodType {
  return restore(stored as Stored);
}

/** As `_zod.def` of any copy of zod 4 has it. */
interface Def extends Readonly<Record<string, unknown>> {
  readonly type: string;
}

function layerOf(def: Def): Layer | null {
  switch (def.type) {
    case "string":
      return { checks: checksOf(def), coerce: def["coerce"] === true };
    case "number":
    case "boolean":
      return def["coerce"] === true ? { checks: [], coerce: true } : null;
    case "nullable":
      return { nullable: true };
    case "optional":
    case "nonoptional":
      return { optional: def.type === "optional" };
    case "default":
      return { default: def["defaultValue"] as Json };
    case "prefault":
      return { prefault: def["defaultValue"] as Json };
    case "catch":
      return caught(def["catchValue"] as (context: unknown) => Json);
    default:
      return null;
  }
}

function caught(catchValue: (context: unknown) => Json): Layer | null {
  try {
    return { catch: catchValue(undefined) };
  } catch {
    return null;
  }
}

function checksOf(def: Def): Check[] {
  const own = def["check"] === undefined ? [] : [def];
  const further = ((def["checks"] ?? []) as readonly { readonly _zod: { readonly def: Def } }[]).map(
    (check) => check._zod.def,
  );
  return [...own, ...further].map((check) => ({
    check: String(check["check"]),
    ...plainOf(check),
    ...some({
      pattern: patternOf(check["pattern"]),
      protocol: patternOf(check["protocol"]),
      hostname: patternOf(check["hostname"]),
      name: check["check"] === "overwrite" ? overwriteName(check["tx"]) : undefined,
    }),
  }));
}

const PLAIN = ["minimum", "maximum", "length", "format", "normalize", "alg"];

function plainOf(check: Def): Partial<Check> {
  return Object.fromEntries(
    Object.entries(check).filter(([name, value]) => PLAIN.includes(name) && value !== undefined && value !== null),
  );
}

function patternOf(value: unknown): Pattern | undefined {
  return value instanceof RegExp ? { source: value.source, flags: value.flags } : undefined;
}

function regexOf(pattern: Pattern | undefined): RegExp | undefined {
  return pattern && new RegExp(pattern.source, pattern.flags);
}

function overwriteName(tx: unknown): OverwriteName | undefined {
  if (typeof tx !== "function") return undefined;
  const names = Object.keys(OVERWRITES) as OverwriteName[];
  try {
    const changed: unknown = tx(PROBE);
    return names.find((name) => OVERWRITES[name](PROBE) === changed);
  } catch {
    return undefined;
  }
}

/** The record without undefined values. */
function some<Value>(record: Readonly<Record<string, Value | undefined>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(record).filter((entry): entry is [string, Value] => entry[1] !== undefined));
}

function restore(stored: Stored): z.ZodType {
  const layers = stored["x-zod"] ?? [];
  return layers.reduce(wrap, base(stored, layers));
}

function wrap(inner: z.ZodType, layer: Layer): z.ZodType {
  if ("default" in layer) return inner.default(layer.default);
  if ("prefault" in layer) return inner.prefault(layer.prefault);
  if ("catch" in layer) return inner.catch(layer.catch);
  if ("optional" in layer) return layer.optional ? inner.optional() : inner.nonoptional();
  return inner;
}

function base(stored: Stored, layers: readonly Layer[]): z.ZodType {
  const [first] = stored.anyOf ?? [];
  // Not a union: the inner schema could turn null into something else, and zod takes null first.
  if (first && layers[0] && "nullable" in layers[0]) return restore(first).nullable();
  if (stored.anyOf) return z.union(stored.anyOf.map(restore));
  if (stored.oneOf) return z.xor(stored.oneOf.map(restore));
  const values = stored.const === undefined ? stored.enum : [stored.const];
  if (values) return z.literal([...values]);
  if (Array.isArray(stored.type))
    return z.union((stored.type as readonly string[]).map((type) => restore({ ...stored, type })));
  const leaf = layers.find((layer) => "checks" in layer);
  switch (stored.type) {
    case "object":
      return objectOf(stored);
    case "array":
      return arrayOf(stored);
    case "string":
      return stringOf(stored, leaf);
    case "number":
    case "integer":
      return numberOf(stored, leaf?.coerce ?? false);
    case "boolean":
      return leaf?.coerce ? z.coerce.boolean() : z.boolean();
    case "null":
      return z.null();
    default:
      throw new Error(`not a stored schema: ${JSON.stringify(stored)}`);
  }
}

function objectOf({ properties = {}, required = [], additionalProperties }: Stored): z.ZodType {
  const fields = Object.entries(properties).map(([name, property]): [string, z.ZodType] => {
    const field = restore(property);
    // A schema without layers was not written by this file.
    const bare = property["x-zod"] === undefined && !required.includes(name);
    return [name, bare ? field.optional() : field];
  });
  const shape = Object.fromEntries(fields);
  return additionalProperties === false ? z.strictObject(shape) : z.object(shape);
}

function arrayOf({ items = {}, minItems, maxItems }: Stored): z.ZodType {
  let list = z.array(restore(items));
  if (minItems !== undefined) list = list.min(minItems);
  if (maxItems !== undefined) list = list.max(maxItems);
  return list;
}

function stringOf(
  stored: Stored,
  leaf: { readonly checks: readonly Check[]; readonly coerce: boolean } | undefined,
): z.ZodType {
  const { minLength, maxLength, pattern } = stored;
  const checks: readonly Check[] = leaf?.checks ?? [
    ...(minLength === undefined ? [] : [{ check: "min_length", minimum: minLength }]),
    ...(maxLength === undefined ? [] : [{ check: "max_length", maximum: maxLength }]),
    ...(pattern === undefined
      ? []
      : [{ check: "string_format", format: "regex", pattern: { source: pattern, flags: "" } }]),
  ];
  return (leaf?.coerce ? z.coerce.string() : z.string()).check(...checks.flatMap(stringCheck));
}

function stringCheck(check: Check): z.core.$ZodCheck<string>[] {
  switch (check.check) {
    case "min_length":
      return [z.minLength(check.minimum ?? 0)];
    case "max_length":
      return [z.maxLength(check.maximum ?? Number.MAX_SAFE_INTEGER)];
    case "length_equals":
      return [z.length(check.length ?? 0)];
    case "overwrite":
      return check.name === undefined ? [] : [z.overwrite(OVERWRITES[check.name])];
    case "string_format": {
      const format = FORMATS[check.format ?? ""];
      if (format) return [format(check)];
      const pattern = regexOf(check.pattern);
      return pattern ? [z.regex(pattern)] : [];
    }
    default:
      return [];
  }
}

function numberOf(stored: Stored, coerce: boolean): z.ZodType {
  let number = coerce ? z.coerce.number() : z.number();
  if (stored.type === "integer") number = number.int();
  if (stored.minimum !== undefined) number = number.min(stored.minimum);
  if (stored.maximum !== undefined) number = number.max(stored.maximum);
  if (stored.exclusiveMinimum !== undefined) number = number.gt(stored.exclusiveMinimum);
  if (stored.exclusiveMaximum !== undefined) number = number.lt(stored.exclusiveMaximum);
  for (const { multipleOf } of [stored, ...(stored.allOf ?? [])])
    if (multipleOf !== undefined) number = number.multipleOf(multipleOf);
  return number;
}
