/** Files of tables for tests: written, read whole, and written with answers. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { FileLook, FileRecord, LookOptions, WriterOptions } from "../../src/files/file-types.js";
import { lookAtFile } from "../../src/files/look-at-file.js";
import { openWriter } from "../../src/files/open-writer.js";
import { readRecords } from "../../src/files/read-records.js";
import type { AnswerColumn } from "../../src/model/answer/answer-columns.js";
import type { Json } from "../../src/model/pipeline.js";

export async function scratchFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-files-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function written(content: string | Uint8Array, name = "rows.csv"): Promise<string> {
  const path = join(await scratchFolder(), name);
  await writeFile(path, content);
  return path;
}

export interface ReadFile {
  readonly look: FileLook;
  readonly records: readonly FileRecord[];
}

export async function readFileOf(path: string, options: LookOptions = {}): Promise<ReadFile> {
  const look = await lookAtFile(path, options);
  return { look, records: await recordsIn(look) };
}

export async function recordsIn(look: FileLook): Promise<FileRecord[]> {
  const records: FileRecord[] = [];
  for await (const page of readRecords(look)) records.push(...page.records);
  return records;
}

export async function readTable(content: string | Uint8Array, name?: string, options?: LookOptions): Promise<ReadFile> {
  return readFileOf(await written(content, name), options);
}

/** Cells of each record, or its line and problem. */
export function shown({ look, records }: ReadFile): readonly unknown[] {
  return records.map((record) =>
    "problem" in record ? `${record.line}: ${record.problem}` : look.columns.map((name) => record.cells[name] ?? null),
  );
}

export function column(field: string, type: AnswerColumn["type"] = "text"): AnswerColumn {
  return { field, type, nullable: true, check: null };
}

export const WRITER: WriterOptions = {
  answer: [column("label")],
  errors: false,
  escapeFormulas: true,
  overwrite: false,
};

export interface WriteAnswers extends Partial<WriterOptions> {
  /** The answer to the record of this number. */
  readonly answerTo?: (index: number) => Readonly<Record<string, Json>> | null;
}

/** Writes each record with an answer; returns what the writer notes. */
export async function writeAnswers(
  look: FileLook,
  out: string,
  options: WriteAnswers = {},
): Promise<readonly string[]> {
  const { answerTo = (index: number) => ({ label: `answer ${index}` }), ...rest } = options;
  const writer = await openWriter(out, look, { ...WRITER, ...rest });
  let index = 0;
  for await (const { records } of readRecords(look)) {
    const answered = records.map((record) =>
      "problem" in record
        ? { record, answer: null, error: record.problem }
        : { record, answer: answerTo(index++), error: null },
    );
    await writer.write(answered);
  }
  await writer.commit();
  return writer.notes;
}
