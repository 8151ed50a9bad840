/** What is inferred, exactly, in all property orders: each assignment compiles only when the two types are equal. */
import {
  defineConfig,
  defineSource,
  files,
  defineTarget,
  json,
  pipeline,
  postgres,
  push,
  webhook,
  z,
  type AnswerOf,
  type JsonObject,
  type JsonValue,
  type Pipeline,
  type Row,
} from "rowmill";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

export const sourceFirst = pipeline({
  source: { table: "films", key: "id", columns: ["Title", "Description"] },
  request: {
    model: "m",
    user: (row) => {
      const exact: Equal<typeof row, Row<"Title" | "Description">> = true;
      return exact ? row.Title : null;
    },
  },
  answer: z.object({ genre: z.enum(["drama", "comedy"]), year: z.number().nullable() }),
  validate: (given, row) => {
    const exact: Equal<typeof given, { genre: "drama" | "comedy"; year: number | null }> = true;
    return exact && row.Title === given.genre ? "no" : null;
  },
  target: { table: "labels", columns: { genre: "g", year: "y" } },
});

export const elsewhere = pipeline({
  source: { table: "films", key: "id", columns: ["Title"] },
  request: { model: "m", user: "{{ Title }}" },
  answer: z.object({ genre: z.enum(["drama", "comedy"]), year: z.number().nullable() }),
  target: {
    write: async (changes) => {
      for (const change of changes) {
        if ("deleted" in change) continue;
        const exact: Equal<typeof change.cells, { genre: "drama" | "comedy"; year: number | null }> = true;
        if (!exact) return { failed: [{ key: change.key, reason: change.fence }] };
      }
    },
  },
});

export const textElsewhere = pipeline({
  source: { table: "films", key: "id", columns: ["Title"] },
  request: { model: "m", user: "{{ Title }}" },
  target: {
    write: async (changes) => {
      for (const change of changes)
        if ("cells" in change) {
          const exact: Equal<typeof change.cells, { readonly answer: string }> = true;
          if (!exact) throw new Error(change.cells.answer);
        }
    },
  },
});

const labels = defineTarget<{ genre: string }>({
  promise: "onceInEffect",
  write: async (changes, { id }) => ({ busy: changes.map(({ key }) => key + id) }),
});

export const definedBefore = pipeline({
  source: { table: "films", key: "id", columns: ["Title"] },
  request: { model: "m", user: "{{ Title }}" },
  answer: z.object({ genre: z.enum(["drama", "comedy"]) }),
  target: labels,
});

export const sourceLast = pipeline({
  target: { table: "labels", columns: { genre: "g" } },
  validate: (given, row) => {
    const exact: Equal<typeof given, { genre: string }> = true;
    const exactRow: Equal<typeof row, Row<"Title">> = true;
    return exact && exactRow && given.genre === row.Title ? "no" : null;
  },
  request: { user: (row) => row.Title, system: (row) => row.Title ?? "", model: "m" },
  answer: z.object({ genre: z.string() }),
  source: { columns: ["Title"], key: ["id", "lang"], table: "films" },
});

export const text = pipeline({
  validate: (given) => (given.length > 10 ? "too long" : null),
  request: { model: "m", user: "{{ Title }}" },
  target: { table: "labels", columns: { answer: "opinion" } },
  source: { table: "films", key: "id", columns: ["Title"] },
});

export const free = pipeline({
  validate: (given, row) => {
    const exact: Equal<typeof given, JsonObject> = true;
    const inside: Equal<typeof given.price, JsonValue | undefined> = true;
    return exact && inside && given.price === row.Title ? "no" : null;
  },
  request: { model: "m", user: "{{ Title }} as JSON" },
  answer: json(),
  target: { table: "labels", columns: { answer: "facts" } },
  source: { table: "films", key: "id", columns: ["Title"] },
});

export const pushed = pipeline({
  request: {
    model: "m",
    user: (row) => {
      const exact: Equal<typeof row, Row<"Title" | "Year">> = true;
      return exact ? row.Year : null;
    },
  },
  validate: (given, row) => {
    const exact: Equal<typeof given, { genre: string }> = true;
    return exact && row.Title === given.genre ? "no" : null;
  },
  answer: z.object({ genre: z.string() }),
  target: { table: "labels", columns: { genre: "g" } },
  source: push({ key: ["id", "lang"], columns: ["Title", "Year"], version: "at", keep: "30d" }),
});

const shelf = defineSource({
  key: "id",
  columns: ["Title", "Year"],
  async *rows({ since, signal }) {
    const reply = await fetch(`https://films.example.com/?since=${String(since)}`, { signal });
    yield [{ id: 1, Title: await reply.text(), Year: null }];
  },
});

const read = pipeline({
  source: shelf,
  request: { model: "m", user: (row) => row.Title ?? "" },
  validate: (given, row) => (row.Year === given.genre ? "no" : null),
  answer: z.object({ genre: z.string() }),
  target: webhook({ url: process.env["HOOK_URL"], secret: process.env["HOOK_SECRET"] }),
});

const copied = pipeline({
  source: postgres({ url: process.env["SHOP_URL"], table: "films", key: ["id", "lang"], columns: ["Title"] }),
  request: { model: "m", user: (row) => row.Title ?? "" },
  answer: z.object({ genre: z.string() }),
  target: postgres({ url: process.env["SHOP_URL"], table: "labels", key: ["id", "lang"] }),
});

const filed = pipeline({
  source: files("inbox/*.csv", { key: ["id", "lang"], columns: ["Title", "Year"], delimiter: ";", every: "10s" }),
  request: { model: "m", user: (row) => row.Title ?? "" },
  validate: (given, row) => (row.Year === given.genre ? "no" : null),
  answer: z.object({ genre: z.string() }),
  target: files("out/labels.csv", { format: "csv", escapeFormulas: false }),
});

const filedShort = pipeline({
  source: { table: "films", key: "id", columns: ["Title"] },
  request: { model: "m", user: "{{ Title }}" },
  target: files("out/labels.jsonl"),
});

export const ofFiled: Equal<typeof filed, Pipeline<{ genre: string }, "Title" | "Year", "id" | "lang">> = true;
export const ofFiledShort: Equal<AnswerOf<typeof filedShort>, string> = true;
export const ofRead: Equal<typeof read, Pipeline<{ genre: string }, "Title" | "Year", "id">> = true;
export const ofCopied: Equal<typeof copied, Pipeline<{ genre: string }, "Title", "id" | "lang">> = true;
export const ofSourceFirst: Equal<
  AnswerOf<typeof sourceFirst>,
  { genre: "drama" | "comedy"; year: number | null }
> = true;
export const ofSourceLast: Equal<typeof sourceLast, Pipeline<{ genre: string }, "Title", "id" | "lang">> = true;
export const ofPushed: Equal<typeof pushed, Pipeline<{ genre: string }, "Title" | "Year", "id" | "lang">> = true;
export const ofText: Equal<AnswerOf<typeof text>, string> = true;
export const ofFree: Equal<AnswerOf<typeof free>, JsonObject> = true;

export default defineConfig({
  database: "embedded",
  pipelines: { sourceFirst, sourceLast, text, free, pushed, read, copied, filed, filedShort },
});
