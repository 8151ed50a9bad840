/**
 * Whose code runs when answers are written: a target, or a function that a write to it runs, that belongs to somebody
 * else.
 */
import { randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { raw } from "../../src/postgres/database.js";
import { codeOfWriting } from "../../src/targets/table/owners.js";
import { guarded } from "../../src/worker/guard.js";
import { describeDatabases, newestKinds, bookKeepers } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { intruderObjects, intruderSetups, type IntruderSetup } from "../support/intruder-setups.js";

/** Roles belong to the whole server: no other run may have the same. */
const intruder = `intruder_${randomBytes(4).toString("hex")}`;

function texts(schema: string, target: { table: string; trustOwner?: boolean }) {
  return pipeline({
    source: { table: `${schema}.texts`, key: "id", columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", user: "{{ body }}" },
    answer: z.object({ summary: z.string() }),
    target: { ...target, table: `${schema}.${target.table}` },
  });
}

async function run(project: TestProject, statements: string): Promise<void> {
  await project.database.pool.query(statements.replaceAll("INTRUDER", intruder));
}

async function refusal(project: TestProject, texts: ReturnType<typeof pipeline>): Promise<string | null> {
  return project.worker({ texts }).then(
    () => null,
    (error: Error) => error.message,
  );
}

interface Case {
  readonly setup: IntruderSetup;
  /** Of the user, and `intruder_…` of the intruder. */
  readonly schema: string;
  readonly table: string;
}

const cases = Object.entries(intruderSetups).map(([name, setup], index): [string, Case] => [
  name,
  { setup, schema: `case_${index}`, table: setup.target ?? "labels" },
]);

/** As it stands in the schemas of that case. */
function placed({ schema }: Case, text: string): string {
  return text
    .replaceAll("INTRUDER", intruder)
    .replaceAll(/\bintruder\b/g, `intruder_${schema}`)
    .replaceAll(/\bpublic\b(?!;)/g, schema);
}

describeDatabases(
  "A target with code of another role",
  (kind) => {
    let project: TestProject;
    beforeAll(async () => {
      project = await startProject(kind);
      await run(project, `drop role if exists INTRUDER; create role INTRUDER;`);
      for (const [, one] of cases) {
        const { schema, setup } = one;
        await run(
          project,
          `begin; create schema ${schema}; set local search_path = ${schema}, pg_catalog;
         ${placed(one, intruderObjects)} ${placed(one, setup.sql)} truncate intruder_${schema}.calls; commit;`,
        );
      }
    }, 120_000);
    afterAll(async () => {
      await run(project, "drop owned by INTRUDER cascade; drop role INTRUDER;").finally(() => project.close());
    });

    it.each(cases)("is refused for %s", async (_, one) => {
      const { setup, schema, table } = one;
      const message = await refusal(project, texts(schema, { table }));
      // PostgreSQL 14 has a generated column depend on the function itself.
      expect(message?.replace(/table column (?=\S+\.note)/, "default value for ")).toBe(
        `pipelines.texts: target: writing to "${schema}"."${table}" would run code of other roles with the rights of "postgres": ${placed(one, setup.says)}.`,
      );
      // Nor did what looks at a target and tries its CHECKs.
      expect(await project.rows(sql`select name from ${raw(`intruder_${schema}.calls`)}`)).toEqual([]);
    });

    it("runs that code at a write, if the config trusts the owner", async () => {
      const accepted = cases.map(([, { schema, table }]) => [schema, texts(schema, { table, trustOwner: true })]);
      await project.drain(await project.worker(Object.fromEntries(accepted)));
      for (const [name, { schema, table, setup }] of cases) {
        const written = sql`select id from ${raw(`${schema}.${table}`)} where summary is not null`;
        expect(await project.rows(written), name).toHaveLength(2);
        const calls = await project.rows(sql`select name from ${raw(`intruder_${schema}.calls`)} limit 1`);
        expect(calls, name).toHaveLength(setup.idle ? 0 : 1);
      }
      await project.check();
    });
  },
  bookKeepers,
);

describeDatabases(
  "A target",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
      await run(
        project,
        `drop role if exists INTRUDER; create role INTRUDER login password 'secret'; ${intruderObjects}`,
      );
    });
    afterEach(async () => {
      await project.check().finally(async () => {
        await run(project, "drop owned by INTRUDER cascade; drop role INTRUDER;").finally(() => project.close());
      });
    });
    const answered = () => project.rows(sql`select id from public.labels where summary is not null`);
    const calls = () => project.rows(sql`select name from intruder.calls`);

    it("is checked with few reads if a write runs only PostgreSQL's own code", async () => {
      const found = async (statements: string) => {
        await run(
          project,
          `drop table if exists labels; create table labels (id int primary key, summary text, tags text[]);
            ${statements}`,
        );
        return codeOfWriting(project.database, { target: "public.labels", source: "public.texts" });
      };
      const builtIn = { plain: true, builtIn: true };
      expect(await found("")).toEqual(builtIn);
      expect(await found("create index on labels (summary)")).toEqual(builtIn);
      expect(await found("alter table labels enable row level security")).toEqual(builtIn);
      const more = { plain: true, builtIn: false };
      for (const statements of [
        "alter table labels add column at timestamptz default now()",
        "alter table labels add check (summary <> '')",
        "create index on labels (lower(summary))",
        "create policy p on labels using (id > 0)",
        "alter table labels owner to INTRUDER",
        "alter table labels add foreign key (id) references texts",
      ])
        expect(await found(statements)).toEqual(more);
      const trigger = "create trigger t before insert on labels for each row execute function passes()";
      expect(await found(trigger)).toEqual({ plain: false, builtIn: false });
      await run(project, "drop table labels");
      expect(await codeOfWriting(project.database, { target: "public.labels", source: "public.texts" })).toBeNull();
    });

    it("may hold code of another role that no write of ours runs", async () => {
      await run(
        project,
        `create table intruder.users (id int primary key); alter table intruder.users owner to INTRUDER;
       create table labels (id int primary key, summary text, by int references intruder.users);
       create trigger off before insert on labels for each row execute function intruder.fires();
       alter table labels disable trigger off;
       create trigger replica before insert on labels for each row execute function intruder.fires();
       alter table labels enable replica trigger replica;
       create trigger deletes before delete on labels for each row execute function intruder.fires();
       create trigger empties before truncate on labels execute function intruder.fires();
       create table more_labels () inherits (labels);
       create trigger child before insert or update on more_labels for each row execute function intruder.fires();
       insert into more_labels (id) values (1); delete from intruder.calls;`,
      );
      await project.drain(await project.worker({ texts: texts("public", { table: "labels" }) }));
      expect(await answered()).toHaveLength(2);
      expect(await calls()).toEqual([]);
    });

    it("may belong to another superuser, and so may its functions", async () => {
      await run(
        project,
        `alter role INTRUDER superuser; create table labels (id int primary key, summary text);
       create trigger t before insert on labels for each row execute function intruder.fires();
       alter table labels owner to INTRUDER;`,
      );
      await project.drain(await project.worker({ texts: texts("public", { table: "labels" }) }));
      expect(await calls()).toHaveLength(2);
    });

    it("may belong to the source's owner, and so may its functions", async () => {
      await run(
        project,
        `alter table texts owner to INTRUDER; create table labels (id int primary key, summary text);
       create trigger t before insert on labels for each row execute function intruder.fires();
       alter table labels owner to INTRUDER;`,
      );
      await project.drain(await project.worker({ texts: texts("public", { table: "labels" }) }));
      expect(await calls()).toHaveLength(2);
    });

    it("that gets a trigger of another role while a worker runs is not written: its pipeline pauses, and resumes without the trigger", async () => {
      await run(project, "create table labels (id int primary key, summary text)");
      const worker = await project.worker({ texts: texts("public", { table: "labels" }) });
      await run(project, "create trigger t before insert on labels for each row execute function intruder.fires();");
      await project.drain(worker);
      expect(await answered()).toEqual([]);
      expect(await calls()).toEqual([]);
      const paused = sql`select pause_kind, pause_reason from rowmill.pipelines`;
      expect(await project.rows(paused)).toEqual([
        {
          pause_kind: "target",
          pause_reason: expect.stringContaining("the trigger t on public.labels uses"),
        },
      ]);
      await run(
        project,
        `drop trigger t on labels;
        update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null`,
      );
      await run(project, "update rowmill.batches set next_at = now()");
      await project.drain(worker);
      expect(await answered()).toHaveLength(2);
      expect((await project.gateway.journal.summary()).executed).toBe(2);
    });

    it("that changes its owner while a worker runs is noticed before more is paid", async () => {
      await run(project, "create table labels (id int primary key, summary text)");
      const worker = await project.worker({ texts: texts("public", { table: "labels" }) });
      await run(project, "alter table labels owner to INTRUDER");
      const [bound] = worker.pipelines.values();
      if (!bound) throw new Error("There is no pipeline.");
      await guarded(worker, bound, () => worker.refreshSource(bound));
      await project.drain(worker);
      expect((await project.gateway.journal.summary()).executed).toBe(0);
      await run(project, "alter table labels owner to postgres");
    });
  },
  newestKinds,
);

describeDatabases(
  "A target that row-level security keeps from the worker",
  (kind) => {
    it("is refused for another role's function in its policies", async () => {
      const project = await startProject(kind, { empty: true });
      const worker = `worker_${randomBytes(4).toString("hex")}`;
      try {
        await run(
          project,
          `create role INTRUDER; create role ${worker} login password 'secret'; ${intruderObjects}
           create table labels (id int primary key, summary text); alter table labels enable row level security;
           create policy p on labels using (intruder.accepts(summary));
           grant all on labels, texts to ${worker};
           grant create on database ${new URL(project.url).pathname.slice(1)} to ${worker};`,
        );
        const url = new URL(project.url);
        url.username = worker;
        url.password = "secret";
        await expect(
          project.worker({ texts: texts("public", { table: "labels" }) }, { url: url.href }),
        ).rejects.toThrow(/the function intruder\.accepts\(.*\), which the policy p on public\.labels uses/);
      } finally {
        await run(project, `drop owned by INTRUDER, ${worker} cascade; drop role INTRUDER, ${worker};`);
        await project.close();
      }
    });
  },
  ["pg14", "pg18"],
);
