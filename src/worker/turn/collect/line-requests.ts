/** Which request each line of an answer file is about: by our own names, or by those of the code that created an adopted batch. */
import { parseCustomId } from "../../../model/request/custom-id.js";
import type { AnswerOutcome } from "../../../model/provider/outcome.js";
import { requestsByCustomId } from "../../../store/batches/adoption.js";
import type { Reader } from "../../../postgres/database.js";

export interface Attributed {
  /** By request, all lines that name it, in the file's order: which one counts, its attempt and content decide. */
  readonly outcomes: ReadonlyMap<string, readonly AnswerOutcome[]>;
  /** Lines about no request of the batch. */
  readonly unknown: number;
}

export async function attributeLines(
  client: Reader,
  batch: { readonly no: number; readonly adoptedPattern: string | null; readonly recovered: boolean },
  read: readonly AnswerOutcome[],
): Promise<Attributed> {
  const noted = batch.adoptedPattern !== null || batch.recovered;
  const names = () => read.flatMap((outcome) => outcome.customId ?? []);
  const adopted = noted ? await requestsByCustomId(client, batch.no, names()) : null;
  const outcomes = new Map<string, AnswerOutcome[]>();
  let unknown = 0;
  for (const outcome of read) {
    const name = outcome.customId ?? "";
    const id = adopted === null ? parseCustomId(name)?.requestId : adopted.get(name);
    if (id === undefined) unknown++;
    else {
      const said = outcomes.get(id);
      if (said === undefined) outcomes.set(id, [outcome]);
      else said.push(outcome);
    }
  }
  return { outcomes, unknown };
}
