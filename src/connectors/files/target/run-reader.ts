/** Reads the lines of a part in their order, with a buffer of one chunk. */
import { open, type FileHandle } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";
import { ConnectorError } from "../../../model/connector.js";
import { readPartLine, type PartLine } from "./part-line.js";

const CHUNK_BYTES = 64 * 1024;

export class RunReader {
  readonly path: string;
  readonly #buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  /** Null: not opened yet. */
  #file: FileHandle | null = null;
  readonly #signal: AbortSignal;
  readonly #decoder = new StringDecoder("utf8");
  #lines: string[] = [];
  #next = 0;
  #rest: string[] = [];
  #ended = false;

  constructor(path: string, signal: AbortSignal) {
    this.path = path;
    this.#signal = signal;
  }

  /** Until there are lines in memory, or the end. @throws Error of the system, such as ENOENT */
  async #fill(): Promise<void> {
    while (this.#next >= this.#lines.length && !this.#ended) {
      this.#signal.throwIfAborted();
      this.#file ??= await open(this.path);
      const { bytesRead } = await this.#file.read(this.#buffer, 0, CHUNK_BYTES);
      this.#ended = bytesRead === 0;
      const text = this.#ended ? this.#decoder.end() : this.#decoder.write(this.#buffer.subarray(0, bytesRead));
      const [first = "", ...others] = text.split("\n");
      this.#rest.push(first);
      [this.#lines, this.#next] = [[], 0];
      if (others.length === 0) continue;
      this.#lines = [this.#rest.join(""), ...others];
      this.#rest = [this.#lines.pop() ?? ""];
    }
  }

  /** Null: there is no more. */
  async text(): Promise<string | null> {
    if (this.#next >= this.#lines.length) await this.#fill();
    return this.#lines[this.#next++] ?? null;
  }

  /** Null: there is no more. @throws ConnectorError if the file is damaged */
  line(): Promise<PartLine | null> | PartLine | null {
    const text = this.#lines[this.#next];
    if (text === undefined) return this.text().then((read) => (read === null ? null : this.#parsed(read)));
    this.#next += 1;
    return this.#parsed(text);
  }

  #parsed(text: string): PartLine {
    const line = readPartLine(text);
    if (line !== null) return line;
    throw new ConnectorError("stop", `${this.path} is damaged: it has a line that Rowmill did not write.`, {
      hints: ["Remove its folder and the file next to it, and deliver all answers: rowmill deliver --replay --all"],
    });
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}
