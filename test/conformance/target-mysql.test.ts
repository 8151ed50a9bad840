/** The suite for targets, on a table of MariaDB. */
import { describe, expect, it } from "vitest";
import { mysql } from "../../src/connectors/mysql/mysql.js";
import { describeTarget } from "../../src/testing/testing.js";
import { describeMariaDb } from "../support/describe-mariadb.js";
import { sharedMariaDb } from "../support/mariadb.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

describeMariaDb(() => {
  describeTarget(
    "MariaDB",
    async () => {
      const database = await (await sharedMariaDb()).createDatabase();
      const proxy = await startTcpProxy(Number(new URL(database.url).port));
      const url = proxy.through(database.url);
      return {
        connect: () => mysql({ url, table: "film_labels" }),
        held: async (pipeline) => {
          const rows = await database.rows<{ key: string; label: string; score: string }>(
            `select \`key\`, label, score from film_labels
             where \`rowmill_fence_${pipeline}\` is not null and rowmill_model is not null`,
          );
          return new Map(rows.map(({ key, label, score }) => [key, { label, score: Number(score) }]));
        },
        refused: { label: "not a number", score: "many" },
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
});
