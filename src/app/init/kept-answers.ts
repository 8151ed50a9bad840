/**
 * Keeps what was answered so far in `.rowmill/init.json`, so that an interrupted `rowmill init` begins with it. No
 * connection string and no key is ever among it. A file that cannot be read counts as none.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const FILE = "init.json";

export type AnswerName = "table" | "columns" | "model" | "prompt" | "form" | "answer" | "name" | "target";

const OF_THE_TABLE: readonly AnswerName[] = ["columns", "name", "target"];

export class KeptAnswers {
  readonly #folder: string;
  readonly #answers: Map<string, string | readonly string[]>;

  private constructor(folder: string, answers: ReadonlyMap<string, string | readonly string[]>) {
    this.#folder = folder;
    this.#answers = new Map(answers);
  }

  /** `folder`: of the project. */
  static async read(folder: string): Promise<KeptAnswers> {
    const state = join(folder, ".rowmill");
    return new KeptAnswers(state, await readAnswers(join(state, FILE)));
  }

  get isEmpty(): boolean {
    return this.#answers.size === 0;
  }

  text(name: AnswerName): string | undefined {
    const answer = this.#answers.get(name);
    return typeof answer === "string" ? answer : undefined;
  }

  list(name: AnswerName): readonly string[] | undefined {
    const answer = this.#answers.get(name);
    return typeof answer === "object" ? answer : undefined;
  }

  /** Written at once: no signal can take it away. Another table makes answers about the previous one void. */
  async keep<T extends string | readonly string[]>(name: AnswerName, answer: T): Promise<T> {
    if (name === "table" && this.#answers.get(name) !== answer)
      for (const other of OF_THE_TABLE) this.#answers.delete(other);
    this.#answers.set(name, answer);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const text = `${JSON.stringify(Object.fromEntries(this.#answers), null, 2)}\n`;
    await writeFile(join(this.#folder, FILE), text, { mode: 0o600 });
    return answer;
  }

  async forget(): Promise<void> {
    await rm(join(this.#folder, FILE), { force: true });
  }
}

async function readAnswers(file: string): Promise<ReadonlyMap<string, string | readonly string[]>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, "utf8"));
  } catch {
    // There is none, or it was cut off while it was written: everything is sent again.
    return new Map();
  }
  const entries = typeof parsed === "object" && parsed !== null ? Object.entries(parsed) : [];
  return new Map(entries.filter((entry): entry is [string, string | string[]] => isAnswer(entry[1])));
}

function isAnswer(value: unknown): boolean {
  if (typeof value === "string") return true;
  return Array.isArray(value) && value.every((part) => typeof part === "string");
}
