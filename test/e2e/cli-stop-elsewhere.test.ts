/** Ctrl-C while a source or a target elsewhere does not answer. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, runCli, serverKind, startCliProject, unlessServer, type CliProject } from "../support/cli.js";

beforeAll(buildCli, 150_000);

/** Neither the source nor the target heeds its signal. */
const config = (source: string, write: string) => `import { defineConfig, defineSource, pipeline, z } from "rowmill";
const hang = (what) => new Promise(() => console.error(what));
const rows = [1, 2, 3].map((id) => ({ id, title: "Film " + id }));
export default defineConfig({
  database: process.env.DATABASE_URL,
  pipelines: {
    films: pipeline({
      source: defineSource({ key: "id", columns: ["title"], async *rows() { ${source} } }),
      when: { rows: 1_000, maxWait: "0s" },
      polling: { min: "20ms", max: "100ms" },
      request: { model: "gpt-4o-mini", user: "Summarize {{ title }}", maxOutputTokens: 100 },
      answer: z.object({ summary: z.string() }),
      target: { write: async (changes) => { ${write} } },
    }),
  },
});
`;

describe.skipIf(serverKind === "embedded")(`rowmill up${unlessServer}`, { timeout: 150_000 }, () => {
  let project: CliProject;
  beforeEach(async () => {
    project = await startCliProject(serverKind, { run: runCli });
  });
  afterEach(() => project.check().finally(() => project.close()));

  const configure = (source: string, write: string) =>
    writeFile(join(project.folder, "rowmill.config.mjs"), config(source, write));
  const leases = () =>
    project.database.first(sql`
      select (select lease_token is not null from rowmill.syncs) as reading,
        (select lease_token is not null from rowmill.deliverers) as delivering,
        (select failures from rowmill.syncs) + (select failures from rowmill.deliverers) as failures`);

  it.each([
    ["source", 'await hang("the source hangs");', ""],
    ["target", "yield rows;", 'await hang("the target hangs");'],
  ])("ends at Ctrl-C although its %s hangs, gives back its lease, and continues later", async (what, source, write) => {
    await configure(source, write);
    const running = project.start("up", "--yes");
    await running.says(`the ${what} hangs`);
    running.child.kill("SIGINT");
    const { status, stderr } = await running.ended;
    expect(status).toBe(130);
    expect(stderr).not.toContain("did not end in time");
    expect(await leases()).toEqual({ reading: false, delivering: false, failures: 0 });
    await configure("yield rows;", "");
    expect(await project.run("up", "--until-idle", "--yes")).toMatchObject({ status: 0 });
    const delivered = sql`select count(*)::int as n from rowmill.deliveries where state = 'delivered'`;
    expect(await project.database.value(delivered)).toBe(3);
    expect((await project.gateway.journal.summary()).executed).toBe(3);
  });
});
