/** Shows how far a sweep is: one live line, and one line for good when a pipeline is through. */
import type { Terminal } from "./terminal.js";
import { counted } from "../words/text.js";

export class SweepProgress {
  readonly #terminal: Terminal;
  #pipeline: string | null = null;
  #rows = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** For `sweepAll`: rows of this pipeline that were compared so far. */
  readonly onChunk = (pipeline: string, rows: number): void => {
    if (pipeline !== this.#pipeline) this.end();
    this.#pipeline = pipeline;
    this.#rows = rows;
    if (this.#terminal.drawsOver) this.#terminal.live([`${pipeline}: ${counted(rows, "row")} seen …`]);
  };

  /** After the last pipeline. */
  end(): void {
    if (this.#pipeline === null) return;
    this.#terminal.endLive();
    this.#terminal.note(`${this.#pipeline}: ${counted(this.#rows, "row")} seen`);
    this.#pipeline = null;
  }
}
