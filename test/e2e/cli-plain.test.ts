/**
 * Every command at a provider of the user's own, of the second shape: it does what it can, says what it cannot, and
 * names no other vendor.
 */
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { promiseOf } from "../../src/model/words/promise.js";
import { sql } from "../../src/postgres/database.js";
import {
  buildCli,
  filmsPipeline,
  runCommand,
  serverKind,
  startCliProject,
  type CliProject,
  type Ended,
} from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import type { PlainOptions } from "../support/plain-provider.js";
import {
  PLAIN_KEY,
  startPlainStandIn,
  type PlainStandIn,
  type PlainStandInOptions,
} from "../support/plain-stand-in.js";
import { answerHere, sendHere } from "../support/work-here.js";

beforeAll(buildCli, 150_000);

const adapter = resolve(import.meta.dirname, "../support/plain-provider.ts");
/** More than it takes until a lost create is found. */
const LOOKS_MAX = 20;
const promise = promiseOf({ find: "circumstance", fence: "none", exclusive: false });

describe("At a provider that shows nothing of ours", { timeout: 240_000 }, () => {
  let project: CliProject;
  let standIn: PlainStandIn;
  let isHeld = false;
  const standInOptions: { -readonly [Key in keyof PlainStandInOptions]: PlainStandInOptions[Key] } = {
    hold: () => isHeld,
  };

  beforeEach(async () => {
    isHeld = false;
    standInOptions.openMax = Infinity;
    standIn = await startPlainStandIn(standInOptions);
    const started = await startCliProject(serverKind);
    // No variable of another vendor that could be used: one that is misnamed, and one that is wrong.
    const env = { ...started.env, OPENAI_API_KEY: undefined, OPENAI_BASE_URL: "nowhere", OPENAI_KEY: "k" };
    project = { ...started, env, run: (...args) => runCommand(args, { cwd: started.folder, env }) };
    await createFilms(project);
    await writeConfig({});
  });
  afterEach(async () => {
    await project.check().finally(async () => {
      await project.close();
      await standIn.close();
    });
  });

  /** As a user's own provider stands in a config. */
  function writeConfig(options: Partial<PlainOptions>): Promise<void> {
    const given = { url: standIn.url, key: PLAIN_KEY, createMs: 0, ...options };
    return writeFile(
      join(project.folder, "rowmill.config.mjs"),
      `import { defineConfig, pipeline, z } from "rowmill";
import { plain } from ${JSON.stringify(adapter)};

const answer = z.object({ categories: z.array(z.string()), summary: z.string() });
const request = { model: "plain-small", maxOutputTokens: 200, user: "{{ description }}" };
const source = { table: "films", key: "id", columns: ["title", "description"] };
const polling = { min: "200ms", max: "1s" };
const provider = plain(${JSON.stringify(given)});

export default defineConfig({
  database: process.env.DATABASE_URL,
  pipelines: { ${filmsPipeline('provider, reconcile: { window: "500ms" }')} },
});
`,
    );
  }

  /** The command and what it says, in which no other vendor has a place. */
  async function run(...args: string[]): Promise<Ended & { readonly text: string }> {
    const ended = await project.run(...args);
    const all = ended.stdout + ended.stderr;
    expect(all.match(/.*open-?ai.*/gi) ?? [], args.join(" ")).toEqual([]);
    expect(all).not.toContain(PLAIN_KEY);
    return { ...ended, text: all.replaceAll(/\s+/g, " ") };
  }

  it("answers every row, and each command says what it can do there", async () => {
    await insertFilms(project, 6);
    // No room: nothing is created, and it is sent again later.
    standInOptions.openMax = 1;
    await sendHere(project);
    expect(standIn.batches.all).toEqual([]);
    const waits = { provider: "plain", account: standIn.url, model: "plain-small" };
    expect(JSON.parse((await run("status", "--json")).stdout)).toMatchObject({
      pipelines: [{ batched: 6, paused: null }],
      waits: [{ ...waits, message: expect.stringContaining("Too many requests are queued") }],
    });
    expect((await run("status")).text).toContain(
      `Nothing is sent to the workspace at ${standIn.url} for plain-small now. Next try in`,
    );
    standInOptions.openMax = Infinity;
    await project.database.run(sql`update rowmill.learned_limits set not_before = null`);
    expect((await run("resume", "films")).text).toContain("1 unfinished batch is due now");
    await project.database.run(sql`insert into films values (6, 'Bad', '[[demo:error 400]] it cannot answer')`);
    const up = await run("up", "--until-idle", "--yes");
    expect(up.status, up.text).toBe(3);
    expect(await countLabels(project)).toBe(6);
    expect([...standIn.executedByPrompt().values()].every((times) => times === 1)).toBe(true);

    const json = JSON.parse((await run("status", "--json")).stdout);
    expect(json).toMatchObject({
      pipelines: [{ succeeded: 6, failed: 1 }],
      waits: [],
      providers: [
        {
          name: "plain",
          title: "Plain",
          found: promise.found,
          fenced: promise.fenced,
          paidTwice: promise.paidTwice,
        },
      ],
    });
    expect(json.batches).toEqual(
      json.batches.map((batch: object) => expect.objectContaining({ ...batch, provider: "plain", presumed: false })),
    );
    const status = await run("status");
    expect(status.status).toBe(0);
    expect(status.text).toContain(`After a lost reply at Plain: ${promise.short}.`);
    const failures = await run("failures", "films");
    expect(failures).toMatchObject({ status: 0, text: expect.stringContaining("the model failed (400)") });

    const doctor = await run("doctor");
    expect(doctor.status, doctor.text).toBe(0);
    for (const said of [
      "Key: plain accepts the key",
      "Model: plain has the model plain-small",
      `Promise: Plain: if a reply is lost, ${promise.short}`,
      "Price: known for every model",
      "Batches: Plain stores no name with a batch",
    ])
      expect(doctor.text).toContain(said);
    expect(doctor.text).toMatch(/ok Clock: [^.]*provider/);

    const [batch] = standIn.batches.all;
    const adopt = await run("adopt", batch?.id ?? "", "--pipeline", "films", "--custom-id", "task-{id}", "--yes");
    expect(adopt).toMatchObject({
      status: 4,
      stdout: "",
      stderr:
        expect.stringContaining(`rowmill: Plain does not show what a batch asked, so Rowmill cannot adopt batches of other code there.
  Hint: Collect it with the code that created it. Use source.where to skip rows that already have an answer in the target.
`),
    });
  });

  it("reports lost batches of a restored ledger as not found, and continues", async () => {
    await insertFilms(project, 2);
    await answerHere(project);
    const restored = await run("deployment", "--restored", "--yes");
    expect(restored).toMatchObject({
      status: 0,
      stdout: `This database takes the place of the previous one. There was nothing to adopt.\nNext: rowmill up\n`,
      stderr: expect.stringContaining(
        "  Plain lists no batch of Rowmill's: what the previous database sent there after the backup cannot be found, so its rows are sent again, and you pay again\n",
      ),
    });
    expect(restored.text).not.toContain("is known here");
    const again = await run("deployment", "--restored", "--yes", "--json");
    expect(JSON.parse(again.stdout)).toMatchObject({ decision: "restored", unlisted: ["Plain"] });
    const copy = await run("deployment", "--copy", "--yes", "--json");
    expect({ status: copy.status, ...JSON.parse(copy.stdout) }).toMatchObject({
      status: 0,
      decision: "copy",
    });
    expect((await run("deployment")).status).toBe(0);
    await insertFilms(project, 2, 10);
    await answerHere(project);
    expect(await countLabels(project)).toBe(4);
  });

  it("shows what is presumed, keeps it from being given up here, and stops nothing when its account is gone", async () => {
    isHeld = true;
    standIn.faults.add({ call: "create", at: "after", fault: { kind: "drop" } });
    await insertFilms(project, 3);
    await sendHere(project);
    for (let looks = 0; looks < LOOKS_MAX && (await presumed()) === null; looks += 1) {
      await project.database.run(
        sql`update rowmill.batches set next_at = now(), create_intent_at = create_intent_at - interval '1 minute'`,
      );
      await sendHere(project);
    }
    const [batch] = standIn.batches.all;
    const id = await presumed();
    const status = await run("status");
    expect(status.text).toContain(`is probably ${batch?.id} at plain, judging by time and number of requests.`);
    expect(JSON.parse((await run("status", "--json")).stdout)).toMatchObject({
      batches: [{ id, state: "running", provider: "plain", providerBatchId: batch?.id, presumed: true }],
    });
    const refused = await run("cancel", "--abandon", id ?? "", "--yes");
    expect(refused).toMatchObject({ status: 4, stdout: "" });
    expect(refused.text).toContain(
      `belongs to the account that is set up here, the workspace at ${standIn.url}, and by its time and number of requests is probably ${batch?.id} (queued).`,
    );

    const other = await startPlainStandIn();
    try {
      await writeConfig({ url: other.url });
      const given = await run("cancel", "--abandon", id ?? "", "--yes");
      expect(given).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/is abandoned: 3 rows of films wait again, and \$[\d.]+ counts as spent\.\n$/),
      });
      await answerHere(project);
      expect(await countLabels(project)).toBe(3);
      expect(other.executions).toHaveLength(3);
      expect(standIn.calls.get("stop")).toBeUndefined();
    } finally {
      await other.close();
    }
  });

  async function presumed(): Promise<string | null> {
    const row = await project.database.first<{ id: string }>(sql`select id from rowmill.batches where presumed`);
    return row?.id ?? null;
  }
});
