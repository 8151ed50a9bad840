/** What the doctor says of batches at the provider: of orphans, and of batches that do not end. */
import { randomUUID } from "node:crypto";
import { afterEach, expect, it } from "vitest";
import { examine } from "../../src/app/doctor/examine.js";
import { startLook } from "../../src/app/doctor/look.js";
import { startCrashProject, type CrashProject } from "../support/crash-project.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { createNotes, plain } from "../support/notes.js";
import { passTime } from "../support/provider-faults.js";
import { sql } from "../support/project.js";

describeDatabases(
  "Batches at the provider",
  (kind) => {
    let crash: CrashProject;
    afterEach(() => crash.close());

    async function findings(check: string): Promise<object[]> {
      const { project } = crash;
      const variables = {
        DATABASE_URL: project.url,
        PGSSLMODE: "disable",
        OPENAI_API_KEY: "test",
        OPENAI_BASE_URL: project.gateway.url,
      };
      const { node: nodeVersion } = process.versions;
      const reports = await examine(startLook({ cwd: project.folder, configFile: undefined, variables, nodeVersion }));
      const found = reports.find((report) => report.check.id === check)?.findings ?? [];
      return found.map(({ level, text }) => ({ level, text }));
    }

    async function post(path: string, body: FormData | string): Promise<string> {
      const headers = {
        authorization: "Bearer test",
        ...(typeof body === "string" ? { "content-type": "application/json" } : {}),
      };
      const reply = await fetch(`${crash.project.gateway.url}${path}`, { method: "POST", headers, body });
      const { id }: { id: string } = JSON.parse(await reply.text());
      return id;
    }

    /** Of our name, of one line, and an hour old when the doctor looks. */
    async function createOrphan(line: object): Promise<string> {
      const [ledger] = await crash.project.rows<{ id: string }>(sql`select id from rowmill.deployment`);
      const body = new FormData();
      body.set("purpose", "batch");
      body.set("file", new File([`${JSON.stringify(line)}\n`], "orphan.jsonl"));
      const id = await post(
        "/batches",
        JSON.stringify({
          input_file_id: await post("/files", body),
          endpoint: "/v1/chat/completions",
          completion_window: "24h",
          metadata: { rowmill_deployment: ledger?.id, rowmill_batch: randomUUID() },
        }),
      );
      await crash.project.gateway.until(id);
      return id;
    }

    it("that are orphans are reported by the doctor, except failed ones, which ran nothing", async () => {
      let aheadMs = -3_600_000;
      crash = await startCrashProject(kind, { gateway: { clock: { nowMs: () => Date.now() + aheadMs } } });
      await createNotes(crash.project, plain(1));
      await crash.worker();
      const ran = await createOrphan({
        custom_id: "x-1",
        method: "POST",
        url: "/v1/chat/completions",
        body: { model: "gpt-4o-mini", messages: [{ role: "user", content: "No one's text." }] },
      });
      const failed = await createOrphan({});
      aheadMs = 0;
      const [orphan] = await findings("orphans");
      expect(orphan).toMatchObject({
        level: "problem",
        text: expect.stringContaining(`${ran} (completed).`),
      });
      expect(JSON.stringify(orphan)).not.toContain(failed);
    });

    it("that do not end are reported by the doctor once they are past their window", async () => {
      crash = await startCrashProject(kind, { gateway: { faults: { hold: () => true } } });
      const { project } = crash;
      await createNotes(project, plain(1));
      const worker = await crash.worker();
      await project.round(worker);
      await project.round(worker);
      await passTime(project, "25 hours");
      const late = {
        level: "warning",
        text: expect.stringMatching(/^Batch batch_\w+ of notes was sent 31 h ago/),
      };
      expect(await findings("work")).not.toContainEqual(late);
      await passTime(project, "6 hours");
      expect(await findings("work")).toContainEqual(late);
    });
  },
  bookKeepers,
);
