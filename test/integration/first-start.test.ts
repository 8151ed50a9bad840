/** Coming into a database for the first time: the schemas, under whatever rights the user has. */
import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import pg from "pg";
import { afterEach, expect, it } from "vitest";
import { prepareSchemas } from "../../src/app/open-project.js";
import { openDatabase, sql, type Database } from "../../src/store/database.js";
import { createDatabase, describeDatabases, type TestDatabase } from "../support/databases.js";
import { createMovies, differences, insertMovies, moviesPipeline } from "../support/movies.js";
import { startProject } from "../support/project.js";
import { films } from "../support/films.js";

describeDatabases("A first start", (kind) => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function empty(): Promise<{ made: TestDatabase; open: () => Database }> {
    const made = await createDatabase(kind);
    cleanups.push(() => made.drop());
    const open = () => {
      const database = openDatabase({ connectionString: made.url, ssl: false });
      cleanups.push(() => database.close());
      return database;
    };
    return { made, open };
  }

  it("makes both schemas once, also when two processes come at the same time", async () => {
    const { open } = await empty();
    const databases = [open(), open()];
    const applied = await Promise.all(databases.map((database) => prepareSchemas(database)));
    expect(applied.flat()).toEqual(await migrationNames());
    expect(await prepareSchemas(open())).toEqual([]);
    const [first] = databases;
    const rows = await first?.rows(sql`select count(*)::int as deployments from rowmill.deployment`);
    expect(rows).toEqual([{ deployments: 1 }]);
  });

  it("refuses a ledger that a newer version made, and says what to do", async () => {
    const { open } = await empty();
    const database = open();
    await prepareSchemas(database);
    await database.run(sql`insert into rowmill.migrations (version, name, sha256) values (99, 'later', 'x')`);
    await expect(prepareSchemas(open())).rejects.toMatchObject({
      code: "migration_failed",
      message: expect.stringContaining("version 99, newer than this Rowmill knows"),
      hints: [expect.stringContaining("npm install rowmill@latest")],
    });
  });

  if (kind !== "embedded") {
    for (const rights of ["createrole", "nocreaterole"]) {
      it(`works for a user who is no superuser, with ${rights}`, async () => {
        const project = await startProject(kind, { empty: true });
        cleanups.push(() => project.close());
        const role = `user_${randomBytes(4).toString("hex")}`;
        await project.database.pool.query(`create role ${role} login password 'secret' ${rights}`);
        await project.database.pool.query(
          `grant all on database ${new URL(project.url).pathname.slice(1)} to ${role}; grant all on schema public to ${role}`,
        );
        const url = new URL(project.url);
        url.username = role;
        url.password = "secret";
        // On a server of several tests the role may exist already; a user without CREATEROLE must not depend on it.
        const client = new pg.Client({ connectionString: url.href });
        await client.connect();
        await client.query(
          `create table public.imdb_dataset (imdb_id bigint primary key, "Title" text, "Description" text)`,
        );
        await client.end();
        const worker = await project.worker({ movies: moviesPipeline() }, { url: url.href });
        await insertMovies(project, films().slice(0, 10));
        await project.drain(worker);
        expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
        const [owner] = await project.rows<{ super: boolean }>(sql`
          select r.rolsuper as super from pg_proc p join pg_roles r on r.oid = p.proowner where p.proname like 'arrive%'`);
        expect(owner).toEqual({ super: false });
        // Its objects go with the database; the role stays for the server's life.
      });
    }
  }

  it("needs nothing that a former start left out, when it was cut off half way", async () => {
    const project = await startProject(kind);
    cleanups.push(() => project.close());
    await createMovies(project);
    await project.worker({ movies: moviesPipeline() });
    // As after a kill between the registration and the installation.
    await project.run(sql`update rowmill.pipelines set source_signature = null`);
    await project.database.pool.query(
      `drop function rowmill.arrive_1 cascade; drop table public.movie_labels`,
    );
    const worker = await project.worker({ movies: moviesPipeline() });
    await insertMovies(project, films().slice(0, 10));
    await project.drain(worker);
    expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
  });
});

async function migrationNames(): Promise<string[]> {
  const names = await readdir(new URL("../../migrations/", import.meta.url));
  return names.filter((name) => name.endsWith(".sql")).sort();
}
