import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { raw, sql } from "../../src/store/database.js";
import { buildCli, runCli, serverKind, startCli, startCliProject, until } from "../support/cli.js";

const example = resolve(import.meta.dirname, "../../examples/movies");

beforeAll(buildCli, 150_000);

describe("rowmill demo", () => {
  it(
    "answers a thousand rows without a key, says that no model did, and leaves nothing behind",
    { timeout: 60_000 },
    async () => {
      const folder = await mkdtemp(join(inject("runFolder"), "demo-"));
      try {
        const ended = await runCli(["demo"], { cwd: folder, env: { TMPDIR: folder } });
        expect(ended.status, ended.stderr).toBe(0);
        expect(ended.stderr).toContain("NO LANGUAGE MODEL ANSWERS IN THIS DEMO");
        expect(ended.stdout).toContain("1,000 answers in the table film_labels");
        expect(ended.stdout).toContain("1,000 sent = 1,000 succeeded + 0 failed + 0 returned");
        expect(ended.stdout).toMatch(
          /With gpt-4o-mini these would cost about: \$0\.\d+ as a batch, \$0\.\d+ as live requests/,
        );
        expect(ended.stdout).toContain("Nothing was spent");
        expect((await readdir(folder)).filter((name) => name.startsWith("rowmill-demo"))).toEqual([]);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  );
});

describe("rowmill gateway", () => {
  it("serves until it is stopped, which is no failure", { timeout: 30_000 }, async () => {
    const folder = await mkdtemp(join(inject("runFolder"), "gateway-"));
    const args = ["gateway", "--demo-model", "--port", "0", "--data-dir", "state"];
    const running = startCli(args, { cwd: folder, env: {} });
    try {
      await until("its address", async () => running.stdout().includes("OPENAI_BASE_URL="));
      const url = /OPENAI_BASE_URL=(\S+)/.exec(running.stdout())?.[1] ?? "";
      const reply = await fetch(`${url}/batches`, { headers: { authorization: "Bearer demo" } });
      expect(reply.status).toBe(200);
      const port = new URL(url).port;
      const taken = await runCli(["gateway", "--demo-model", "--port", port, "--data-dir", "other"], {
        cwd: folder,
        env: {},
      });
      expect(taken).toMatchObject({
        status: 2,
        stderr: `rowmill: The gateway cannot listen: 127.0.0.1:${port} is in use.\n  - Choose another one with --port and --host; --port 0 takes any free port.\n`,
      });
      running.child.kill("SIGINT");
      expect(await running.ended).toMatchObject({
        status: 0,
        stdout: expect.stringContaining("The gateway has stopped."),
      });
    } finally {
      running.child.kill("SIGKILL");
      await running.ended;
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("says what it needs without the demo model", async () => {
    const ended = await runCli(["gateway"], { cwd: inject("runFolder"), env: {} });
    expect(ended).toMatchObject({ status: 2, stderr: expect.stringContaining("--demo-model") });
  });
});

describe("examples/movies", () => {
  it("works as its README says", { timeout: 60_000 }, async () => {
    const project = await startCliProject(serverKind);
    try {
      await copyFile(join(example, "rowmill.config.ts"), join(project.folder, "rowmill.config.ts"));
      await project.database.run(raw(await readFile(join(example, "movies.sql"), "utf8")));
      const up = await project.run("up", "--until-idle");
      expect(up.status, up.stderr).toBe(0);
      const rows = await project.database.rows<{ categories: string[] }>(
        sql`select title, categories, summary from movies join movie_labels using (movie_id)`,
      );
      expect(rows).toHaveLength(8);
      expect(rows.every((row) => row.categories.length > 0)).toBe(true);
      expect((await project.run("show", "movies", "1")).stdout).toContain("The Silent Harbour");
    } finally {
      await project.close();
    }
  });
});
