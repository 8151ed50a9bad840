/** The suite for targets, on a table of a PostgreSQL elsewhere. */
import pg from "pg";
import { describe, expect, it } from "vitest";
import { postgresTarget } from "../../src/connectors/postgres/target.js";
import { describeTarget } from "../../src/testing/testing.js";
import { createDatabase, describeDatabases } from "../support/databases.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

describeDatabases(
  "another PostgreSQL",
  (kind) => {
    describeTarget(
      `PostgreSQL (${kind})`,
      async () => {
        const database = await createDatabase(kind);
        const proxy = await startTcpProxy(Number(new URL(database.url).port));
        const url = proxy.through(database.url);
        return {
          connect: () => postgresTarget({ url, table: "film_labels" }),
          held: async (pipeline) => {
            const client = new pg.Client({ connectionString: database.url });
            await client.connect();
            const { rows } = await client.query<{ key: string; label: string; score: string }>(
              `select key, label, score from film_labels
               where "rowmill_fence_${pipeline}" is not null and rowmill_model is not null`,
            );
            await client.end();
            return new Map(rows.map(({ key, label, score }) => [key, { label, score: Number(score) }]));
          },
          // PostgreSQL has no such text.
          refused: { label: "a\u0000b", score: 1 },
          goDown: async () => {
            await proxy.refuse();
            proxy.cut();
          },
          comeBack: proxy.accept,
          close: async () => {
            await proxy.close();
            await database.drop();
          },
        };
      },
      { describe, it, expect },
    );
  },
  ["pg14", "pg18"],
);
