/**
 * Owns the way from a zod schema to a plain tree (`SchemaNode`), and to the JSON schema of a vendor's *strict* mode.
 * Pure.
 *
 * Strict mode (Structured Outputs, "Supported schemas", 2026): all properties required, `additionalProperties`
 * false, no `allOf`, `oneOf`, `not`, `minLength`, `maxLength`, and another dialect of regular expressions. Dropped
 * rules go into the description for the model, and zod checks them in the answer.
 */
import { z } from "zod";
import type { Json } from "../pipeline.js";

/** A JSON schema made plain: one type a node or a choice of nodes; `const`, `oneOf` and type lists are gone. */
export type SchemaNode = { readonly description?: string } & (
  | { readonly kind: "choice"; readonly of: readonly SchemaNode[] }
  | { readonly kind: "object"; readonly fields: readonly SchemaField[] }
  | { readonly kind: "array"; readonly items: SchemaNode; readonly keywords: Keywords }
  | {
      readonly kind: "string" | "number" | "integer" | "boolean" | "null";
      /** The allowed values, all of this node's kind; null: any. */
      readonly values: readonly Json[] | null;
      readonly keywords: Keywords;
      /** Characters of a string, at most; absent: any number. */
      readonly lengthMax?: number;
    }
);

export interface SchemaField {
  readonly name: string;
  readonly node: SchemaNode;
  /** zod lets it be absent from the answer (optional, default, prefault). */
  readonly optional: boolean;
}

/** Keywords of strict mode, as they are sent. */
type Keywords = Readonly<Record<string, Json>>;

type JsonSchema = Readonly<Record<string, unknown>>;

const STRICT_FORMATS = "date-time time date duration email hostname ipv4 ipv6 uuid".split(" ");
const NUMBER_KEYWORDS = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"] as const;
const ARRAY_KEYWORDS = ["minItems", "maxItems"] as const;

/** What any zod 4 accepts (`input`) or yields (`output`). @throws Error for what JSON schema cannot express */
export function readSchema(schema: z.ZodType, side: "input" | "output"): SchemaNode {
  const json = z.toJSONSchema(schema, {
    io: side,
    cycles: "throw",
    reused: "inline",
    // An empty registry: ids would become $defs, and strict mode has no examples or titles.
    metadata: z.registry<Record<string, unknown>>(),
    override: ({ zodSchema, jsonSchema }) => {
      const description = descriptionOf(zodSchema);
      if (description !== null) jsonSchema.description = description;
    },
  });
  return readNode(json as JsonSchema);
}

/** The schema for strict mode. Properties keep your order, because the model writes in it. */
export function strictSchema(node: SchemaNode): Json {
  const described = node.description === undefined ? {} : { description: node.description };
  switch (node.kind) {
    case "choice":
      return { ...described, ...strictChoice(node.of) };
    case "object": {
      const properties = node.fields.map((field): [string, Json] => [field.name, strictField(field)]);
      return {
        type: "object",
        ...described,
        properties: Object.fromEntries(properties),
        required: node.fields.map((field) => field.name),
        additionalProperties: false,
      };
    }
    case "array":
      return { type: "array", ...described, items: strictSchema(node.items), ...node.keywords };
    default:
      return {
        type: node.kind,
        ...described,
        ...(node.values === null ? {} : { enum: [...node.values] }),
        ...node.keywords,
      };
  }
}

export function acceptsNull(node: SchemaNode): boolean {
  return node.kind === "choice" ? node.of.some(acceptsNull) : node.kind === "null";
}

function strictField(field: SchemaField): Json {
  if (!field.optional || acceptsNull(field.node)) return strictSchema(field.node);
  const choices = field.node.kind === "choice" ? field.node.of : [withoutDescription(field.node)];
  const description = field.node.description;
  const nullable: SchemaNode = { kind: "choice", of: [...choices, NULL_NODE] };
  return strictSchema(description === undefined ? nullable : { ...nullable, description });
}

const NULL_NODE: SchemaNode = { kind: "null", values: null, keywords: {} };

function withoutDescription(node: SchemaNode): SchemaNode {
  const { description: _, ...rest } = node;
  return rest as SchemaNode;
}

/** `type: [x, "null"]` if that is enough, because most servers read it; else `anyOf`. */
function strictChoice(choices: readonly SchemaNode[]): Record<string, Json> {
  const others = choices.filter((choice) => choice.kind !== "null");
  const only = others[0];
  if (choices.length === 2 && others.length === 1 && only !== undefined && only.kind !== "choice") {
    const plain = strictSchema(only);
    if (plain !== null && typeof plain === "object" && !Array.isArray(plain)) {
      const values = Array.isArray(plain["enum"]) ? { enum: [...plain["enum"], null] } : {};
      return { ...plain, ...values, type: [only.kind, "null"] };
    }
  }
  return { anyOf: choices.map(strictSchema) };
}

function readNode(json: JsonSchema): SchemaNode {
  const choices = json["anyOf"] ?? json["oneOf"];
  if (Array.isArray(choices)) return choiceNode(json, choices as JsonSchema[]);
  const values = "const" in json ? [json["const"] as Json] : ((json["enum"] as Json[] | undefined) ?? null);
  const types = typeNames(json, values);
  if (types.length === 0) throw new Error(`strict JSON schema cannot express ${JSON.stringify(json)}`);
  if (types.length !== 1) {
    return choiceNode(
      json,
      types.map((type) => ({ ...json, description: undefined, type })),
    );
  }
  return singleNode(json, types[0] ?? "", values);
}

function choiceNode(json: JsonSchema, choices: readonly JsonSchema[]): SchemaNode {
  const nodes = choices.map(readNode);
  const of = nodes.flatMap((node) => (node.kind === "choice" && node.description === undefined ? node.of : [node]));
  return { ...description(json["description"], []), kind: "choice", of };
}

function singleNode(json: JsonSchema, type: string, values: readonly Json[] | null): SchemaNode {
  const described = description(json["description"], droppedRules(json, type));
  switch (type) {
    case "object":
      return { ...described, kind: "object", fields: readFields(json) };
    case "array":
      return {
        ...described,
        kind: "array",
        items: readNode(json["items"] as JsonSchema),
        keywords: keywordsOf(json, type),
      };
    case "string":
    case "number":
    case "integer":
    case "boolean":
    case "null": {
      const fitting = values?.filter((value) => fitsType(value, type)) ?? null;
      // zod says `number` for literals; whole ones are integers to a database.
      const whole = type === "number" && fitting !== null && fitting.every(Number.isSafeInteger);
      return {
        ...described,
        kind: whole ? "integer" : type,
        values: fitting,
        keywords: keywordsOf(json, type),
        ...(typeof json["maxLength"] === "number" ? { lengthMax: json["maxLength"] } : {}),
      };
    }
    default:
      throw new Error(`strict JSON schema cannot express ${JSON.stringify(json)}`);
  }
}

function readFields(json: JsonSchema): readonly SchemaField[] {
  const required = (json["required"] as readonly string[] | undefined) ?? [];
  return Object.entries((json["properties"] ?? {}) as Record<string, JsonSchema>).map(([name, property]) => ({
    name,
    node: readNode(property),
    optional: !required.includes(name),
  }));
}

function typeNames(json: JsonSchema, values: readonly Json[] | null): readonly string[] {
  const type = json["type"];
  if (typeof type === "string") return [type];
  if (Array.isArray(type)) return type as string[];
  return [...new Set((values ?? []).map((value) => (value === null ? "null" : typeof value)))];
}

function fitsType(value: Json, type: string): boolean {
  if (type === "null") return value === null;
  return typeof value === (type === "integer" ? "number" : type);
}

function keywordsOf(json: JsonSchema, type: string): Keywords {
  const names = type === "array" ? ARRAY_KEYWORDS : type === "string" ? [] : NUMBER_KEYWORDS;
  const kept = names
    .filter((name) => typeof json[name] === "number" && Math.abs(json[name]) !== Number.MAX_SAFE_INTEGER)
    .map((name): [string, Json] => [name, json[name] as number]);
  const format = json["format"];
  if (type === "string" && typeof format === "string" && STRICT_FORMATS.includes(format)) {
    kept.push(["format", format]);
  }
  return Object.fromEntries(kept);
}

/** The rules that strict mode does not take, in words for the model. */
function droppedRules(json: JsonSchema, type: string): readonly string[] {
  if (type !== "string") return [];
  const rules: string[] = [];
  const { minLength, maxLength, pattern, format } = json;
  if (typeof minLength === "number" && minLength > 0) rules.push(`at least ${minLength} characters`);
  if (typeof maxLength === "number") rules.push(`at most ${maxLength} characters`);
  if (typeof format === "string" && !STRICT_FORMATS.includes(format)) rules.push(`in the format ${format}`);
  // A format's pattern adds nothing to its name.
  if (typeof pattern === "string" && typeof format !== "string") rules.push(`matching /${pattern}/`);
  return rules;
}

function description(own: unknown, rules: readonly string[]): { description?: string } {
  const words = typeof own === "string" ? own : "";
  const text = rules.length === 0 ? words : `${words} (${rules.join(", ")})`.trim();
  return text === "" ? {} : { description: text };
}

/** By its getter: another copy of zod has another registry of descriptions. */
function descriptionOf(zodSchema: object): string | null {
  const own = "description" in zodSchema ? zodSchema.description : undefined;
  return typeof own === "string" && own !== "" ? own : null;
}
