/** A web hook over HTTPS, with a certificate that an authority of your own signed. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, runCli, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";
import { createFilms, insertFilms } from "../support/cli-films.js";
import { startReceiver, type HookReceiver } from "../support/hook-receiver.js";
import { startTlsFront } from "../support/http-proxy.js";
import { makeCertificate } from "../support/odd-servers.js";

beforeAll(buildCli, 150_000);

const CONFIG = `import { defineConfig, pipeline, webhook, z } from "rowmill";
const { HOOK_URL, HOOK_SECRET, DATABASE_URL } = process.env;
export default defineConfig({
  database: DATABASE_URL,
  pipelines: {
    films: pipeline({
      source: { table: "films", key: "id", columns: ["title"] },
      when: { rows: 1_000, maxWait: "0s" },
      polling: { min: "20ms", max: "100ms" },
      request: { model: "gpt-4o-mini", user: "Summarize {{ title }}", maxOutputTokens: 100 },
      answer: z.object({ summary: z.string() }),
      target: webhook({ url: HOOK_URL, secret: HOOK_SECRET, allowPrivate: true }),
    }),
  },
});
`;

describe.skipIf(serverKind === "embedded")(`A web hook over HTTPS${unlessServer}`, { timeout: 150_000 }, () => {
  let project: CliProject;
  let hook: HookReceiver;
  let front: Awaited<ReturnType<typeof startTlsFront>>;
  beforeEach(async () => {
    project = await startCliProject(serverKind, { run: runCli });
    const secret = `whsec_${randomBytes(32).toString("base64")}`;
    hook = await startReceiver(secret);
    front = await startTlsFront(await makeCertificate(project.folder, "receiver"), hook.port);
    Object.assign(project.env, { HOOK_URL: `https://127.0.0.1:${front.port}/hook`, HOOK_SECRET: secret });
    await createFilms(project);
    await insertFilms(project, 3);
    await writeFile(join(project.folder, "rowmill.config.mjs"), CONFIG);
  });
  afterEach(async () => {
    await front.close();
    await hook.goDown();
    await project.check().finally(() => project.close());
  });

  it("gets nothing until its authority is trusted, which the message says, and then everything", async () => {
    const refused = await project.run("up", "--until-idle", "--yes");
    expect(refused.status).toBe(4);
    expect(refused.stderr).toContain("(DEPTH_ZERO_SELF_SIGNED_CERT); if your own certificate authority signed");
    expect(hook.seen).toEqual([]);
    Object.assign(project.env, { NODE_EXTRA_CA_CERTS: join(project.folder, "receiver.crt") });
    await project.database.run(sql`update rowmill.deliverers set next_at = now()`);
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    expect([...hook.held("films").keys()].toSorted()).toEqual(["0", "1", "2"]);
    expect((await project.run("doctor")).stdout).toContain(`https://127.0.0.1:${front.port} is at the private address`);
    expect((await project.gateway.journal.summary()).executed).toBe(3);
  });
});
