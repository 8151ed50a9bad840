import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { startGateway } from "../../src/gateway/gateway.js";
import { buildCli, runCli, startCli, until } from "../support/cli.js";

beforeAll(buildCli, 150_000);

describe("rowmill demo", () => {
  it(
    "answers the films without a key, says that no model did, and leaves nothing behind",
    { timeout: 60_000 },
    async () => {
      const folder = await mkdtemp(join(inject("runFolder"), "demo-"));
      try {
        const ended = await runCli(["demo"], { cwd: folder, env: { TMPDIR: folder } });
        expect(ended.status, ended.stderr).toBe(0);
        expect(ended.stderr).toContain("NO LANGUAGE MODEL ANSWERS IN THIS DEMO");
        expect(ended.stdout).toContain("508 answers in the table movie_labels");
        expect(ended.stdout).toContain("508 sent = 508 succeeded + 0 failed + 0 returned");
        expect(ended.stdout).toMatch(/With gpt-4o-mini about \$0\.\d+ as a batch, \$0\.\d+ as live requests/);
        expect(ended.stdout).toContain("Nothing was spent");
        expect(ended.stdout).toMatch(/rowmill\.requests +508 {2}the ledger/);
        expect((await readdir(folder)).filter((name) => name.startsWith("rowmill-demo"))).toEqual([]);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  );

  it(
    "spends nothing with --live before you agree, and continues in the kept project with --yes",
    { timeout: 120_000 },
    async () => {
      const folder = await mkdtemp(join(inject("runFolder"), "demo-"));
      const gateway = await startGateway({ dataDir: join(folder, "provider"), demoModel: true });
      const env = { OPENAI_API_KEY: "test", OPENAI_BASE_URL: gateway.url };
      try {
        const keyless = await runCli(["demo", "--live"], { cwd: folder, env: {} });
        expect(keyless).toMatchObject({
          status: 2,
          stderr: expect.stringContaining("OPENAI_API_KEY is not set"),
        });
        const asked = await runCli(["demo", "--live"], { cwd: folder, env });
        expect(asked.status, asked.stderr).toBe(4);
        expect(asked.stderr).toMatch(
          /508 rows, about [\d,]+ input .*estimated \$0\.\d+ \(cap \$0\.\d+ .*live requests: \$/,
        );
        expect((await gateway.journal.summary()).executed).toBe(0);
        const agreed = await runCli(["demo", "--live", "--yes"], { cwd: folder, env });
        expect(agreed.status, agreed.stderr).toBe(0);
        expect(agreed.stdout).toMatch(/What it cost\n.*tokens\.\n {2}\$0\.\d+ as a batch/);
        expect((await gateway.journal.summary()).executed).toBe(508);
        const story = await runCli(["show", "movies", "1"], { cwd: join(folder, "rowmill-demo"), env: {} });
        expect(story.stdout).toContain("12 Angry Men");
        const mixed = await runCli(["demo", "--keep"], { cwd: folder, env: {} });
        expect(mixed).toMatchObject({ status: 4, stderr: expect.stringContaining("rowmill demo --live") });
      } finally {
        await gateway.close();
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
      await until("its address", async () => running.stdout().includes("Ctrl-C"));
      const url = /OPENAI_BASE_URL=(\S+)/.exec(running.stdout())?.[1] ?? "";
      const key = /OPENAI_API_KEY=(\S+)/.exec(running.stdout())?.[1] ?? "";
      const reply = await fetch(`${url}/batches`, { headers: { authorization: `Bearer ${key}` } });
      expect(reply.status).toBe(200);
      const port = new URL(url).port;
      const taken = await runCli(["gateway", "--demo-model", "--port", port, "--data-dir", "other"], {
        cwd: folder,
        env: {},
      });
      expect(taken).toMatchObject({
        status: 2,
        stderr: `rowmill: The gateway cannot listen: 127.0.0.1:${port} is in use.\n  Hint: Choose another address with --host, or any free port with: --port 0\n`,
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
