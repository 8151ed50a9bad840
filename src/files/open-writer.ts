/** Writes records with their answers into a file of any format. */
import { once } from "node:events";
import { createGzip, type Gzip } from "node:zlib";
import { addedColumns, allColumns } from "./added-columns.js";
import type { Encoder, EncoderOptions } from "./encoder.js";
import { writeFailure } from "./file-failure.js";
import type { AnsweredRecord, FileFormat, FileLook, RecordWriter, WriterOptions } from "./file-types.js";
import { formatByName } from "./look-at-file.js";
import type { OpenOptions } from "./parquet/open-parquet.js";
import { parquetEncoder } from "./parquet/write-parquet.js";
import { WholeFile } from "./whole-file.js";
import { CsvEncoder } from "./write-csv.js";
import { JsonlEncoder } from "./write-jsonl.js";

/** @throws RowmillError if the output cannot be written there */
export async function openWriter(out: string, look: FileLook, options: WriterOptions): Promise<RecordWriter> {
  const format = options.format ?? formatByName(out) ?? look.format;
  const gzip = options.gzip ?? /\.gz$/i.test(out);
  const file = await WholeFile.open(out, { overwrite: options.overwrite, input: look.path });
  try {
    const only = format === "jsonl" ? [...options.answer.map(({ field }) => field), "error"] : undefined;
    const columns = await allColumns(look, { only, signal: options.signal });
    const added = addedColumns(columns, options.answer);
    const names = options.errors ? [...added.answers, added.error] : added.answers;
    const { answer, errors, escapeFormulas } = options;
    const encoderOptions = { format, answer, errors, escapeFormulas, added: names, lineEnd: look.lineEnd };
    const { scratch, signal } = options;
    const encoder = await encoderOf(look, columns, { ...encoderOptions, scratch, signal });
    const sink = gzip ? new GzipSink(file, out) : file;
    await sink.write(encoder.head());
    const about = { format, added: names, notes: [...added.notes, ...encoder.notes] };
    return new EncodedWriter(about, encoder, sink, options.signal);
  } catch (error) {
    await file.discard();
    throw error;
  }
}

async function encoderOf(
  look: FileLook,
  columns: readonly string[],
  options: EncoderOptions & OpenOptions,
): Promise<Encoder> {
  if (options.format === "parquet") return parquetEncoder(look, columns, options);
  if (options.format === "jsonl") return new JsonlEncoder(look, columns, options);
  return new CsvEncoder(look, columns, options);
}

interface Sink {
  write(bytes: Buffer): Promise<void>;
  commit(): Promise<void>;
  discard(): Promise<void>;
}

type About = Pick<RecordWriter, "format" | "added" | "notes">;

class EncodedWriter implements RecordWriter {
  readonly format: FileFormat;
  readonly added: readonly string[];
  readonly notes: readonly string[];
  readonly #encoder: Encoder;
  readonly #sink: Sink;
  readonly #signal: AbortSignal | undefined;

  constructor(about: About, encoder: Encoder, sink: Sink, signal: AbortSignal | undefined) {
    this.format = about.format;
    this.added = about.added;
    this.notes = about.notes;
    this.#encoder = encoder;
    this.#sink = sink;
    this.#signal = signal;
  }

  async write(records: readonly AnsweredRecord[]): Promise<void> {
    this.#signal?.throwIfAborted();
    await this.#sink.write(this.#encoder.encode(records));
  }

  async commit(): Promise<void> {
    this.#signal?.throwIfAborted();
    await this.#sink.write(this.#encoder.end());
    await this.#sink.commit();
  }

  discard(): Promise<void> {
    return this.#sink.discard();
  }
}

/** Packs what is written. The same bytes give the same file: gzip's time stamp is left at zero. */
class GzipSink implements Sink {
  readonly #file: WholeFile;
  readonly #path: string;
  readonly #gzip: Gzip = createGzip();
  readonly #copied: Promise<void>;
  #failure: unknown = null;

  constructor(file: WholeFile, path: string) {
    this.#file = file;
    this.#path = path;
    this.#copied = this.#copy();
    // It is thrown by `write` and `commit`.
    this.#copied.catch(() => undefined);
  }

  async #copy(): Promise<void> {
    try {
      for await (const chunk of this.#gzip) await this.#file.write(chunk as Buffer);
    } catch (error) {
      this.#failure = error;
      this.#gzip.destroy();
      throw error;
    }
  }

  async write(bytes: Buffer): Promise<void> {
    if (this.#failure !== null) throw writeFailure(this.#path, this.#failure);
    if (bytes.length === 0 || this.#gzip.write(bytes)) return;
    await Promise.race([once(this.#gzip, "drain"), this.#copied]);
  }

  async commit(): Promise<void> {
    if (this.#failure === null) this.#gzip.end();
    await this.#copied;
    await this.#file.commit();
  }

  async discard(): Promise<void> {
    this.#gzip.destroy();
    await this.#copied.catch(() => undefined);
    await this.#file.discard();
  }
}
