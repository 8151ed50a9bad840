/** What reads rows, when one of them is larger than a row may be: each reader has a case of its own. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { READ_KEYS_MAX, ROW_BYTES_MAX, type RowVersion, type Source } from "../../src/sources/source.js";
import { createTableSource } from "../../src/sources/table/table-source.js";
import { inspectTable } from "../../src/sources/table/inspection.js";
import { raw, type Queryable } from "../../src/postgres/database.js";
import { describeDatabases, bookKeepers } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const LONG_MS = 90_000;
/** As text and compressed. */
const over = sql`repeat('many words ', ${ROW_BYTES_MAX}::int / 11 + 1)`;

function notesPipeline(changes: { target?: string; question?: string; validate?: () => string | null } = {}) {
  const { target = "note_summaries", question = "Sum up:", validate } = changes;
  return pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: `${question} {{ body | slice: 0, 100 }}` },
    answer: z.object({ summary: z.string() }),
    target: { table: target },
    ...(validate === undefined ? {} : { validate }),
  });
}

/** One read after the other, as looks do. */
async function allVersions(source: Source, tx: Queryable, keys: readonly string[]): Promise<RowVersion[]> {
  const all: RowVersion[] = [];
  for (let asked = keys; asked.length > 0;) {
    const { versions, left } = await source.readVersions(tx, asked);
    expect(left.length).toBeLessThan(asked.length);
    all.push(...versions);
    asked = left;
  }
  return all;
}

describeDatabases(
  "Rows over the bound",
  (kind) => {
    let project: TestProject;
    let hold: boolean;
    beforeEach(async () => {
      hold = false;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(4));
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    const grow = (id: number) => project.run(sql`update public.notes set body = ${over} where id = ${id}`);
    const states = async () => (await requests(project)).map(({ state }) => state);

    it(
      "that grew while they were answered are stale, then too large, and asked once they are as they were",
      async () => {
        hold = true;
        const worker = await project.worker({ notes: notesPipeline() });
        await project.round(worker);
        await grow(2);
        hold = false;
        project.gateway.release();
        await project.drain(worker);
        expect(await outcomes(project)).toEqual({ answered: 3, stale: 1, tooLarge: 1 });
        await project.run(sql`update public.notes set body = 'Short again.' where id = 2`);
        await project.drain(worker);
        expect(await outcomes(project)).toEqual({ answered: 4, stale: 1, tooLarge: 1 });
      },
      LONG_MS,
    );

    it(
      "that were answered before keep their answer, and need no other when they are as they were",
      async () => {
        const worker = await project.worker({ notes: notesPipeline() });
        await project.drain(worker);
        await grow(3);
        await project.drain(worker);
        expect(await states()).toEqual(["succeeded", "succeeded", "failed", "succeeded"]);
        await project.run(sql`update public.notes set body = ${plain(3)[2]} where id = 3`);
        await project.drain(worker);
        expect(await outcomes(project)).toEqual({ answered: 4, tooLarge: 1 });
        expect(await states()).toEqual(Array(4).fill("succeeded"));
      },
      LONG_MS,
    );

    it(
      "that went and came back count as unchanged, and a new question does not concern them",
      async () => {
        await grow(1);
        const worker = await project.worker({ notes: notesPipeline() });
        await project.drain(worker);
        await project.run(sql`create table public.kept as select * from public.notes where id = 1`);
        await project.run(sql`delete from public.notes where id = 1`);
        await project.drain(worker);
        expect((await states())[0]).toBe("gone");
        await project.run(sql`insert into public.notes overriding system value select * from public.kept`);
        await project.drain(worker);
        await project.drain(await project.worker({ notes: notesPipeline({ question: "Again:" }) }));
        expect(await outcomes(project)).toEqual({ answered: 6, tooLarge: 1 });
      },
      LONG_MS,
    );

    it(
      "grown by our own write into their table are answered all the same",
      async () => {
        await project.run(sql`alter table public.notes add column summary text`);
        await project.run(
          raw(`create function public.inflate() returns trigger language plpgsql as $$ begin
          if new.summary is not null then new.body := repeat('many words ', ${ROW_BYTES_MAX} / 11 + 1); end if;
          return new; end $$`),
        );
        await project.run(
          sql`
            create trigger inflate before update on public.notes for each row when (old.id = 2)
              execute function public.inflate()`,
        );
        const worker = await project.worker({ notes: notesPipeline({ target: "notes" }) });
        await project.drain(worker);
        await project.run(sql`update rowmill.sweeps set wanted_at = now()`);
        await project.drain(worker);
        expect(await outcomes(project)).toEqual({ answered: 4 });
      },
      LONG_MS,
    );

    it(
      "are reported to the worker by a write that changes only their length, and by no write next to them",
      async () => {
        await project.run(sql`alter table public.notes add column mark int`);
        await grow(1);
        const worker = await project.worker({ notes: notesPipeline() });
        await project.drain(worker);
        const arrivals = () => project.rows<{ keys: string[] }>(sql`select keys from rowmill.arrivals`);
        await project.run(sql`update public.notes set mark = 1`);
        expect(await arrivals()).toEqual([]);
        await project.run(sql`update public.notes set body = body || 'x' where id = 1`);
        expect(await arrivals()).toEqual([{ keys: ["1"] }]);
      },
      LONG_MS,
    );

    if (kind === "pg18")
      it(
        "that the database cannot turn into text, or not in time, hold up no other row",
        async () => {
          await project.run(sql`create table public.numbers (id int primary key, doc jsonb)`);
          // Some kilobytes as stored, 1.2 GB as text.
          await project.run(
            sql`insert into public.numbers select 2, jsonb_agg('1e100000'::numeric) from generate_series(1, 12000)`,
          );
          await project.run(sql`insert into public.numbers values (1, '1'), (3, '1')`);
          const table = await inspectTable(project.database, {
            table: "numbers",
            key: ["id"],
            columns: ["doc"],
          });
          const source = createTableSource(table, { pipelineId: 1, where: null, skipBefore: null });
          const { read, chunk } = await project.database.transaction(async (tx) => ({
            read: await source.readRows(tx, ["2", "3"]),
            chunk: await source.compareChunk(tx, { cursor: null, lastRequestId: "0" }, READ_KEYS_MAX),
          }));
          expect(read.rows[0]).toMatchObject({
            key: "2",
            cells: null,
          });
          expect(isLarge(read.rows[0])).toBe(true);
          expect([...read.rows.slice(1).map(({ key }) => key), ...read.left]).toEqual(["3"]);
          expect(chunk).toEqual({ rows: 3, keys: ["1", "2", "3"], cursor: null, met: "0" });
        },
        LONG_MS,
      );

    it(
      "are neither read nor hashed, whatever their type, and those below it are read in parts",
      async () => {
        await project.run(
          sql`create table public.mixed (id int primary key, body text, data bytea, items text[], doc jsonb)`,
        );
        const bytes = ROW_BYTES_MAX + 1;
        await project.run(sql`insert into public.mixed (id, body) values (1, repeat('x', ${bytes}::int))`);
        await project.run(
          sql`insert into public.mixed (id, data) values (2, decode(repeat('00', ${bytes}::int / 2), 'hex'))`,
        );
        await project.run(
          sql`
            insert into public.mixed (id, items) select 3, array_agg(repeat('item', 1000))
            from generate_series(1, ${bytes}::int / 4000 + 1)`,
        );
        await project.run(
          sql`
            insert into public.mixed (id, doc) select 4, jsonb_agg('1e100000'::numeric)
            from generate_series(1, ${bytes}::int / 100000 + 1)`,
        );
        await project.run(sql`insert into public.mixed (id, body) values (5, repeat(chr(1), ${bytes}::int / 4))`);
        await project.run(
          sql`
            insert into public.mixed (id, body) select n, repeat('y', ${bytes}::int * 9 / 10)
            from generate_series(6, 30) n`,
        );
        const table = await inspectTable(project.database, {
          table: "mixed",
          key: ["id"],
          columns: ["body", "data", "items", "doc"],
        });
        const source = createTableSource(table, { pipelineId: 1, where: null, skipBefore: null });
        const keys = Array.from({ length: 30 }, (_, index) => String(index + 1));
        const { versions, chunk } = await project.database.transaction(async (tx) => ({
          versions: await allVersions(source, tx, keys),
          chunk: await source.compareChunk(tx, { cursor: null, lastRequestId: "0" }, READ_KEYS_MAX),
        }));
        expect(versions.length).toBe(30);
        expect(
          versions
            .filter(isLarge)
            .map((version) => Number(version.key))
            .toSorted((a, b) => a - b),
        ).toEqual([1, 2, 3, 4, 5]);
        expect(new Set(versions.filter((version) => !isLarge(version)).map(({ hash }) => hash)).size).toBe(1);
        expect(chunk.rows).toBeLessThan(30);
        expect(chunk.cursor).toEqual([String(chunk.rows)]);
      },
      LONG_MS,
    );
  },
  bookKeepers,
);

function isLarge(row: { readonly hash: string } | undefined): boolean {
  return /^large:\d+$/.test(Buffer.from(row?.hash ?? "", "hex").toString());
}
