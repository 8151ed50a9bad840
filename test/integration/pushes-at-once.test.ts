/**
 * Three clients push versions of the same rows at once: in any order, doubled, cut into pushes of any size. The newest
 * version counts, whoever came last, and each row is asked once. ROWMILL_TEST_RUNS=50 makes more of it.
 */
import fc from "fast-check";
import { pino } from "pino";
import { expect, it } from "vitest";
import { serve } from "../../src/http/serve.js";
import { pipeline, push } from "../../src/index.js";
import { sql } from "../../src/postgres/database.js";
import { createService } from "../../src/service/service.js";
import * as tokens from "../../src/store/tokens/tokens.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { startProject } from "../support/project.js";

const RUNS = Number(process.env["ROWMILL_TEST_RUNS"] ?? 4);
const RUN_MS_MAX = 30_000;
const CLIENTS = 3;
const KEYS = 30;
const VERSIONS = 5;

const films = pipeline({
  source: push({ key: "id", columns: ["body"], version: "v" }),
  polling: { min: "10ms", max: "10ms" },
  request: { model: "gpt-4o-mini", user: "Sum up: {{ body }}", maxOutputTokens: 100 },
  target: { table: "film_labels" },
});

interface Version {
  readonly id: number;
  readonly v: number;
  readonly body: string;
}

const versions: readonly Version[] = Array.from({ length: KEYS * VERSIONS }, (_, index) => {
  const [id, v] = [index % KEYS, Math.floor(index / KEYS) + 1];
  return { id, v, body: `Film ${id} in version ${v}` };
});

/** Some come twice, in the same push or in another one. */
const shuffled = fc
  .tuple(fc.subarray([...versions]), fc.constant(versions))
  .chain(([again, all]) => fc.shuffledSubarray([...all, ...again], { minLength: all.length + again.length }));

interface Client {
  readonly rows: readonly Version[];
  readonly pushRows: number;
  readonly asLines: boolean;
}

const client: fc.Arbitrary<Client> = fc.record({
  rows: shuffled,
  pushRows: fc.constantFrom(1, 3, 10, 60),
  asLines: fc.boolean(),
});

function* pushesOf({ rows, pushRows }: Client): Generator<readonly Version[]> {
  for (let at = 0; at < rows.length; at += pushRows) yield rows.slice(at, at + pushRows);
}

describeDatabases(
  "Pushes of the same rows by three clients at once",
  (kind) => {
    it(
      "leave the newest version of each row, which is asked once",
      async () => {
        const clients = fc.array(client, { minLength: CLIENTS, maxLength: CLIENTS });
        await fc.assert(
          fc.asyncProperty(clients, (drawn) => pushAtOnce(drawn)),
          { numRuns: RUNS, endOnFailure: true },
        );
      },
      30_000 + RUNS * RUN_MS_MAX,
    );

    async function pushAtOnce(clients: readonly Client[]): Promise<void> {
      const project = await startProject(kind);
      const worker = await project.worker({ films });
      const service = createService({ database: project.database, log: pino({ level: "silent" }) });
      const server = await serve({ fetch: service.fetch, host: "127.0.0.1", port: 0, log: () => undefined });
      const { text: token } = await tokens.create(project.database, { scope: "push", pipeline: null, note: null });
      const post = async (rows: readonly Version[], asLines: boolean) => {
        const texts = rows.map((row) => JSON.stringify(row));
        const response = await fetch(`http://127.0.0.1:${server.port}/v1/pipelines/films/rows`, {
          method: "POST",
          body: asLines ? texts.join("\n") : `[${texts.join(",")}]`,
          headers: {
            authorization: `Bearer ${token}`,
            "content-type": asLines ? "application/x-ndjson" : "application/json",
          },
        });
        const told = (await response.json()) as Record<string, number>;
        const distinct = new Set(rows.map(({ id }) => id)).size;
        const { accepted = 0, unchanged = 0, older = 0 } = told;
        expect([response.status, accepted + unchanged + older]).toEqual([200, distinct]);
      };
      try {
        await Promise.all(
          clients.map(async (one) => {
            for (const rows of pushesOf(one)) await post(rows, one.asLines);
          }),
        );
        const newest = versions.filter(({ v }) => v === VERSIONS);
        const stored = await project.rows<{ id: string; body: string; v: string }>(
          sql`select id, body, rowmill_version as v from rowmill_data.films order by id::integer`,
        );
        expect(stored).toEqual(newest.map(({ id, v, body }) => ({ id: String(id), body, v: String(v) })));
        await project.drain(worker);
        expect((await project.gateway.journal.summary()).executed).toBe(KEYS);
        expect(await project.rows(sql`select count(*)::integer as n from rowmill.requests`)).toEqual([{ n: KEYS }]);
        await project.check();
      } finally {
        await server.close(1_000);
        await service.close();
        await project.close();
      }
    }
  },
  bookKeepers,
);
