/** Reads the lines of a part in their order, with a buffer of one chunk. */
import { createReadStream, type ReadStream } from "node:fs";
import { StringDecoder } from "node:string_decoder";
import { ConnectorError } from "../../../model/connector.js";
import { readPartLine, type PartLine } from "./part-line.js";

const CHUNK_BYTES = 64 * 1024;

export class RunReader {
  readonly path: string;
  readonly #stream: ReadStream;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #signal: AbortSignal;
  readonly #decoder = new StringDecoder("utf8");
  #lines: string[] = [];
  #next = 0;
  #rest: string[] = [];
  #ended = false;

  /** @throws Error of the system at the first read, such as ENOENT */
  constructor(path: string, signal: AbortSignal) {
    this.path = path;
    this.#stream = createReadStream(path, { highWaterMark: CHUNK_BYTES });
    this.#signal = signal;
    this.#chunks = this.#stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** Until there are lines in memory, or the end. */
  async #fill(): Promise<void> {
    while (this.#next >= this.#lines.length && !this.#ended) {
      this.#signal.throwIfAborted();
      const { done = false, value } = await this.#chunks.next();
      this.#ended = done;
      const [first = "", ...others] = (done ? this.#decoder.end() : this.#decoder.write(value)).split("\n");
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

  close(): void {
    this.#stream.destroy();
  }
}
