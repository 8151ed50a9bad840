/**
 * What no engine here can build or start: the Dockerfile and compose.yaml hold up before linters that parse them, and
 * fit the code.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { validate, ValidationSeverity } from "dockerfile-utils";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";

const repository = resolve(import.meta.dirname, "../..");
const dockerfile = await text("Dockerfile");
const compose = await text("compose.yaml");

function text(file: string): Promise<string> {
  return readFile(join(repository, file), "utf8");
}

function mistakesOfDockerfile(content: string): string[] {
  const severity = ValidationSeverity.ERROR;
  const settings = {
    deprecatedMaintainer: severity,
    directiveCasing: severity,
    emptyContinuationLine: severity,
    instructionCasing: severity,
    instructionCmdMultiple: severity,
    instructionEntrypointMultiple: severity,
    instructionHealthcheckMultiple: severity,
    instructionJSONInSingleQuotes: severity,
    instructionWorkdirRelative: severity,
  };
  return validate(content, settings).map(({ message }) => (typeof message === "string" ? message : message.value));
}

/** What dclint says of it, warnings included; "" when all is well. */
async function mistakesOfCompose(content: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-compose-"));
  try {
    const file = join(folder, "compose.yaml");
    await writeFile(file, content);
    const linter = join(repository, "node_modules/.bin/dclint");
    await promisify(execFile)(linter, ["--max-warnings", "0", file], { cwd: repository });
    return "";
  } catch (error) {
    if (error instanceof Error && "stdout" in error) return String(error.stdout);
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe("The Dockerfile", () => {
  it("has no mistake that its linter knows", () => {
    expect(mistakesOfDockerfile(dockerfile)).toEqual([]);
  });

  it.each([
    ["FROM node", "FORM node", "Unknown instruction: FORM"],
    ["--interval=60s", "--interval=60", "missing unit in duration"],
    ['ENTRYPOINT ["rowmill"]', 'ENTRYPOINT ["rowmill"]\nENTRYPOINT ["node"]', "ENTRYPOINT"],
    ["WORKDIR /srv/project", "WORKDIR project", "WORKDIR"],
  ])("would be refused with %s as %s", (from, to, said) => {
    expect(mistakesOfDockerfile(dockerfile.replace(from, to)).join("\n")).toContain(said);
  });

  it("copies only what .dockerignore lets through, and all that is let through", async () => {
    const sources = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, words = ""]) =>
      words.split(" "),
    );
    const allowed = (await text(".dockerignore")).split("\n").filter((line) => line.startsWith("!"));
    expect(new Set(sources.map((source) => `!${source}`))).toEqual(new Set(allowed));
  });

  it("runs as an ordinary user, on one pinned line of Node, without the tools that built it", () => {
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
    expect(new Set(bases)).toEqual(new Set(["node:22-bookworm-slim"]));
    const last = dockerfile.slice(dockerfile.lastIndexOf("\nFROM "));
    expect(last).toMatch(/^USER node$/m);
    expect(last).not.toMatch(/\bnpm\b|apt-get/);
  });
});

describe("compose.yaml", () => {
  const serviceSchema = z.object({
    environment: z.record(z.string(), z.string()),
    stop_grace_period: z.string().regex(/^\d+s$/),
    restart: z.string(),
    volumes: z.array(z.union([z.string(), z.object({ target: z.string() }).loose()])),
  });
  const { services } = z
    .object({ services: z.object({ postgres: serviceSchema, rowmill: serviceSchema }) })
    .parse(parse(compose));

  it("has no mistake that its linter and the specification's schema know", async () => {
    expect(await mistakesOfCompose(compose)).toBe("");
  });

  it.each([
    ["stop_grace_period", "stop_grace_perio", "additional properties"],
    ["condition: service_healthy", "condition: healthy", "must be array"],
  ])("would be refused with %s as %s", async (from, to, said) => {
    expect(await mistakesOfCompose(compose.replace(from, to))).toContain(said);
  });

  it("gives a worker more time to stop than it takes at most", async () => {
    const limit = /^const STOP_LIMIT_MS = ([\d_]+);$/m.exec(await text("src/worker/process/worker.ts"))?.[1] ?? "";
    const graceMs = Number.parseInt(services.rowmill.stop_grace_period, 10) * 1000;
    expect(Number(limit.replaceAll("_", ""))).toBeGreaterThan(0);
    expect(graceMs).toBeGreaterThan(Number(limit.replaceAll("_", "")) * 1.5);
  });

  it("holds no secret, and starts again what died", () => {
    const values = Object.values(services).flatMap(({ environment }) => Object.entries(environment));
    const secrets = values.filter(([name]) => /PASSWORD|KEY|DATABASE_URL/.test(name));
    expect(secrets).toHaveLength(3);
    expect(secrets.filter(([, value]) => !/\$\{(?:POSTGRES_PASSWORD|OPENAI_API_KEY)/.test(value))).toEqual([]);
    expect(Object.values(services).map((service) => service.restart)).toEqual(["unless-stopped", "unless-stopped"]);
  });

  it("mounts config and state where the image's command looks for them", () => {
    const folder = /^WORKDIR (\/srv\/\S+)$/m.exec(dockerfile)?.[1] ?? "";
    const targets = services.rowmill.volumes.map((volume) =>
      typeof volume === "string" ? volume.split(":")[1] : volume.target,
    );
    expect(targets).toEqual([`${folder}/rowmill.config.ts`, `${folder}/.rowmill`]);
  });
});
