/** The suite for sources, on one of your own: a REST API with pages, with a time of each change and without. */
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { defineSource } from "../../src/index.js";
import { describeSource, type SourceRow, type SourceUnderTest } from "../../src/testing/testing.js";
import { startRowsApi } from "../support/rows-api.js";

const REPLY = z.object({
  now: z.number(),
  rows: z.array(z.object({ id: z.string(), text: z.string().nullable() })),
  next: z.string().nullable(),
});
const OVERLAP_MS = 300_000;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

const sourceOf = (url: string, marks: boolean) =>
  defineSource({
    key: "id",
    columns: ["text"],
    async *rows({ since, place, signal }) {
      for (let after = place, isFirst = place === null; after !== null || isFirst; isFirst = false) {
        const asked = new URL(url);
        if (after !== null) asked.searchParams.set("after", String(after));
        if (since !== null) asked.searchParams.set("changed_since", String(Number(since) - OVERLAP_MS));
        const reply = await fetch(asked, { signal });
        if (!reply.ok) throw new Error(`The rows answered ${reply.status}.`);
        const { rows, next, now } = REPLY.parse(await reply.json());
        yield { rows, place: next, mark: isFirst && marks ? now : null };
        after = next;
      }
    },
  });

for (const marks of [true, false])
  describeSource(
    `REST API ${marks ? "with" : "without"} times of changes`,
    { open: () => openApi(marks), places: true, marks },
    { describe, it, expect },
  );

async function openApi(marks: boolean): Promise<SourceUnderTest> {
  const api = await startRowsApi();
  const put = (rows: readonly SourceRow[], changedAt: number) => {
    for (const row of rows) api.rows.set(row.id, { ...row, changedAt });
    return Promise.resolve();
  };
  return {
    connect: () => sourceOf(api.url, marks).elsewhere,
    put: (rows) => put(rows, Date.now()),
    putLate: (rows) => put(rows, Date.now() - MINUTE_MS),
    age: () => {
      for (const row of api.rows.values()) api.rows.set(row.id, { ...row, changedAt: row.changedAt - DAY_MS });
      return Promise.resolve();
    },
    rename: (id, newId) => {
      const text = api.rows.get(id)?.text ?? null;
      api.rows.delete(id);
      return put([{ id: newId, text }], Date.now());
    },
    remove: (ids) => {
      for (const id of ids) api.rows.delete(id);
      return Promise.resolve();
    },
    goDown: api.goDown,
    comeBack: api.comeBack,
    close: api.goDown,
  };
}
