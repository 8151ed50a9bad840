/**
 * Owns the lines that a running batch has made so far, in order: `+` before an answer, `-` before a failure. Output and
 * error files are made from it at the end. Its number of lines is also the batch's progress, from which a restarted
 * gateway continues. Writes survive a killed process.
 */
import { AppendFile } from "./append-file.js";
import { readLineChunks } from "../protocol/input-lines.js";
import { isJsonObject, parseJson, type Json } from "../protocol/json.js";

const READ_LINES = 500;

export interface MadeLine {
  readonly ok: boolean;
  /** JSON, without line feed. */
  readonly text: string;
}

export interface Tokens {
  readonly input: number;
  readonly output: number;
}

export class WorkFile {
  readonly #file: AppendFile;
  /** Where each line begins: all that memory holds of a line. */
  readonly #starts: number[] = [];
  #succeeded = 0;

  private constructor(path: string) {
    this.#file = new AppendFile(path);
  }

  /** Opens it with its first `linesMax` lines and their tokens. Later lines are cut off. */
  static async open(path: string, linesMax: number): Promise<{ work: WorkFile; tokens: Tokens }> {
    const work = new WorkFile(path);
    let tokens: Tokens = { input: 0, output: 0 };
    let end = 0;
    reading: for await (const lines of readLineChunks(path, READ_LINES)) {
      for (const line of lines) {
        if (line === null || work.#starts.length === linesMax) break reading;
        tokens = addTokens(tokens, line);
        work.#note(line, end);
        end += Buffer.byteLength(line) + 1;
      }
    }
    work.#file.truncate(end);
    return { work, tokens };
  }

  get lines(): number {
    return this.#starts.length;
  }

  get completed(): number {
    return this.#succeeded;
  }

  append(lines: readonly MadeLine[]): void {
    const texts = lines.map((line) => (line.ok ? "+" : "-") + line.text);
    let start = this.#file.bytes;
    for (const text of texts) {
      this.#note(text, start);
      start += Buffer.byteLength(text) + 1;
    }
    this.#file.append(texts.map((text) => `${text}\n`).join(""));
  }

  line(index: number): MadeLine {
    const start = this.#starts[index];
    if (start === undefined) throw new RangeError(`The work file has no line ${index}.`);
    const end = this.#starts[index + 1] ?? this.#file.bytes;
    const text = this.#file.read(start, end - start - 1);
    return { ok: text.startsWith("+"), text: text.slice(1) };
  }

  close(): void {
    this.#file.close();
  }

  #note(text: string, start: number): void {
    this.#starts.push(start);
    if (text.startsWith("+")) this.#succeeded += 1;
  }
}

function addTokens(sum: Tokens, line: string): Tokens {
  if (!line.startsWith("+")) return sum;
  const usage = dig(parseJson(line.slice(1)), ["response", "body", "usage"]);
  if (!isJsonObject(usage)) return sum;
  return {
    input: sum.input + Number(usage["prompt_tokens"] ?? 0),
    output: sum.output + Number(usage["completion_tokens"] ?? 0),
  };
}

function dig(value: Json | undefined, path: readonly string[]): Json | undefined {
  return path.reduce<Json | undefined>((at, name) => (isJsonObject(at) ? at[name] : undefined), value);
}
