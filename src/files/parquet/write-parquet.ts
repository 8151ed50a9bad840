/** Writes Parquet by row groups. Columns of a Parquet file keep their types; all texts and the answers are typed. */
import type { ColumnSource, ParquetWriter as Writer } from "hyparquet-writer";
import type { SchemaElement } from "hyparquet";
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import type { Json } from "../../model/pipeline.js";
import type { Encoder, EncoderOptions } from "../encoder.js";
import type { AnsweredRecord, FileLook } from "../file-types.js";
import { openParquet, type OpenOptions } from "./open-parquet.js";
import { asStored, containerOf, type StoredColumn } from "./stored-schema.js";

const GROUP_ROWS_MAX = 20_000;
/** Characters of texts in one row group, roughly. */
const GROUP_CHARACTERS_MAX = 8 * 1024 * 1024;

/** A column of the output, and its value for a record. */
interface OutColumn {
  readonly name: string;
  /** As the file says, the column itself first. */
  readonly elements: readonly SchemaElement[];
  valueOf(one: AnsweredRecord): unknown;
}

export async function parquetEncoder(
  look: FileLook,
  columns: readonly string[],
  options: EncoderOptions & OpenOptions,
): Promise<Encoder> {
  const { ByteWriter, ParquetWriter } = await import("hyparquet-writer");
  const kept = look.format === "parquet" ? await keptColumns(look, options) : { columns: [], notes: [] };
  const own = look.format === "parquet" ? kept.columns : columns.map(textColumn);
  const all = [...own, ...answerColumns(options)];
  const root = { name: "schema", num_children: all.length };
  const bytes = new ByteWriter();
  const schema = [root, ...all.flatMap(({ elements }) => elements.map(asStored))];
  // Statistics would be of stored values, whose order may differ from that of their types.
  const writer = new ParquetWriter({ writer: bytes, schema, statistics: false, createdBy: "rowmill" });
  const taken = (): Buffer => {
    const part = Buffer.from(bytes.getBytes());
    bytes.index = 0;
    return part;
  };
  const final = [root, ...all.flatMap(({ elements }) => elements)];
  return new ParquetEncoder(writer, { columns: all, schema: final, notes: kept.notes }, taken);
}

interface Table {
  readonly columns: readonly OutColumn[];
  readonly schema: SchemaElement[];
  readonly notes: readonly string[];
}

class ParquetEncoder implements Encoder {
  readonly notes: readonly string[];
  readonly #writer: Writer;
  readonly #table: Table;
  readonly #taken: () => Buffer;
  #values: unknown[][];
  #rows = 0;
  #characters = 0;

  constructor(writer: Writer, table: Table, taken: () => Buffer) {
    this.notes = table.notes;
    this.#writer = writer;
    this.#table = table;
    this.#taken = taken;
    this.#values = table.columns.map(() => []);
  }

  head(): Buffer {
    return this.#taken();
  }

  encode(records: readonly AnsweredRecord[]): Buffer {
    for (const one of records) {
      for (const [index, column] of this.#table.columns.entries()) {
        const value = column.valueOf(one) ?? null;
        this.#values[index]?.push(value);
        this.#characters += typeof value === "string" || value instanceof Uint8Array ? value.length : 8;
      }
      this.#rows += 1;
    }
    const isFull = this.#rows >= GROUP_ROWS_MAX || this.#characters >= GROUP_CHARACTERS_MAX;
    return isFull ? this.#group() : Buffer.alloc(0);
  }

  #group(): Buffer {
    const columnData = this.#table.columns.map(({ name }, index): ColumnSource => {
      return { name, data: this.#values[index] ?? [] };
    });
    if (this.#rows > 0) void this.#writer.write({ columnData, rowGroupSize: this.#rows });
    this.#values = this.#table.columns.map(() => []);
    [this.#rows, this.#characters] = [0, 0];
    return this.#taken();
  }

  end(): Buffer {
    const last = this.#group();
    this.#writer.schema = this.#table.schema;
    void this.#writer.finish();
    return Buffer.concat([last, this.#taken()]);
  }
}

const TEXT = { type: "BYTE_ARRAY", converted_type: "UTF8", logical_type: { type: "STRING" } } as const;
const OPTIONAL = { repetition_type: "OPTIONAL" } as const;

/** The first one takes the text of a record that failed. */
function textColumn(name: string, index: number): OutColumn {
  return {
    name,
    elements: [{ name, ...TEXT, ...OPTIONAL }],
    valueOf: ({ record }) => {
      if ("cells" in record) return record.cells[name];
      return index === 0 ? record.raw?.toString() : null;
    },
  };
}

function answerColumns({ answer, added, errors }: EncoderOptions): readonly OutColumn[] {
  const columns = answer.map((column, index): OutColumn => {
    const name = added[index] ?? column.field;
    return {
      name,
      elements: answerElements(name, column),
      valueOf: (one) => answerValue(column, one.answer?.[column.field] ?? null),
    };
  });
  const name = added.at(-1) ?? "";
  if (errors) columns.push({ name, elements: [{ name, ...TEXT, ...OPTIONAL }], valueOf: ({ error }) => error });
  return columns;
}

function answerElements(name: string, { type }: AnswerColumn): readonly SchemaElement[] {
  switch (type) {
    case "bigint":
      return [{ name, type: "INT64", ...OPTIONAL }];
    case "double precision":
      return [{ name, type: "DOUBLE", ...OPTIONAL }];
    case "boolean":
      return [{ name, type: "BOOLEAN", ...OPTIONAL }];
    case "text[]":
      return [
        { name, converted_type: "LIST", logical_type: { type: "LIST" }, num_children: 1, ...OPTIONAL },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", ...TEXT, ...OPTIONAL },
      ];
    default:
      return [{ name, ...TEXT, ...OPTIONAL }];
  }
}

function answerValue({ type }: AnswerColumn, value: Json): unknown {
  if (value === null) return null;
  switch (type) {
    case "bigint":
      return BigInt(value as string | number);
    case "double precision":
      return Number(value);
    case "boolean":
      return value === true || value === "true";
    case "text[]":
      return Array.isArray(value) ? value.map((one) => (typeof one === "string" ? one : JSON.stringify(one))) : null;
    default:
      return typeof value === "string" ? value : JSON.stringify(value);
  }
}

/** Columns of the input with their types; those that cannot be written become texts, which is said. */
async function keptColumns(
  look: FileLook,
  options: OpenOptions,
): Promise<{ readonly columns: readonly OutColumn[]; readonly notes: readonly string[] }> {
  const opened = await openParquet(look, options);
  await opened.close();
  const notes: string[] = [];
  const columns = opened.columns.map((column, index): OutColumn => {
    const name = look.columns[index] ?? column.element.name;
    const reason = whyText(column);
    if (reason !== null) {
      notes.push(`Column ${name} is written as text, because ${reason}.`);
      return { ...textColumn(name, -1), name };
    }
    const [first, ...inside] = elementsOf(column);
    return {
      name,
      elements: [{ ...first, name }, ...inside],
      valueOf: ({ record }) => record.value?.[index],
    };
  });
  return { columns, notes };
}

function elementsOf({ element, children }: StoredColumn): [SchemaElement, ...SchemaElement[]] {
  return [element, ...children.flatMap(elementsOf)];
}

/** What hyparquet-writer cannot write. Null: it can. */
function whyText(column: StoredColumn): string | null {
  const { element, children } = column;
  if (element.type === "INT96") return "timestamps of the type INT96 are no longer written";
  if (element.logical_type?.type === "VARIANT") return "variants cannot be kept";
  const [key] = children[0]?.children ?? [];
  if (
    containerOf(element) === "MAP" &&
    (key?.element.type !== "BYTE_ARRAY" || asStored(key.element).converted_type !== "UTF8")
  )
    return "maps with keys other than texts cannot be kept";
  return children.map(whyText).find((reason) => reason !== null) ?? null;
}
