/** Reads `categories:string[],summary:string`: the fields of an answer as you type them. Pure. */
import { RowmillError } from "../../model/errors.js";
import { nearMatch } from "../../model/words/near-match.js";

export interface AnswerFieldChoice {
  readonly name: string;
  /** What stands in the config, such as `z.array(z.string())`. */
  readonly zod: string;
}

const PLAIN: Readonly<Record<string, string>> = {
  string: "z.string()",
  integer: "z.int()",
  number: "z.number()",
  boolean: "z.boolean()",
};

export const ANSWER_EXAMPLE = "categories:string[],summary:string";

/**
 * `text` alone: no schema. A type is string, integer, number or boolean, with `[]` for a list, or words with `|`
 * between them; `?` at the end allows null.
 * @throws RowmillError `usage`
 */
export function readAnswerFields(text: string): readonly AnswerFieldChoice[] | null {
  if (text.trim() === "text") return null;
  const fields = text.split(",").map((part) => readField(part.trim()));
  const twice = fields.find((field, index) => fields.findIndex(({ name }) => name === field.name) < index);
  if (twice !== undefined) throw refused(`the field "${twice.name}" appears twice`);
  return fields;
}

function readField(part: string): AnswerFieldChoice {
  const [, name, type = ""] = /^([A-Za-z_][A-Za-z0-9_]*)\s*:\s*(.+)$/.exec(part) ?? [];
  if (name === undefined) throw refused(`"${part}" is not a field: write it as name:type`);
  // In an object's text it is not a key.
  if (name === "__proto__") throw refused('a field cannot be named "__proto__"');
  const nullable = type.endsWith("?");
  const zod = readType(nullable ? type.slice(0, -1).trim() : type.trim());
  return { name, zod: nullable ? `${zod}.nullable()` : zod };
}

function readType(type: string): string {
  const known = Object.hasOwn(PLAIN, type) ? PLAIN[type] : undefined;
  if (known !== undefined) return known;
  if (type.endsWith("[]")) return `z.array(${readType(type.slice(0, -2).trim())})`;
  const words = type.split("|").map((word) => word.trim());
  if (words.length > 1 && !words.includes("")) return `z.enum(${JSON.stringify(words).replaceAll(",", ", ")})`;
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
