/**
 * What a target's own code does to a row: that row alone fails, with the database's message; what refuses every row
 * pauses, and costs nothing.
 */
import { randomBytes } from "node:crypto";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import {
  buildCli,
  runCli,
  runCommand,
  serverKind,
  until,
  startCliProject,
  unlessServer,
  type CliProject,
} from "../support/cli.js";

beforeAll(buildCli, 150_000);

interface Case {
  /** Rows with the ids 1 to this. */
  readonly rows: number;
  /** `$t`: the target, made before with label, rowmill_at and rowmill_model; `$s`: the source. */
  readonly setUp: string;
  /** The rows that it does not take, and what `rowmill show` says of them. */
  readonly refused: Readonly<Record<number, string>>;
}

const code = (body: string, returns = "new"): string =>
  `create function $t_code() returns trigger language plpgsql as $$ begin ${body} return ${returns}; end $$;`;
const before = (body: string, on = "insert or update"): string =>
  `${code(body)} create trigger code before ${on} on $t for each row execute function $t_code();`;
const raises = (id: number, sqlState: string): string =>
  `if new.id = ${id} then raise exception 'no label for %', new.id using errcode = '${sqlState}'; end if;`;
const notHeld = "does not hold what was written at this key";

const cases: Readonly<Record<string, Case>> = {
  raises: {
    rows: 50,
    setUp: before(
      [raises(2, "P0001"), raises(17, "42501"), raises(18, "RM123"), raises(19, "57P01"), raises(20, "25006")].join(
        " ",
      ),
    ),
    refused: {
      2: "no label for 2",
      17: "no label for 17",
      18: "no label for 18",
      19: "no label for 19",
      20: "no label for 20",
    },
  },
  at_commit: {
    rows: 6,
    setUp: `${code(raises(2, "P0001"), "null")}
      create constraint trigger code after insert or update on $t deferrable initially deferred for each row
        execute function $t_code();
      create table $t_parents as select * from generate_series(1, 6) id where id <> 5;
      alter table $t_parents add primary key (id);
      alter table $t add foreign key (id) references $t_parents deferrable initially deferred`,
    refused: { 2: "no label for 2", 5: "violates foreign key constraint" },
  },
  not_held: {
    rows: 7,
    setUp: `create table $t_elsewhere (id int, label text);
      insert into $t values (7, 'old', now() - interval '1 day', 'x');
      ${before(`if new.id = 2 then return null; end if;
        if new.id = 3 then insert into public.$t_elsewhere values (new.id, new.label); return null; end if;
        if new.id = 4 then new.id = 1004; end if;
        if new.id = 7 and tg_op = 'UPDATE' then return old; end if;`)}
      create function $t_after() returns trigger language plpgsql as $$
        begin delete from public.$t where id = 5; return null; end $$;
      create trigger after_it after insert on $t for each row execute function $t_after()`,
    refused: { 2: notHeld, 3: notHeld, 4: notHeld, 5: notHeld, 7: notHeld },
  },
  // And what a trigger writes in a block of its own counts.
  unstamped: {
    rows: 3,
    setUp: `alter table $t drop column rowmill_at, drop column rowmill_model;
      insert into $t values (2, 'old'), (3, 'old');
      ${before("if new.id = 2 then return null; end if;")}
      create function $t_touch() returns trigger language plpgsql as $$ begin
        begin update public.$t set label = label || '!' where id = new.id; exception when others then raise; end;
        return null; end $$;
      create trigger touch after insert or update on $t for each row when (pg_trigger_depth() = 0)
        execute function $t_touch()`,
    refused: { 2: notHeld },
  },
  // The source is its own target, and has a rule in place of a trigger.
  ruled: {
    rows: 3,
    setUp: `alter table $s add column label text;
      create rule keep as on update to $s where new.id = 2 and new.label is not null do instead nothing`,
    refused: { 2: notHeld },
  },
};

describe(`A target with code of its own${unlessServer}`, { timeout: 120_000 }, () => {
  let project: CliProject;
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  const run = (text: string) => project.database.pool.query(text);

  async function make(name: string, { rows, setUp }: Pick<Case, "rows" | "setUp">): Promise<void> {
    const words: Readonly<Record<string, string>> = { $t: `ans_${name}`, $s: name };
    await run(`create table ${name} (id int primary key, body text);
      create table ans_${name} (id int primary key, label text, rowmill_at timestamptz, rowmill_model text);
      ${setUp.replaceAll(/\$[ts](?![a-z$])/g, (word) => words[word] ?? word)};
      insert into ${name} select n, '${name}, text ' || n from generate_series(1, ${rows}) n`);
  }

  const pipelineText = (name: string, target = `{ table: "ans_${name}" }`): string =>
    `${name}: pipeline({ source: { table: "${name}", key: "id", columns: ["body"] }, polling,
      request: { model: "gpt-4o-mini", user: "{{ body }}" }, answer: z.object({ label: z.string() }), target: ${target} })`;

  const executed = async () => (await project.gateway.journal.summary()).executed;

  async function idsIn(table: string, where = "true"): Promise<number[]> {
    const rows = await project.database.rows<{ id: number }>(
      raw(`select id from public.${table} where ${where} order by id`),
    );
    return rows.map(({ id }) => id);
  }

  it.skipIf(unlessServer !== "")(
    "fails each row that it refuses, with its own message, and writes the others",
    async () => {
      project = await startCliProject(serverKind);
      for (const [name, each] of Object.entries(cases)) await make(name, each);
      const targetOf = (name: string) => (name === "ruled" ? name : `ans_${name}`);
      const texts = Object.keys(cases).map((name) => pipelineText(name, `{ table: "${targetOf(name)}" }`));
      await project.writeConfig(texts.join());
      const ended = await project.run("up", "--until-idle");
      expect(ended.status, ended.stderr).toBe(3);
      for (const [name, { rows, refused }] of Object.entries(cases)) {
        const failed = await project.database.rows<{ key: string; code: string; kept: string | null }>(sql`
          select r.key, r.error_code as code, a.answer as kept
          from rowmill.requests r
          join rowmill.pipelines p on p.id = r.pipeline_id
          left join rowmill.attempts a on a.request_id = r.id and a.outcome = 'unwritable'
          where r.state <> 'succeeded' and p.name = ${name} order by r.key::int`);
        expect([name, ...failed.map(({ key, code }) => [key, code])]).toEqual([
          name,
          ...Object.keys(refused).map((id) => [id, "unwritable"]),
        ]);
        for (const { kept } of failed) expect(JSON.parse(kept ?? "")).toMatchObject({ label: expect.any(String) });
        const others = Array.from({ length: rows }, (_, index) => index + 1).filter((id) => !(id in refused));
        expect([name, await idsIn(targetOf(name), "label <> 'old'")]).toEqual([name, others]);
      }
      expect(await idsIn("ans_not_held_elsewhere")).toEqual([]);
      expect(await executed()).toBe(Object.values(cases).reduce((sum, { rows }) => sum + rows, 0));
      for (const [name, key] of [
        ["raises", 17],
        ["at_commit", 5],
        ["not_held", 3],
      ] as const) {
        const shown = await project.run("show", name, `${key}`);
        const text = shown.stdout.replaceAll(/\s+/g, " ");
        expect(text).toContain("unwritable");
        expect(text).toContain(cases[name]?.refused[key]);
      }
    },
  );

  it.skipIf(unlessServer !== "")(
    "pauses while it refuses every row, and is written without another payment once it takes them",
    async () => {
      project = await startCliProject(serverKind);
      const all = (sqlState: string) => before(`raise exception 'closed for %', new.id using errcode = '${sqlState}';`);
      await make("closed", { rows: 4, setUp: all("P0001") });
      await make("nothing_kept", { rows: 3, setUp: before("return null;") });
      await make("at_commit", {
        rows: 3,
        setUp: `create table $t_parents (id int primary key);
          alter table $t add foreign key (id) references $t_parents deferrable initially deferred`,
      });
      await make("given_up", { rows: 3, setUp: all("42501") });
      const names = ["closed", "nothing_kept", "at_commit", "given_up"];
      await project.writeConfig(names.map((name) => pipelineText(name)).join());
      const paused = await project.run("up", "--until-idle");
      expect(paused.status, paused.stderr).toBe(4);
      expect(paused.stderr).toMatch(
        /closed: Each of 4 answers was refused by the target ans_closed\. Row "\d+": "The database refused: closed for \d+\."\..* rowmill resume closed/,
      );
      const states = async () => {
        const { pipelines } = await project.status();
        return Object.fromEntries(
          pipelines.map(({ name, batched, failed, succeeded }) => [name, { batched, failed, succeeded }]),
        );
      };
      const open = (batched: number) => ({ batched, failed: 0, succeeded: 0 });
      expect(await states()).toEqual({
        closed: open(4),
        nothing_kept: open(3),
        at_commit: open(3),
        given_up: open(3),
      });
      expect(await executed()).toBe(13);
      await run(
        `drop trigger code on ans_closed; drop trigger code on ans_nothing_kept;
          insert into ans_at_commit_parents values (1), (2), (3)`,
      );
      expect((await project.run("resume", "closed")).status).toBe(0);
      await run(
        `update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null where name in ('nothing_kept', 'at_commit')`,
      );
      const accepted = await project.run("resume", "given_up", "--accept");
      expect(accepted.stdout).toContain("it no longer pauses for unwritable answers");
      const ended = await project.run("up", "--until-idle");
      expect(ended.status, ended.stderr).toBe(3);
      const written = (succeeded: number) => ({ batched: 0, failed: 0, succeeded });
      expect(await states()).toEqual({
        closed: written(4),
        nothing_kept: written(3),
        at_commit: written(3),
        given_up: { batched: 0, failed: 3, succeeded: 0 },
      });
      expect(await executed()).toBe(13);
    },
  );

  it.skipIf(unlessServer !== "")(
    "pauses, and blames no row, where a right is taken away while its one row is being answered",
    async () => {
      let held = true;
      project = await startCliProject(serverKind, { gateway: { faults: { hold: () => held } } });
      const role = `writer_${randomBytes(4).toString("hex")}`;
      const url = new URL(project.env["DATABASE_URL"] ?? "");
      await run(`create role ${role} login createrole password 'secret'; grant create on schema public to ${role};
        grant create on database ${url.pathname.slice(1)} to ${role}`);
      await make("single", {
        rows: 1,
        setUp: `alter table $t owner to ${role}; alter table $s owner to ${role}`,
      });
      url.username = role;
      url.password = "secret";
      await project.writeConfig(pipelineText("single"));
      const as = { cwd: project.folder, env: { ...project.env, DATABASE_URL: url.href } };
      const up = runCli(["up", "--until-idle"], as);
      await until("the batch is sent", async () => {
        const there = await project.database.rows(sql`select 1 as one from pg_tables where schemaname = 'rowmill'`);
        const sent = sql`select 1 as one from rowmill.batches where state = 'running'`;
        return there.length > 0 && (await project.database.rows(sent)).length > 0;
      });
      await run(`revoke insert on ans_single from ${role}`);
      held = false;
      project.gateway.release();
      const paused = await up;
      expect(paused.status, paused.stderr).toBe(4);
      expect(paused.stderr).toMatch(
        /single: The answer was refused by the target ans_single\. .*permission denied for table ans_single/,
      );
      await run(`grant insert on ans_single to ${role}`);
      expect((await runCommand(["resume", "single"], as)).status).toBe(0);
      const ended = await runCommand(["up", "--until-idle"], as);
      expect(ended.status, ended.stderr).toBe(0);
      expect(await idsIn("ans_single", "label is not null")).toEqual([1]);
      expect(await executed()).toBe(1);
    },
  );
});
