/** The suite for targets, on a table of a SQLite file. */
import { describe, expect, it } from "vitest";
import { sqliteTarget } from "../../src/connectors/sqlite/target.js";
import { describeTarget } from "../../src/testing/testing.js";
import { variants } from "../support/databases.js";
import { openSqliteFile } from "../support/sqlite-file.js";

for (const journal of variants(["wal", "delete"] as const))
  describeTarget(
    `SQLite (journal mode ${journal})`,
    async () => {
      const file = await openSqliteFile(`
        pragma journal_mode = ${journal};
        create table film_labels (
          key text primary key,
          label text check (label <> 'not allowed'),
          score integer,
          rowmill_at text,
          rowmill_model text
        )`);
      return {
        connect: () => sqliteTarget({ url: file.url, table: "film_labels", addColumns: true }),
        held: async (pipeline) => {
          const rows = await file.rows<{ key: string; label: string; score: number }>(
            `select key, label, score
             from film_labels
             where "rowmill_fence_${pipeline}" is not null and rowmill_model is not null`,
          );
          return new Map(rows.map(({ key, ...cells }) => [key, cells]));
        },
        refused: { label: "not allowed", score: 1 },
        goDown: file.moveAway,
        comeBack: file.moveBack,
        close: file.close,
      };
    },
    { describe, it, expect },
  );
