/** The health check of the Dockerfile, as it stands there, beside a worker. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { sql } from "../../src/postgres/database.js";
import { buildCli, cliScript, filmsPipeline, serverKind, startCliProject, until } from "../support/cli.js";

const dockerfile = await readFile(resolve(import.meta.dirname, "../../Dockerfile"), "utf8");

beforeAll(buildCli, 150_000);

describe("The image's health check", () => {
  it(
    "passes while this host's worker lives, not for another host's, and not once it has stopped",
    {
      timeout: 90_000,
    },
    async () => {
      const check = /^HEALTHCHECK [^\n]*\\\n +CMD (.+)$/m.exec(dockerfile)?.[1] ?? "";
      const project = await startCliProject(serverKind);
      try {
        await project.database.run(sql`create table films (id bigint primary key, title text, description text)`);
        await project.writeConfig(filmsPipeline());
        const bin = join(project.folder, "bin");
        await mkdir(bin);
        await writeFile(join(bin, "rowmill"), `#!/bin/sh\nexec "${process.execPath}" "${cliScript}" "$@"\n`, {
          mode: 0o755,
        });
        const isHealthy = async (): Promise<boolean> => {
          const child = spawn("sh", ["-c", check], {
            cwd: project.folder,
            env: { ...project.env, PATH: `${bin}:${process.env["PATH"] ?? ""}` },
            stdio: "ignore",
          });
          const [status]: unknown[] = await once(child, "close");
          return status === 0;
        };
        expect(await isHealthy()).toBe(false);
        const worker = project.start("up");
        await until("a healthy worker", isHealthy);
        await project.database.run(sql`update rowmill.workers set host = host || '-2'`);
        expect(await isHealthy()).toBe(false);
        await project.database.run(sql`update rowmill.workers set host = left(host, -2)`);
        expect(await isHealthy()).toBe(true);
        worker.child.kill("SIGTERM");
        await worker.ended;
        expect(await isHealthy()).toBe(false);
      } finally {
        await project.close();
      }
    },
  );
});
