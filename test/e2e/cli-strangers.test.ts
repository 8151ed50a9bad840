/** An ordinary role makes the target before anybody runs Rowmill, with code in it that makes a superuser. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { openDatabase, sql } from "../../src/store/database.js";
import { buildCli, filmsPipeline, startCliProject, type CliProject } from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { describeDatabases } from "../support/databases.js";

beforeAll(buildCli, 150_000);

/** Roles belong to the whole server: no other run may have the same. */
const intruder = `intruder_${randomBytes(4).toString("hex")}`;
const grab = `if not exists (select from pg_roles where rolname = '${intruder}_super') then execute 'create role ${intruder}_super superuser'; end if;`;
const columns =
  "id bigint primary key, categories text[], summary text, rowmill_at timestamptz, rowmill_model text";
const triggerFunction = `create function grab() returns trigger language plpgsql as $$ begin ${grab} return new; end $$;`;
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
      await run(
        `create role ${intruder} login password 'secret'; grant create on schema public to ${intruder};`,
      );
    });
    afterEach(async () => {
      await run(
        `drop owned by ${intruder} cascade; drop role ${intruder}; drop role if exists ${intruder}_super;`,
      );
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

    it("is written to where target.trustOwner says so, with what its code does", async () => {
      await plant(planted["a trigger"][0]);
      await project.writeConfig(
        filmsPipeline().replace(`table: "film_labels"`, `table: "film_labels", trustOwner: true`),
      );
      const ended = await project.run("up", "--until-idle");
      expect(ended.status, ended.stderr).toBe(0);
      expect(await countLabels(project)).toBe(3);
      expect(await superuserMade()).toHaveLength(1);
      expect((await project.run("doctor")).stdout).toContain(
        `answers can be written into "public"."film_labels"`,
      );
      await project.check();
    });
  },
  ["pg14", "pg18"],
);
