/**
 * A changed answer on a target that Rowmill made: what `up` changes of the table when it is allowed to, and what it
 * leaves to a person.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";
import { answerHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

const ROWS = 3;

describe.skipIf(serverKind === "embedded")(
  `The target of an answer that changes${unlessServer}`,
  { timeout: 90_000 },
  () => {
    let project: CliProject;
    beforeAll(async () => {
      project = await startCliProject(serverKind);
      await run(`create table texts (id int primary key, body text);
        insert into texts select n, 'Text ' || n from generate_series(1, ${ROWS}) n;`);
      await answer(`label: z.enum(["a", "b"]), note: z.string()`);
      await answerHere(project);
    }, 60_000);
    afterAll(() => project.close());

    const run = (statements: string) => project.database.pool.query(statements);
    const executed = async () => (await project.gateway.journal.summary()).executed;

    const answer = (fields: string, target = "") =>
      project.writeConfig(`films: pipeline({ source: { table: "texts", key: "id", columns: ["body"] }, polling,
        request: { ...request, user: "{{ body }}" }, answer: z.object({ ${fields} }), target: { table: "ans", ${target} } })`);

    async function tableNow(): Promise<{ checks: string[]; columns: string[] }> {
      const checks = await project.database.rows<{ text: string }>(
        sql`
          select pg_get_constraintdef(oid) as text
          from pg_constraint
          where conrelid = 'ans'::regclass and contype = 'c'
          order by 1`,
      );
      const columns = await project.database.rows<{ text: string }>(
        sql`select attname || ' ' || format_type(atttypid, atttypmod) as text from pg_attribute
          where attrelid = 'ans'::regclass and attnum > 0 and not attisdropped order by attnum`,
      );
      return { checks: checks.map(({ text }) => text), columns: columns.map(({ text }) => text) };
    }

    /** Refused, with the words, and nothing changed or sent. */
    async function expectRefused(args: string[], status: number, words: readonly string[]): Promise<void> {
      const before = { table: await tableNow(), executed: await executed() };
      const up = await project.run("up", "--until-idle", ...args);
      expect(up.status, up.stderr).toBe(status);
      for (const word of words) expect(up.stderr).toContain(word);
      expect({ table: await tableNow(), executed: await executed() }).toEqual(before);
    }

    async function expectAnswered(...args: string[]): Promise<void> {
      const before = await executed();
      const up = await project.run("up", "--until-idle", ...args);
      expect(up.status, up.stderr).toBe(0);
      expect(await executed()).toBe(before + ROWS);
      expect((await project.status()).pipelines[0]).toMatchObject({ succeeded: ROWS, failed: 0 });
    }

    const changed = 'alter table "public"."ans" drop constraint "ans_label_check",';
    const widened = [
      `${changed} add constraint "ans_label_check" check ("label" in ('a', 'b', 'it''s c')) not valid;`,
      `alter table "public"."ans" validate constraint "ans_label_check";`,
    ];

    it("gets the values of a changed enum once you allow it, and keeps those of its rows and of older workers", async () => {
      await answer(`label: z.enum(["a", 'it\\'s c']), note: z.string()`);
      await expectRefused([], 4, [
        "must be changed before it can hold the answers, and you have not allowed it yet",
        ...widened,
        "rowmill up --yes",
      ]);
      const printed = await project.run("up", "--print-sql");
      for (const statement of widened) expect(printed.stdout).toContain(statement);
      const doctor = await project.run("doctor");
      expect(doctor.stdout).toContain(
        `warning      Target: films: "public"."ans" must be changed before it can hold the answers.`,
      );
      for (const statement of widened) expect(doctor.stdout).toContain(statement);
      expect(doctor.stdout).not.toContain("Nothing to fix");
      await expectAnswered("--yes");
      expect((await tableNow()).checks).toEqual([
        `CHECK ((label = ANY (ARRAY['a'::text, 'b'::text, 'it''s c'::text])))`,
      ]);
      await run(`update ans set label = 'b'`);
      expect((await project.run("doctor")).stdout).toContain("Nothing to fix");
    });

    it("gets the column of a new field when it is allowed, or when the config allows it", async () => {
      await answer(`label: z.enum(["a", 'it\\'s c']), note: z.string(), mood: z.enum(["x", "y"])`);
      const addition = `alter table "public"."ans" add column if not exists "mood" text check ("mood" in ('x', 'y'));`;
      await expectRefused([], 4, [addition]);
      await answer(`label: z.enum(["a", 'it\\'s c']), note: z.string(), mood: z.enum(["x", "y"])`, "addColumns: true");
      await expectAnswered("--yes");
      expect((await tableNow()).columns).toContain("mood text");
      await run(`alter table ans drop column mood; comment on table ans is 'mine'`);
      await answer(`label: z.enum(["a", 'it\\'s c']), note: z.string(), mood: z.enum(["x", "y"])`);
      await expectRefused(["--yes"], 2, [`has no column "mood"`, "target: { addColumns: true }"]);
      await run(`comment on table ans is 'Answers for "public"."texts", written by Rowmill.'`);
    });

    it("works without the stamp columns that you dropped, and up asks nothing", async () => {
      await run("alter table ans drop column rowmill_at, drop column rowmill_model");
      await answer(`label: z.enum(["a", 'it\\'s c']), note: z.string().max(200)`);
      await expectAnswered("--yes");
      const doctor = await project.run("doctor");
      expect(doctor.stdout).toContain("Nothing to fix");
      expect((await tableNow()).columns).not.toContain("rowmill_model text");
      await answer(`label: z.enum(["a", 'it\\'s c']), note: z.string()`, "addColumns: true");
      await expectAnswered("--yes");
      expect((await tableNow()).columns).toContain("rowmill_model text");
    });

    it("waits for no lock of another session, and changes nothing then", async () => {
      await answer(`label: z.enum(["a", "d"]), note: z.string()`);
      const client = await project.database.pool.connect();
      await client.query("begin; lock table ans in access share mode");
      const ended = project.run("up", "--until-idle", "--yes").finally(async () => {
        await client.query("rollback");
        client.release();
      });
      const { status, stderr } = await ended;
      expect(status, stderr).toBe(1);
      expect(stderr).toContain("another session locked the table for over 2000 ms");
      expect((await tableNow()).checks.join()).not.toContain("'d'");
    });

    it("with a field of another type is left to you, with the statement to run", async () => {
      await answer(`label: z.number(), note: z.array(z.string())`);
      const statements = [
        `${changed} alter column "label" type double precision using null;`,
        `alter table "public"."ans" alter column "note" type text[] using array["note"::text];`,
      ];
      await expectRefused(["--yes"], 2, [
        `ans."label" is of type text, which cannot hold the answer's "label" (double precision)`,
        `ans."note" is of type text, which cannot hold the answer's "note" (text[])`,
        ...statements,
      ]);
      await run(statements.join(" "));
      await expectAnswered("--yes");
      // And back, as another person might have it.
      await answer(`label: z.boolean(), note: z.object({ text: z.string() })`);
      await expectRefused(["--yes"], 2, [
        `alter table "public"."ans" alter column "label" type boolean using null;`,
        `alter table "public"."ans" alter column "note" type jsonb using to_jsonb("note");`,
      ]);
    });

    it("keeps a wider CHECK than the answer needs, and is refused where rows hold what a narrower one would not let in", async () => {
      await run(`alter table ans alter column label type text using 'b',
        add constraint ans_label_check check (label in ('a', 'b', 'c')),
        alter column note type text using null`);
      await answer(`label: z.enum(["a", "b", "c"]), note: z.string()`);
      await expectAnswered("--yes");
      await run(`update ans set label = 'b' where id = 1; update ans set label = 'a' where id > 1`);
      await answer(`label: z.enum(["a", "b"]), note: z.string()`);
      expect((await project.run("doctor")).stdout).toContain("Nothing to fix");
      await answer(`label: z.enum(["a", "c"]), note: z.string()`);
      const narrowed = `${changed} add constraint "ans_label_check" check ("label" in ('a', 'c')) not valid;`;
      await expectRefused(["--yes"], 2, [
        `ans."label" contains "b", which the answer no longer allows. Rowmill does not narrow a CHECK`,
        narrowed,
      ]);
      await run(narrowed);
      await expectAnswered("--yes");
      await project.check();
    });

    it("loses the CHECK of a field that may be any text now, and keeps a CHECK that you wrote", async () => {
      await answer(`label: z.string(), note: z.string()`);
      await expectRefused([], 4, [`alter table "public"."ans" drop constraint "ans_label_check";`]);
      await expectAnswered("--yes");
      expect((await tableNow()).checks).toEqual([]);
      await run(`update ans set label = 'b'; alter table ans add constraint mine check (label in ('b'))`);
      expect((await project.run("doctor")).stdout).toContain('the CHECK "mine" of ans."label" allows only "b"');
      await project.check();
    });
  },
);
