import { expect, it } from "vitest";
import { postgresSource, type PostgresSourceSpec } from "../../src/connectors/postgres/source.js";

const spec = {
  url: "postgres://shop:sec-ret-word@db.example.com:5432/shop",
  table: "films",
  key: "id",
  columns: ["title"],
  cursor: "changed_at",
} satisfies PostgresSourceSpec<string, string>;
const readsOf = (more: Partial<PostgresSourceSpec<string, string>>) =>
  postgresSource({ ...spec, ...more }).elsewhere.reads;

it.each<[string, Partial<PostgresSourceSpec<string, string>>, boolean]>([
  ["another table", { table: "books" }, true],
  ["another condition", { where: "id > 7" }, true],
  ["another cursor", { cursor: "change_number" }, true],
  ["another database", { url: "postgres://shop:sec-ret-word@db.example.com:5432/archive" }, true],
  ["another overlap", { overlap: "1h" }, false],
  ["another password", { url: "postgres://shop:new-word@db.example.com:5432/shop" }, false],
  ["another name of the server", { url: "postgres://shop:sec-ret-word@10.0.0.7:5432/shop" }, false],
])(
  "A table of another PostgreSQL is read from the beginning only where other rows may be meant: %s",
  (_name, more, isOther) => {
    expect(readsOf(more) !== readsOf({})).toBe(isOther);
    expect(readsOf(more)).not.toContain("word");
  },
);
