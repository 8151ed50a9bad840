/** Reads `categories:string[],summary:string`: the fields of an answer as you type them. Pure. */
import { z } from "zod";
import { RowmillError } from "../../model/errors.js";
import { nearMatch } from "../../model/words/near-match.js";

export interface AnswerFieldChoice {
  readonly name: string;
  /** What stands in the config, such as `z.array(z.string())`. */
  readonly zod: string;
}

interface FieldType {
  readonly zod: string;
  readonly schema: z.ZodType;
}

const PLAIN: Readonly<Record<string, FieldType>> = {
  string: { zod: "z.string()", schema: z.string() },
  integer: { zod: "z.int()", schema: z.int() },
  number: { zod: "z.number()", schema: z.number() },
  boolean: { zod: "z.boolean()", schema: z.boolean() },
};

export const ANSWER_EXAMPLE = "categories:string[],summary:string";

/**
 * `text` alone: no schema. A type is string, integer, number or boolean, with `[]` for a list, or words with `|`
 * between them; `?` at the end allows null.
 * @throws RowmillError `usage`
 */
export function readAnswerFields(text: string): readonly AnswerFieldChoice[] | null {
  return readFields(text)?.map(({ name, zod }) => ({ name, zod })) ?? null;
}

/** The same as the schema itself; null: the text as it is. @throws RowmillError `usage` */
export function answerSchema(text: string): z.ZodType | null {
  const fields = readFields(text);
  return fields === null ? null : z.object(Object.fromEntries(fields.map(({ name, schema }) => [name, schema])));
}

function readFields(text: string): readonly (FieldType & { readonly name: string })[] | null {
  if (text.trim() === "text") return null;
  const fields = text.split(",").map((part) => readField(part.trim()));
  const twice = fields.find((field, index) => fields.findIndex(({ name }) => name === field.name) < index);
  if (twice !== undefined) throw refused(`the field "${twice.name}" appears twice`);
  return fields;
}

function readField(part: string): FieldType & { readonly name: string } {
  const [, name, mark, type = ""] = /^([A-Za-z_][A-Za-z0-9_]*)(\?)?\s*:\s*(.+)$/.exec(part) ?? [];
  if (name === undefined) throw refused(`"${part}" is not a field: write it as name:type`);
  // In an object's text it is not a key.
  if (name === "__proto__") throw refused('a field cannot be named "__proto__"');
  const ends = type.endsWith("?");
  const { zod, schema } = readType(ends ? type.slice(0, -1).trim() : type.trim());
  return ends || mark !== undefined
    ? { name, zod: `${zod}.nullable()`, schema: schema.nullable() }
    : { name, zod, schema };
}

function readType(type: string): FieldType {
  const known = Object.hasOwn(PLAIN, type) ? PLAIN[type] : undefined;
  if (known !== undefined) return known;
  if (type.endsWith("[]")) {
    const { zod, schema } = readType(type.slice(0, -2).trim());
    return { zod: `z.array(${zod})`, schema: z.array(schema) };
  }
  const words = type.split("|").map((word) => word.trim());
  if (words.length > 1 && !words.includes(""))
    return { zod: `z.enum(${JSON.stringify(words).replaceAll(",", ", ")})`, schema: z.enum(words) };
  const near = nearMatch(type, Object.keys(PLAIN));
  const meant = near === null ? "" : `; did you mean "${near}"?`;
  throw refused(
    `"${type}" is not a type: use string, integer, number or boolean, a list such as string[], or words such ` +
      `as red|green${meant}`,
  );
}

function refused(problem: string): RowmillError {
  return new RowmillError("usage", `--answer: ${problem}`, {
    hints: [`Example: --answer ${ANSWER_EXAMPLE}`, "To keep the model's text as it is: --answer text"],
  });
}
