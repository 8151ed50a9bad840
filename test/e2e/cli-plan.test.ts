/** `rowmill plan` through the built command line: whole texts, statuses, and nothing in the database changed. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, filmsPipeline, runCommand, startCliProject, type CliProject } from "../support/cli.js";
import { describeDatabases, newestKinds } from "../support/databases.js";
import { everythingIn } from "../support/plan-here.js";
import { answerHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

const SCHEMA =
  '{"type":"object","properties":{"categories":{"type":"array","items":{"type":"string"}},' +
  '"summary":{"type":"string"}},"required":["categories","summary"],"additionalProperties":false}';

describeDatabases(
  "rowmill plan",
  (kind) => {
    let project: CliProject;
    beforeEach(async () => {
      project = await startCliProject(kind);
      await project.database.run(sql`create table films (id bigint primary key, title text, description text)`);
      await project.database.run(sql`
        insert into films
        select i, 'Film ' || i, 'Film ' || i || ' is about a town that is not what it seems.'
        from generate_series(1, 40) i`);
    });
    afterEach(() => project.close());

    /** The same config with another prompt, in a file of its own. */
    const edit = async () => {
      const text = await readFile(join(project.folder, "rowmill.config.mjs"), "utf8");
      await writeFile(join(project.folder, "edited.mjs"), text.replace("{{ description }}", "Tell me: {{ title }}"));
    };

    it("says before the first up what would go out and what up makes, and leaves everything as it was", async () => {
      await project.writeConfig(filmsPipeline('budget: { usd: 1, per: "day" }'));
      const before = await everythingIn(project.database);
      const withoutKey = { ...project.env, OPENAI_API_KEY: undefined };
      const at = { cwd: project.folder, env: withoutKey };
      const { status, stdout, stderr } = await runCommand(["plan", "--requests", "1"], at);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "Nothing was sent or changed. To send: rowmill up\n" });
      // Roles that other tests make on the same server.
      const lines = stdout.split("\n").filter((line) => !/from "(anon|authenticated)";$/.test(line));
      expect(lines).toEqual([
        "films: 40 rows would go out",
        "  new  40  never asked",
        "  Batches: 1 of 40 requests, about 21 kB (all rows fit)",
        "  Start: in 10 min (when.maxWait), or when 1,000 rows wait (when.rows; now 40)",
        "  Tokens: about 2,840 input and 3,000 output",
        "  Cost: estimated $0.0011 (cap $0.0083 with up to 3 tries per row; live requests: $0.0022; the size of the " +
          "answers is a guess)",
        "  Budget: $1 per day: $0.00 spent, $0.00 reserved, $1.00 left; likely enough",
        "  Approval: not needed: the estimate is not above $1 (approveAboveUsd)",
        '  Setup: rowmill up creates the schemas rowmill and rowmill_worker, puts triggers on "public"."films", and ' +
          'creates "public"."film_labels"',
        '    create table if not exists "public"."film_labels" (',
        '      "id" bigint,',
        '      "categories" text[],',
        '      "summary" text,',
        "      rowmill_at timestamptz not null,",
        "      rowmill_model text not null,",
        "      rowmill_version integer,",
        '      primary key ("id")',
        "    );",
        `    comment on table "public"."film_labels" is 'Answers for "public"."films", written by Rowmill.';`,
        '    alter table "public"."film_labels" enable row level security;',
        '    revoke all on table "public"."film_labels" from public;',
        "  Request 1 of 1 shown: row 1",
        "    model   gpt-4o-mini, at most 200 output tokens",
        "    user    Film 1 is about a town that is not what it seems.",
        `    schema  ${SCHEMA}`,
        "",
      ]);
      const json = await project.run("plan", "films", "--json");
      expect(JSON.parse(json.stdout)).toMatchObject({
        ledger: "missing",
        findings: [],
        pipelines: [
          {
            name: "films",
            plan: {
              rows: { send: 40, fresh: 40, counted: "exactly" },
              requests: [
                { key: "1", line: { url: "/v1/chat/completions", body: { max_completion_tokens: 200 } } },
                {},
                {},
              ],
            },
          },
        ],
      });
      expect(await everythingIn(project.database)).toBe(before);
    });

    it("tells what an edited config asks again, and changes nothing in the records", async () => {
      await project.writeConfig(filmsPipeline());
      await answerHere(project);
      await edit();
      const before = await everythingIn(project.database);
      const { status, stdout } = await project.run("plan", "-c", "edited.mjs", "--requests", "0");
      expect(await everythingIn(project.database)).toBe(before);
      expect(status).toBe(0);
      expect(stdout.split("\n").slice(0, 4)).toEqual([
        "films: 40 rows would go out",
        "  changed config  40  answered, but the config now asks something else",
        expect.stringMatching(/^ {2}Your edit of the config sends 40 rows again, about \$0\.00\d+$/),
        "    rowmill up asks first. Without a terminal, answered rows wait for your yes: rowmill approve films",
      ]);
      expect((await project.run("plan")).stdout).toBe("films: no row would go out\n  Not sent: 40 answered\n");
      await project.check();
    });

    it("works beside a running worker with the previous definition", async () => {
      await project.writeConfig(filmsPipeline('when: { rows: 10, maxWait: "10m" }'));
      await edit();
      const worker = project.start("up", "--yes");
      await expect
        .poll(async () => (await project.status().catch(() => null))?.pipelines[0]?.succeeded, { timeout: 60_000 })
        .toBe(40);
      const plan = await project.run("plan", "films", "-c", "edited.mjs", "--json");
      expect(JSON.parse(plan.stdout)).toMatchObject({
        pipelines: [{ plan: { definition: { state: "changed", asksAgain: 40 }, rows: { send: 40, redefined: 40 } } }],
      });
      expect((await project.status()).pipelines).toMatchObject([{ waiting: 0, succeeded: 40 }]);
      worker.child.kill("SIGINT");
      expect((await worker.ended).status).toBe(130);
      await project.check();
    });

    it("ends with 2 for what has to be fixed, and with 4 for a pause", async () => {
      await project.writeConfig(filmsPipeline());
      const unknown = await project.run("plan", "filsm");
      expect(unknown).toMatchObject({ status: 2, stdout: "" });
      expect(unknown.stderr).toContain(`did you mean "films"?`);
      expect((await project.run("plan", "--requests", "21")).status).toBe(2);
      await answerHere(project);
      expect((await project.run("pause", "films", "--reason", "new prompt")).status).toBe(0);
      const paused = await project.run("plan");
      expect(paused.status).toBe(4);
      expect(paused.stdout).toBe(
        "films: no row would go out\n  Not sent: 40 answered\n  Paused: new prompt. To resume it: rowmill resume films\n",
      );
      await project.writeConfig(filmsPipeline().replace("source,", 'source: { ...source, table: "flims" },'));
      const wrong = await project.run("plan");
      expect(wrong.status).toBe(2);
      expect(wrong.stdout).toContain("films: nothing can be planned yet\n  problem: ");
      expect(wrong.stdout).toContain("flims");
    });
  },
  newestKinds,
);
