/** An ordinary role makes the target before anybody runs Rowmill, with code in it that makes a superuser. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { openDatabase, sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, startCliProject, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { describeDatabases, serverVersions } from "../support/databases.js";

beforeAll(buildCli, 150_000);

/** Roles belong to the whole server: no other run may have the same. */
const intruder = `intruder_${randomBytes(4).toString("hex")}`;
const grab = `if not exists (select from pg_roles where rolname = '${intruder}_super') then
  execute 'create role ${intruder}_super superuser'; end if;`;
const columns = "id bigint primary key, categories text[], summary text, rowmill_at timestamptz, rowmill_model text";
const triggerFunction = `create function grab() returns trigger language plpgsql as $$
  begin ${grab} return new; end $$;`;
const textFunction = `create function grab() returns text language plpgsql as $$ begin ${grab} return 'x'; end $$;`;

/** What is planted → SQL, and what is said of it. */
const planted = {
  "a trigger": [
    `${triggerFunction} create table film_labels (${columns});
     create trigger t before insert or update on film_labels for each row execute function grab();`,
    "the function public.grab(), which the trigger t on public.film_labels uses,",
  ],
  "a default": [
    `${textFunction} create table film_labels (${columns}, note text default grab());`,
    "the function public.grab(), which the default value for public.film_labels.note uses,",
  ],
  "a domain": [
    `${textFunction} create domain words as text check (value is not null and grab() = 'x');
     create table film_labels (${columns.replace("summary text", "summary words")});`,
    "the function public.grab(), which the table column public.film_labels.summary uses,",
  ],
} as const;

describeDatabases(
  "A target that an ordinary role made",
  (kind) => {
    let project: CliProject;
    beforeEach(async () => {
      project = await startCliProject(kind);
      await createFilms(project);
      await insertFilms(project, 3);
      await project.writeConfig(filmsPipeline());
      await run(`create role ${intruder} login password 'secret'; grant create on schema public to ${intruder};`);
    });
    afterEach(async () => {
      await run(`drop owned by ${intruder} cascade; drop role ${intruder}; drop role if exists ${intruder}_super;`);
      await project.close();
    });

    async function run(statements: string): Promise<void> {
      await project.database.pool.query(statements);
    }

    /** By the intruder's own connection. */
    async function plant(statements: string): Promise<void> {
      const url = new URL(project.env["DATABASE_URL"] ?? "");
      url.username = intruder;
      url.password = "secret";
      const own = openDatabase({ connectionString: url.href }, { poolMax: 1 });
      await own.pool.query(statements).finally(() => own.close());
    }

    const superuserMade = () =>
      project.database.rows(sql`select 1 from pg_roles where rolname = ${`${intruder}_super`}`);

    it.each(Object.entries(planted))(
      "with %s is refused by up and reported by doctor, and nothing of it runs",
      async (_, [made, said]) => {
        await plant(made);
        const table = `the table public.film_labels belongs to "${intruder}"`;
        const refused = await project.run("up", "--until-idle");
        expect(refused.status, refused.stderr).toBe(2);
        expect(refused.stderr).toContain(
          `pipelines.films: target: writing to "public"."film_labels" would run code of other roles`,
        );
        expect(refused.stderr).toContain(table);
        expect(refused.stderr).toContain(said);
        expect(refused.stderr).toContain(`alter table public.film_labels owner to "postgres";`);
        const doctor = await project.run("doctor");
        expect(doctor.status).toBe(2);
        expect(doctor.stdout).toContain(
          `  problem      Target: films: target: writing to "public"."film_labels" would run code of other roles`,
        );
        expect(doctor.stdout).toContain(said);
        const schemas = sql`select nspname from pg_namespace where nspname like 'rowmill%'`;
        expect(await project.database.rows(schemas)).toEqual([]);
        expect((await project.gateway.journal.summary()).executed).toBe(0);

        await run(`alter table film_labels owner to postgres;`);
        const again = await project.run("up", "--until-idle");
        expect(again.status).toBe(2);
        expect(again.stderr).not.toContain(table);
        expect(again.stderr).toContain(said);
        expect(await superuserMade()).toEqual([]);
      },
    );

    it.each([
      [
        "a table with a trigger",
        `create table rowmill.migrations (version int primary key, name text, sha256 text,
          applied_at timestamptz default now());
         create trigger t before insert on rowmill.migrations for each row execute function rowmill.grab();`,
      ],
      [
        "views in place of tables",
        `create function rowmill.one() returns bigint language plpgsql as $$ begin ${grab} return 1; end $$;
         create view rowmill.pipelines as select rowmill.one() as id;
         create view rowmill.deployment as select rowmill.one() as id;
         create view rowmill.migrations as select rowmill.one()::int as version;
         create schema rowmill_worker; create view rowmill_worker.jobs as select rowmill.one() as id;`,
      ],
    ])("finds nothing that runs where it made the schema of the ledger with %s", async (_, made) => {
      await run(`do $$ begin execute format('grant create on database %I to ${intruder}', current_database()); end $$`);
      await plant(
        `create schema rowmill; ${triggerFunction.replace("function grab", "function rowmill.grab")} ${made}`,
      );
      for (const args of [
        ["up", "--until-idle"],
        ["status"],
        ["sweep"],
        ["show", "films", "1"],
        ["doctor", "--audit"],
      ]) {
        const refused = await project.run(...args);
        expect(refused.status, args.join(" ")).not.toBe(0);
        expect(refused.stderr).toContain(`the schema rowmill belongs to "${intruder}"`);
      }
      const doctor = await project.run("doctor");
      expect(doctor.status).toBe(2);
      expect(doctor.stdout).toContain(`The schema rowmill belongs to "${intruder}"`);
      expect(await superuserMade()).toEqual([]);
    });

    it("next to a source of the same name, both first in the path, is not taken for the configured one", async () => {
      await run(`create schema early authorization ${intruder}; grant select on films to ${intruder};
        do $$ begin execute format('alter database %I set search_path = early, public', current_database()); end $$`);
      await plant(`${triggerFunction} create table early.films (like public.films including all);
        create table early.film_labels (${columns});
        create trigger t before insert on early.film_labels for each row execute function grab();`);
      const refused = await project.run("up", "--until-idle");
      expect(refused.status).toBe(2);
      expect(refused.stderr).toContain(`films may mean "early"."films" or "public"."films"`);
      const doctor = await project.run("doctor");
      expect(doctor.stdout).toContain("write the schema in front");
      expect(doctor.stdout).toContain(`If you do not trust ${intruder}, who owns the schema`);
      expect(await superuserMade()).toEqual([]);
    });

    it("is written when target.trustOwner allows it, with the effects of its code", async () => {
      await plant(planted["a trigger"][0]);
      await project.writeConfig(
        filmsPipeline().replace(`table: "film_labels"`, `table: "film_labels", trustOwner: true`),
      );
      const ended = await project.run("up", "--until-idle");
      expect(ended.status, ended.stderr).toBe(0);
      expect(await countLabels(project)).toBe(3);
      expect(await superuserMade()).toHaveLength(1);
      expect((await project.run("doctor")).stdout).toContain(`answers can be written into "public"."film_labels"`);
      await project.check();
    });
  },
  serverVersions.map((version) => `pg${version}` as const),
);
