/** What a target's own code does to a row: that row alone fails, with the database's message; what refuses every row pauses, and costs nothing. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { raw, sql } from "../../src/store/database.js";
import {
  buildCli,
  runCli,
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
  /** What `rowmill show` says of row 2. */
  readonly says: string;
}

const before = (body: string, on = "insert or update"): string => `
  create function $t_code() returns trigger language plpgsql as $$ begin ${body} return new; end $$;
  create trigger code before ${on} on $t for each row execute function $t_code()`;
const raises = (sqlState: string): string =>
  `if new.id = 2 then raise exception 'no label for two' using errcode = '${sqlState}'; end if;`;
const notHeld = "does not hold what was written at this key";

/** Each: row 2 is refused, the others are written. */
const cases: Readonly<Record<string, Case>> = {
  raises: { rows: 50, setUp: before(raises("P0001")), says: "no label for two" },
  forbids: { rows: 3, setUp: before(raises("42501")), says: "no label for two" },
  unheard_of: { rows: 3, setUp: before(raises("RM123")), says: "no label for two" },
  defers: {
    rows: 20,
    setUp: `create function $t_code() returns trigger language plpgsql as $$ begin ${raises("P0001")} return null; end $$;
      create constraint trigger code after insert or update on $t deferrable initially deferred for each row execute function $t_code()`,
    says: "no label for two",
  },
  orphans: {
    rows: 3,
    setUp: `create table $t_parents as select 1 as id union select 3; alter table $t_parents add primary key (id);
      alter table $t add foreign key (id) references $t_parents deferrable initially deferred`,
    says: "violates foreign key constraint",
  },
  drops: { rows: 3, setUp: before("if new.id = 2 then return null; end if;"), says: notHeld },
  redirects: {
    rows: 3,
    setUp: `create table $t_elsewhere (id int, label text); ${before(
      "if new.id = 2 then insert into public.$t_elsewhere values (new.id, new.label); return null; end if;",
    )}`,
    says: notHeld,
  },
  moves_away: { rows: 3, setUp: before("if new.id = 2 then new.id = 1002; end if;"), says: notHeld },
  keeps_old: {
    rows: 3,
    setUp: `insert into $t values (1, 'old', now() - interval '1 day', 'x'), (2, 'old', now() - interval '1 day', 'x');
      ${before("if new.id = 2 then return old; end if;", "update")}`,
    says: notHeld,
  },
  // And what a trigger writes in a block of its own counts.
  unstamped: {
    rows: 3,
    setUp: `alter table $t drop column rowmill_at, drop column rowmill_model; insert into $t values (2, 'old'), (3, 'old');
      ${before("if new.id = 2 then return null; end if;")};
      create function $t_touch() returns trigger language plpgsql as $$ begin
        begin update public.$t set label = label || '!' where id = new.id; exception when others then raise; end;
        return null; end $$;
      create trigger touch after insert or update on $t for each row when (pg_trigger_depth() = 0) execute function $t_touch()`,
    says: notHeld,
  },
  deletes_after: {
    rows: 3,
    setUp: `create function $t_code() returns trigger language plpgsql as $$ begin delete from public.$t where id = 2; return null; end $$;
      create trigger code after insert on $t for each row execute function $t_code()`,
    says: notHeld,
  },
};

describe(`A target with code of its own${unlessServer}`, { timeout: 120_000 }, () => {
  let project: CliProject;
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  const run = (text: string) => project.database.pool.query(text);

  async function make(name: string, { rows, setUp }: Case): Promise<void> {
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
    "fails the one row that it refuses, with its own message, and writes the others",
    async () => {
      project = await startCliProject(serverKind);
      for (const [name, each] of Object.entries(cases)) await make(name, each);
      // The source as its own target, and a rule in place of a trigger.
      await make("ruled", { rows: 3, setUp: "", says: "" });
      await run(`alter table ruled add column label text;
      create rule keep as on update to ruled where new.id = 2 and new.label is not null do instead nothing`);
      const names = [...Object.keys(cases), "ruled"];
      await project.writeConfig(
        names.map((name) => pipelineText(name, name === "ruled" ? '{ table: "ruled" }' : undefined)).join(),
      );
      const ended = await project.run("up", "--until-idle");
      expect(ended.status, ended.stderr).toBe(3);
      const failed = await project.database.rows<{
        name: string;
        key: string;
        code: string;
        kept: string;
      }>(sql`
      select p.name, r.key, r.error_code as code, a.answer as kept from rowmill.requests r join rowmill.pipelines p on p.id = r.pipeline_id
      left join rowmill.attempts a on a.request_id = r.id and a.outcome = 'unwritable' where r.state <> 'succeeded' order by p.name`);
      expect(failed.map(({ name, key, code }) => [name, key, code])).toEqual(
        names.toSorted().map((name) => [name, "2", "unwritable"]),
      );
      for (const { kept } of failed) expect(JSON.parse(kept)).toMatchObject({ label: expect.any(String) });
      for (const [name, { rows }] of Object.entries(cases)) {
        const others = Array.from({ length: rows }, (_, index) => index + 1).filter((id) => id !== 2);
        expect([name, await idsIn(`ans_${name}`, "label <> 'old'")]).toEqual([name, others]);
      }
      expect(await idsIn("ruled", "label is not null")).toEqual([1, 3]);
      expect(await idsIn("ans_redirects_elsewhere")).toEqual([]);
      const rows = Object.values(cases).reduce((sum, each) => sum + each.rows, 3);
      expect(await executed()).toBe(rows);
      for (const name of ["raises", "defers", "orphans", "drops"]) {
        const shown = await project.run("show", name, "2");
        const text = shown.stdout.replaceAll(/\s+/g, " ");
        expect(text).toContain("unwritable");
        expect(text).toContain(cases[name]?.says);
      }
    },
  );

  it.skipIf(unlessServer !== "")(
    "pauses while it refuses every row, and is written without another payment once it takes them",
    async () => {
      project = await startCliProject(serverKind);
      const all = (sqlState: string) =>
        before(`raise exception 'closed for %', new.id using errcode = '${sqlState}';`);
      await make("closed", { rows: 30, setUp: all("P0001"), says: "" });
      await make("nothing_kept", { rows: 3, setUp: before("return null;"), says: "" });
      await make("at_commit", {
        rows: 3,
        setUp: `create table $t_parents (id int primary key); alter table $t add foreign key (id) references $t_parents deferrable initially deferred`,
        says: "",
      });
      await make("ruled_out", {
        rows: 2,
        setUp: "create rule out as on insert to $t do instead nothing",
        says: "",
      });
      await make("given_up", { rows: 3, setUp: all("42501"), says: "" });
      const names = ["closed", "nothing_kept", "at_commit", "ruled_out", "given_up"];
      await project.writeConfig(names.map((name) => pipelineText(name)).join());
      const paused = await project.run("up", "--until-idle");
      expect(paused.status, paused.stderr).toBe(4);
      expect(paused.stderr).toMatch(
        /closed: Each of 30 answers was refused by the target ans_closed\. Row "\d+": "The database refused: closed for \d+\."\..* rowmill resume closed/,
      );
      const states = async () => {
        const { pipelines } = await project.status();
        return Object.fromEntries(
          pipelines.map(({ name, batched, failed, succeeded }) => [name, { batched, failed, succeeded }]),
        );
      };
      const open = (batched: number) => ({ batched, failed: 0, succeeded: 0 });
      expect(await states()).toEqual({
        closed: open(30),
        nothing_kept: open(3),
        at_commit: open(3),
        ruled_out: open(2),
        given_up: open(3),
      });
      expect(await executed()).toBe(41);
      // Nothing was mended: the same again.
      expect((await project.run("resume", "closed")).status).toBe(0);
      expect((await project.run("up", "--until-idle")).status).toBe(4);
      await run(
        `drop rule out on ans_ruled_out; drop trigger code on ans_closed; drop trigger code on ans_nothing_kept; insert into ans_at_commit_parents values (1), (2), (3)`,
      );
      for (const name of ["closed", "nothing_kept", "at_commit", "ruled_out"])
        expect((await project.run("resume", name)).status).toBe(0);
      const accepted = await project.run("resume", "given_up", "--accept");
      expect(accepted.stdout).toContain("does not pause for unwritable answers any more");
      const ended = await project.run("up", "--until-idle");
      expect(ended.status, ended.stderr).toBe(3);
      const written = (succeeded: number) => ({ batched: 0, failed: 0, succeeded });
      expect(await states()).toEqual({
        closed: written(30),
        nothing_kept: written(3),
        at_commit: written(3),
        ruled_out: written(2),
        given_up: { batched: 0, failed: 3, succeeded: 0 },
      });
      expect(await executed()).toBe(41);
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
        says: "",
      });
      url.username = role;
      url.password = "secret";
      await project.writeConfig(pipelineText("single"));
      const as = { cwd: project.folder, env: { ...project.env, DATABASE_URL: url.href } };
      const up = runCli(["up", "--until-idle"], as);
      await until("the batch is sent", async () => {
        const there = await project.database.rows(
          sql`select 1 as one from pg_tables where schemaname = 'rowmill'`,
        );
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
      expect((await runCli(["resume", "single"], as)).status).toBe(0);
      const ended = await runCli(["up", "--until-idle"], as);
      expect(ended.status, ended.stderr).toBe(0);
      expect(await idsIn("ans_single", "label is not null")).toEqual([1]);
      expect(await executed()).toBe(1);
    },
  );
});
