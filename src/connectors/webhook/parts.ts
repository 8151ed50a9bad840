/** Cuts changes into the bodies that a web hook gets. Pure. */
import type { Change, Written } from "../../model/connector.js";

export const CHANGES_MAX = 500;
export const BODY_BYTES_MAX = 1_000_000;

export interface Part {
  readonly changes: readonly Change[];
  readonly body: string;
}

/** Always cut in the same places, since a part's id must mean the same changes. */
export function partsOf(
  changes: readonly Change[],
  pipeline: string,
): { readonly parts: readonly Part[]; readonly tooLarge: Written["failed"] } {
  const head = `{"pipeline":${JSON.stringify(pipeline)},"results":[`;
  const frameBytes = Buffer.byteLength(head) + 2;
  const parts: { changes: Change[]; texts: string[]; bytes: number }[] = [];
  const tooLarge: { key: string; reason: string }[] = [];
  for (const change of changes) {
    const text = textOf(change);
    const bytes = Buffer.byteLength(text) + 1;
    if (frameBytes + bytes > BODY_BYTES_MAX) {
      tooLarge.push({ key: change.key, reason: `its answer has ${bytes} bytes; a web hook takes at most 1 MB` });
      continue;
    }
    const last = parts.at(-1);
    if (last === undefined || last.changes.length === CHANGES_MAX || last.bytes + bytes > BODY_BYTES_MAX)
      parts.push({ changes: [change], texts: [text], bytes: frameBytes + bytes });
    else {
      last.changes.push(change);
      last.texts.push(text);
      last.bytes += bytes;
    }
  }
  return { parts: parts.map(({ changes, texts }) => ({ changes, body: `${head}${texts.join(",")}]}` })), tooLarge };
}

function textOf(change: Change): string {
  const { key, fence } = change;
  if ("deleted" in change) return JSON.stringify({ key, fence, deleted: true });
  return JSON.stringify({ key, fence, model: change.model, cells: change.cells });
}
