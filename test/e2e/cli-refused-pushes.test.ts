/** Pushes whose sender does not look at the reply, as a trigger does not: status and doctor show what was refused. */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, serverKind, startCliProject, until, unlessServer, type CliProject } from "../support/cli.js";
import { freePort } from "../support/postgres-servers.js";

beforeAll(buildCli, 150_000);

describe.skipIf(serverKind === "embedded")(`Refused pushes${unlessServer}`, { timeout: 150_000 }, () => {
  let project: CliProject;
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  it("are shown with the reason and what to do, for 24 hours", async () => {
    project = await startCliProject(serverKind);
    const source = '{ push: true, key: "id", columns: ["title", "description"] }';
    await project.writeConfig(`films: pipeline({ source: ${source}, request, answer, target: { table: "labels" } })`);
    const port = await freePort();
    const up = project.start("up", "--http", `127.0.0.1:${port}`);
    await until("it works", async () => (await project.status()).workers.length > 0);
    const created = await project.run("tokens", "create", "--scope", "push", "--pipeline", "films");
    const post = async (token: string, body: string) =>
      (await fetch(`http://127.0.0.1:${port}/v1/in/${token}`, { method: "POST", body })).status;
    const token = created.stdout.trim();
    expect(await post(token, '[{"id": 1}, {"id": null}, {"id": ""}, {}]')).toBe(200);
    expect(await post(token, "[")).toBe(400);
    expect(await post("rwm_0123456789abcdef", "[]")).toBe(401);
    await until("they are noted", async () => (await project.status()).refusedPushes.length === 4);

    const { refusedPushes } = await project.status();
    expect(refusedPushes.toSorted((a, b) => (a.reason < b.reason ? -1 : 1))).toEqual([
      {
        pipeline: "films",
        reason: "400: The body is not JSON, or is nested too deeply.",
        pushes: 1,
        rows: 0,
        example: null,
        lastAt,
      },
      { pipeline: "films", reason: "its key is an empty text", pushes: 1, rows: 1, example: "", lastAt },
      { pipeline: "films", reason: "its key is missing or null", pushes: 1, rows: 2, example: null, lastAt },
      {
        pipeline: null,
        reason: "the token is unknown or revoked",
        pushes: 1,
        rows: 0,
        example: "rwm_012345",
        lastAt,
      },
    ]);
    const shown = (await project.run("status")).stdout
      .replaceAll(/\s+/g, " ")
      .replaceAll(/Last at .*? UTC/g, "Last at T");
    expect(shown).toContain(
      "films: 2 rows of 1 push refused: its key is missing or null. Last at T. Fix these rows at the sender, and send them again.",
    );
    const examined = (await project.run("doctor")).stdout.replaceAll(/\s+/g, " ");
    expect(examined).toContain(
      'Unknown caller: 1 push refused, such as "rwm_012345": the token is unknown or revoked.',
    );
    expect(examined).toContain("Compare the sender's token with the valid ones: rowmill tokens.");

    await project.database.run(sql`update rowmill.refused_pushes set last_at = last_at - interval '25 hours'`);
    expect((await project.status()).refusedPushes).toEqual([]);
    expect((await project.run("status")).stdout).not.toContain("refused");
    up.child.kill("SIGTERM");
    await up.ended;
  });
});

const lastAt: unknown = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
