/** Coming into a database for the first time: the schemas, under whatever rights the user has. */
import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import pg from "pg";
import { afterEach, expect, it } from "vitest";
import { prepareSchemas } from "../../src/app/open/open-project.js";
import { removeTriggers } from "../../src/sources/table/triggers.js";
import { pipeline } from "../../src/index.js";
import { openDatabase, raw, sql, type Database } from "../../src/postgres/database.js";
import { LEDGER_VERSION } from "../../src/store/ledger/understood.js";
import { createDatabase, describeDatabases, type TestDatabase, newestKinds } from "../support/databases.js";
import { createMovies, differences, insertMovies, moviesPipeline, quick } from "../support/movies.js";
import { startProject, type TestProject } from "../support/project.js";
import { films } from "../support/films.js";

describeDatabases(
  "A first start",
  (kind) => {
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
      expect(applied.flat()).toHaveLength(LEDGER_VERSION);
      expect(await prepareSchemas(open())).toEqual([]);
      const [first] = databases;
      const rows = await first?.rows(sql`select count(*)::int as deployments from rowmill.deployment`);
      expect(rows).toEqual([{ deployments: 1 }]);
    });

    it("completes a ledger whose last statement was never run, as a script that broke off leaves it", async () => {
      const { open } = await empty();
      const database = open();
      await prepareSchemas(database);
      await database.run(sql`delete from rowmill.deployment`);
      expect(await prepareSchemas(open())).toEqual([]);
      expect(await database.rows(sql`select 1 from rowmill.deployment`)).toHaveLength(1);
    });

    it("lives with a ledger to which a newer version added, and refuses one that takes a newer version", async () => {
      const { open } = await empty();
      const database = open();
      await prepareSchemas(database);
      await database.run(sql`insert into rowmill.migrations (version, name, sha256) values (99, 'later', 'x')`);
      expect(await prepareSchemas(open())).toEqual([]);
      await database.run(sql`update rowmill.deployment set oldest_version = 99`);
      await expect(prepareSchemas(open())).rejects.toMatchObject({
        code: "version_too_old",
        message: expect.stringContaining("upgraded this ledger to schema version 99"),
        hints: [expect.stringContaining("npm install rowmill@latest"), expect.stringContaining("Nothing is lost")],
      });
    });

    if (kind !== "embedded") {
      for (const rights of ["createrole", "nocreaterole"]) {
        it(`works for a user who is no superuser, with ${rights}`, async () => {
          const project = await startProject(kind, { empty: true });
          cleanups.push(() => project.close());
          const role = await createUser(project, rights);
          // On a server of several tests the role may exist already; a user without CREATEROLE must not depend on it.
          const client = new pg.Client({ connectionString: role.url });
          await client.connect();
          await client.query(
            `create table public.imdb_dataset (imdb_id bigint primary key, "Title" text, "Description" text)`,
          );
          await client.end();
          const worker = await project.worker({ movies: moviesPipeline() }, { url: role.url });
          await insertMovies(project, films().slice(0, 10));
          await project.drain(worker);
          expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
          const [owner] = await project.rows<{ super: boolean }>(sql`
          select r.rolsuper as super
          from pg_proc p
          join pg_roles r on r.oid = p.proowner
          where p.proname like 'arrive%'`);
          expect(owner).toEqual({ super: false });
        });

        it(`renews its triggers on another role's table, for a user with ${rights} who may only put them there`, async () => {
          const project = await startProject(kind, { empty: true });
          cleanups.push(() => project.close());
          const role = await createUser(project, rights);
          await project.database.pool.query(`
          create table public.letters (id int, year int, body text, primary key (id, year)) partition by list (year);
          create table public.letters_1 partition of public.letters for values in (1);
          create table public.letters_2 partition of public.letters for values in (2);
          grant select, trigger on public.letters, public.letters_1, public.letters_2 to ${role.name}`);
          const start = () => project.worker({ letters: lettersPipeline() }, { url: role.url });
          await start();
          const first = await ourTriggers(project);
          expect(first.map(({ relation }) => relation)).toEqual(onEach("letters", "letters_1", "letters_2"));

          // As after an update of Rowmill that changes the trigger's text; and switched off is on again.
          await project.run(sql`update rowmill.pipelines set source_signature = 'of an earlier version'`);
          await project.run(sql`alter table public.letters disable trigger rowmill_1_insert`);
          await start();
          expect(await ourTriggers(project)).toEqual(first);

          await project.run(sql`revoke trigger on public.letters from ${raw(role.name)}`);
          await start();
          await project.run(sql`create table public.letters_3 partition of public.letters for values in (3)`);
          await expect(start()).rejects.toMatchObject({
            code: "source_unsupported",
            hints: expect.arrayContaining([`grant trigger on "public"."letters_3" to "${role.name}";`]),
          });

          await project.run(sql`alter table public.letters detach partition public.letters_1`);
          await project.run(sql`grant trigger on public.letters, public.letters_3 to ${raw(role.name)}`);
          const worker = await start();
          expect((await ourTriggers(project)).map(({ relation }) => relation)).toEqual(
            onEach("letters", "letters_2", "letters_3"),
          );
          await project.run(
            sql`
              insert into public.letters select i, 1 + i % 2, 'Letter ' || i
              from generate_series(1, 4) i
              where i % 2 = 1`,
          );
          await project.drain(worker);
          const [answered] = await project.rows(
            sql`select count(*)::int as count from rowmill.requests where state = 'succeeded'`,
          );
          expect(answered).toEqual({ count: 2 });
          const [id] = worker.pipelines.keys();
          await removeTriggers(worker.database, id ?? 0);
          expect(await ourTriggers(project)).toEqual([]);
        });
      }
    }

    it("needs nothing that a previous start left out, when it was cut off half way", async () => {
      const project = await startProject(kind);
      cleanups.push(() => project.close());
      await createMovies(project);
      await project.worker({ movies: moviesPipeline() });
      // As after a kill between the registration and the installation.
      await project.run(sql`update rowmill.pipelines set source_signature = null`);
      await project.database.pool.query(`drop function rowmill.arrive_1 cascade; drop table public.movie_labels`);
      const worker = await project.worker({ movies: moviesPipeline() });
      await insertMovies(project, films().slice(0, 10));
      await project.drain(worker);
      expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
    });
  },
  newestKinds,
);

/** Its objects go with the database; the role stays for the server's life. */
async function createUser(project: TestProject, rights: string): Promise<{ name: string; url: string }> {
  const name = `user_${randomBytes(4).toString("hex")}`;
  const url = new URL(project.url);
  await project.database.pool.query(`create role ${name} login password 'secret' ${rights}`);
  await project.database.pool.query(
    `grant all on database ${url.pathname.slice(1)} to ${name}; grant all on schema public to ${name}`,
  );
  url.username = name;
  url.password = "secret";
  return { name, url: url.href };
}

function lettersPipeline() {
  return pipeline({
    source: { table: "letters", key: ["id", "year"], columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", user: "{{ body }}" },
    target: { table: "answers" },
  });
}

function ourTriggers(project: TestProject): Promise<{ relation: string }[]> {
  return project.rows(sql`
    select t.oid::int8::text as oid, c.relname as relation, t.tgname as name, t.tgenabled::text as enabled
    from pg_trigger t
    join pg_class c on c.oid = t.tgrelid
    where t.tgname like 'rowmill%'
    order by c.relname, t.tgname`);
}

/** INSERT, UPDATE, DELETE and TRUNCATE. */
function onEach(...relations: readonly string[]): string[] {
  return relations.flatMap((relation) => [relation, relation, relation, relation]);
}

async function migrationNames(): Promise<string[]> {
  const names = await readdir(new URL("../../migrations/", import.meta.url));
  return names.filter((name) => name.endsWith(".sql")).sort();
}
