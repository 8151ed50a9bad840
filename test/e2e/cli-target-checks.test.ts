/** Targets that could not hold the answers: said before anything is paid, and by no code of theirs that fires. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { brokenTargets, soundTargets, targetPipeline, type BrokenTarget } from "../support/broken-targets.js";
import {
  buildCli,
  runCommand,
  serverKind,
  startCliProject,
  unlessServer,
  until,
  type CliProject,
} from "../support/cli.js";

beforeAll(buildCli, 150_000);

/** The target's findings of a doctor, without their indents; a finding begins with its level. */
function targetFindings(report: string): string[] {
  const lines = report.split("\n").slice(report.split("\n").indexOf("Tables"));
  const findings: string[] = [];
  let isOfTarget = false;
  for (const line of lines.slice(1, lines.indexOf(""))) {
    const [, level, title, text = ""] = /^ {2}(\w[\w ]*?) {2,}([\w ]+): (.*)$/.exec(line) ?? [];
    if (level !== undefined) isOfTarget = title === "Target";
    if (!isOfTarget) continue;
    if (level === undefined) findings.push(line.trim().replace(/^- /, ""));
    else if (level !== "ok") findings.push(`${level} ${text}`);
  }
  return findings;
}

describe.skipIf(serverKind === "embedded")(`A target that is checked${unlessServer}`, { timeout: 90_000 }, () => {
  let project: CliProject;
  beforeAll(async () => {
    project = await startCliProject(serverKind);
    await run(`create table texts (id int primary key, body text); insert into texts values (1, 'One.'), (2, 'Two.');
      create table fired (name text);
      create function fires() returns trigger language plpgsql as $$
        begin insert into fired values (tg_table_name); return new; end $$;`);
  });
  afterAll(() => project.close());

  const run = (statements: string) => project.database.pool.query(statements);

  /** Each with triggers of the user's, which a check may not fire. */
  async function make(targets: Readonly<Record<string, Pick<BrokenTarget, "sql">>>): Promise<void> {
    for (const [name, target] of Object.entries(targets)) {
      await run(target.sql.replaceAll("TABLE", `t_${name}`));
      await run(`create trigger before_row before insert or update on t_${name} for each row execute function fires();
          create trigger after_all after insert or update on t_${name} execute function fires();`);
    }
  }

  it("is reported by doctor with a fix, from the catalog and by trying its CHECKs, and up refuses it before anything is sent", async () => {
    await make({ ...brokenTargets, ...soundTargets });
    const all = { ...brokenTargets, ...soundTargets };
    await project.writeConfig(
      Object.entries(all)
        .map(([name, target]) => targetPipeline(name, target))
        .join(",\n"),
    );
    const doctor = await project.run("doctor");
    expect(doctor.status, doctor.stdout).toBe(2);
    const expected = Object.entries(brokenTargets).flatMap(([name, { says }]) =>
      says.map((line) =>
        line.replaceAll("TABLE", `t_${name}`).replace(/^(problem|warning|not checked) /, `$1 ${name}: `),
      ),
    );
    expect(targetFindings(doctor.stdout)).toEqual(expected);
    await project.writeConfig(targetPipeline("check", brokenTargets["check"] ?? {}));
    const up = await project.run("up", "--until-idle", "--yes");
    expect(up.status, up.stderr).toBe(2);
    expect(up.stderr).toContain(`refuses "long label" of the answer's "label": the CHECK "short".`);
    await expectUntouched();
  });

  async function expectUntouched(): Promise<void> {
    expect(await project.database.rows(sql`select * from fired`)).toEqual([]);
    const schemas = sql`select nspname from pg_namespace where nspname like 'rowmill%'`;
    expect(await project.database.rows(schemas)).toEqual([]);
    expect((await project.gateway.journal.summary()).executed).toBe(0);
  }

  it("is reported with the grants that its user lacks, and with what could not be tried", async () => {
    const limited = `limited_${randomBytes(4).toString("hex")}`;
    const target = {
      // The key's own sequence is not drawn from.
      sql: "create table TABLE (id serial primary key, label text check (length(label) < 11), n serial);",
    };
    await make({ rights: target, hidden: target, event: target });
    await run(`create role ${limited} login password 'limited';
        grant all on texts to ${limited}; grant select on t_rights to ${limited};
        grant all on t_hidden, t_event to ${limited}; grant usage on sequence t_event_n_seq to ${limited};
        alter table t_hidden enable row level security;
        do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$;`);
    const url = new URL(project.env["DATABASE_URL"] ?? "");
    url.username = limited;
    url.password = "limited";
    const env = { ...project.env, DATABASE_URL: url.href };
    await project.writeConfig(
      ["rights", "hidden", "event"].map((name) => targetPipeline(name, { target: "trustOwner: true" })).join(",\n"),
    );
    const doctor = await runCommand(["doctor"], { cwd: project.folder, env });
    const administrator = "Run as an administrator or as the owner:";
    const mayNot = (name: string) =>
      `problem ${name}: the user "${limited}" may not write answers into "public"."t_${name}".`;
    const database = url.pathname.slice(1);
    expect(targetFindings(doctor.stdout)).toEqual([
      mayNot("rights"),
      administrator,
      `grant insert, update on "public"."t_rights" to "${limited}";`,
      `grant usage on sequence public.t_rights_n_seq to "${limited}";`,
      mayNot("hidden"),
      administrator,
      `grant usage on sequence public.t_hidden_n_seq to "${limited}";`,
      `problem hidden: row-level security would hide rows of "public"."t_hidden" from "${limited}".`,
      "Rowmill must see all rows. Connect as the table's owner, or ask an administrator to exempt this user.",
      administrator,
      `alter role "${limited}" bypassrls;`,
      `not checked event: target: the CHECKs of t_event were not tried: the user "${limited}" may not create temporary tables.`,
      administrator,
      `grant temporary on database "${database}" to "${limited}";`,
    ]);
    await run(`create function notes_tables() returns event_trigger language plpgsql as $$
      begin insert into fired values ('event'); end $$;
        create event trigger notes_tables on ddl_command_end execute function notes_tables();`);
    await project.writeConfig(targetPipeline("event", {}));
    const watched = await project.run("doctor");
    expect(targetFindings(watched.stdout)).toEqual([
      `not checked event: target: the CHECKs of t_event were not tried: the event trigger "notes_tables" would fire.`,
    ]);
    await run("drop event trigger notes_tables");
    await run(`create event trigger notes_drops on sql_drop execute function notes_tables()`);
    await project.writeConfig(targetPipeline("event", {}));
    expect(targetFindings((await project.run("doctor")).stdout)).toEqual([
      `not checked event: target: the CHECKs of t_event were not tried: the event trigger "notes_drops" would fire.`,
    ]);
    await run(`drop event trigger notes_drops; drop owned by ${limited}; drop role ${limited};`);
    await expectUntouched();
  });

  it("that another session has locked is reported as locked, and not waited for", async () => {
    await make({
      locked: { sql: "create table TABLE (id int primary key, label text check (label <> ''));" },
    });
    await project.writeConfig(targetPipeline("locked", {}));
    const client = await project.database.pool.connect();
    await client.query("begin; lock table t_locked in access exclusive mode");
    const ended = Promise.all([project.run("doctor"), project.run("up", "--until-idle", "--yes")]);
    const [doctor, up] = await ended.finally(async () => {
      await client.query("rollback");
      client.release();
    });
    const words = "target: another session locked t_locked for over 2000 ms, so it was not checked.";
    expect(targetFindings(doctor.stdout)[0]).toBe(`problem locked: ${words}`);
    expect(up.status, up.stderr).toBe(1);
    expect(up.stderr).toContain(words);
    await expectUntouched();
  });

  it("that changes while a worker runs pauses its pipeline before a batch is paid, until it is as it should be", async () => {
    const name = "changing";
    await make({ changing: { sql: "create table TABLE (id int primary key, label text);" } });
    await run("delete from texts");
    await project.writeConfig(targetPipeline(name, {}).replace("polling:", "when: { rows: 1 }, polling:"));
    const worker = project.start("up", "--yes");
    await worker.says("Working.");
    const paused = async () => {
      const row = await project.database.first<{ reason: string | null }>(
        sql`select pause_reason as reason from rowmill.pipelines`,
      );
      return row?.reason ?? "";
    };
    const constraint = "alter table t_changing add constraint short check (length(label) < 3)";
    await run(`${constraint}; insert into texts values (1, 'One.')`);
    await until("a pause", async () => (await paused()) !== "");
    expect(await paused()).toBe(
      `target: "public"."t_changing"."label" refuses "long label" of the answer's "label": the CHECK "short". Change the CHECK, or limit the answer to values that it accepts. Then: rowmill resume ${name}`,
    );
    // As long as it is so, to resume it pays nothing either.
    expect((await project.run("resume", name)).status).toBe(0);
    await until("the pause again", async () => (await paused()) !== "");
    expect((await project.gateway.journal.summary()).executed).toBe(0);
    expect(await project.database.rows(sql`select * from fired`)).toEqual([]);
    await run("alter table t_changing drop constraint short");
    expect((await project.run("resume", name)).status).toBe(0);
    await until("the answer", async () => (await project.database.rows(sql`select 1 from t_changing`)).length === 1);
    expect((await project.gateway.journal.summary()).executed).toBe(1);
    await project.check();
  });
});
