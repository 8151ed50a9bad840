/** The built command line in a network that lets nothing out but through a proxy. */
import { createHash, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  buildCli,
  filmsPipeline,
  runCli,
  serverKind,
  startCli,
  startCliProject,
  type CliProject,
  type Variables,
} from "../support/cli.js";
import { countLabels, createFilms, insertFilms } from "../support/cli-films.js";
import { startHttpProxy, startTlsFront, type HttpProxy } from "../support/http-proxy.js";
import { makeCertificate } from "../support/odd-servers.js";

const PASSWORD = "a-long-password";
const FILMS = 30;
const providerScript = resolve(import.meta.dirname, "../../dist/providers/openai/adapter.js");

let project: CliProject;
let front: Awaited<ReturnType<typeof startTlsFront>>;
let proxy: HttpProxy;
/** As in such a network: https to a name that only the proxy knows. */
let env: Variables;

beforeAll(buildCli, 150_000);
beforeAll(async () => {
  project = await startCliProject(serverKind, { run: runCli });
  const certificate = await makeCertificate(project.folder, "provider");
  front = await startTlsFront(certificate, Number(new URL(project.gateway.url).port));
  proxy = await startHttpProxy({ "provider.test": front.port });
  env = {
    ...project.env,
    OPENAI_BASE_URL: "https://provider.test/v1",
    HTTPS_PROXY: `http://worker:${PASSWORD}@127.0.0.1:${proxy.port}`,
    HTTP_PROXY: `http://worker:${PASSWORD}@127.0.0.1:${proxy.port}`,
    NODE_EXTRA_CA_CERTS: join(project.folder, "provider.crt"),
  };
  await createFilms(project);
  await insertFilms(project, FILMS);
  await project.writeConfig(filmsPipeline());
}, 60_000);
afterAll(async () => {
  await proxy.close();
  await front.close();
  await project.close();
});

const run = (variables: Variables, ...args: string[]) =>
  runCli(args, { cwd: project.folder, env: { ...env, ...variables } });

describe("A network with a proxy", { timeout: 120_000 }, () => {
  it("is broken: up and doctor name the proxy and what to do, and show no password", async () => {
    const lost = startCli(["up", "--until-idle", "--yes"], {
      cwd: project.folder,
      env: { ...env, HTTPS_PROXY: `worker:${PASSWORD}@127.0.0.1:1` },
    });
    proxy.mood = { answer: 407 };
    const refused = await run({}, "doctor");
    expect(refused.stdout).toContain(
      `problem      Key: could not list models: the proxy http://127.0.0.1:${proxy.port} (HTTPS_PROXY) refused to connect to https://provider.test/v1 (HTTP 407); write user and password into HTTPS_PROXY as http://user:password@host:port.`,
    );
    expect(refused.status).toBe(2);
    proxy.mood = null;
    const straight = await run({ NO_PROXY: "provider.test" }, "doctor");
    expect(straight.stdout).toMatch(/no reply from https:\/\/provider\.test\/v1 \((ENOTFOUND|EAI_AGAIN)\)\./);
    const unusable = await run({ HTTPS_PROXY: `socks5://worker:${PASSWORD}@127.0.0.1:1` }, "up", "--once");
    expect(unusable).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(
        "HTTPS_PROXY: found an unusable value (not shown: it may hold a password), expected the URL of an HTTP proxy",
      ),
    });
    await lost.says(
      "no reply from https://provider.test/v1 through the proxy http://127.0.0.1:1 (HTTPS_PROXY) (ECONNREFUSED); check HTTPS_PROXY, or set NO_PROXY=provider.test to bypass the proxy",
    );
    lost.child.kill("SIGTERM");
    for (const { stdout, stderr } of [refused, await lost.ended, straight, unusable])
      expect(stdout + stderr).not.toContain(PASSWORD);
  });

  it("carries all work, by tunnels alone, with what `.env` says", async () => {
    proxy.seen.length = 0;
    const { HTTPS_PROXY: address, ...others } = env;
    await writeFile(join(project.folder, ".env"), `https_proxy=${address}\n`);
    const at = { cwd: project.folder, env: others };
    const doctor = await runCli(["doctor"], at);
    expect(doctor.stdout).toContain(
      `ok           Key: accepted by https://provider.test/v1 through the proxy http://127.0.0.1:${proxy.port} (https_proxy)\n`,
    );
    const up = await runCli(["up", "--until-idle", "--yes"], at);
    expect(up.status, up.stderr).toBe(0);
    expect(await countLabels(project)).toBe(FILMS);
    expect(new Set(proxy.seen)).toEqual(new Set(["CONNECT provider.test:443"]));
    const basic = Buffer.from(`worker:${PASSWORD}`).toString("base64");
    expect(new Set(proxy.authorizations)).toEqual(new Set([`Basic ${basic}`]));
    expect(up.stderr + up.stdout + doctor.stdout).not.toContain(PASSWORD);
    await project.check();
  });

  it("lets a file of 20 MB through a tunnel byte for byte", async () => {
    const path = join(project.folder, "large.jsonl");
    const bytes = Buffer.from(`${randomBytes(10_000_000).toString("hex")}\n`);
    await writeFile(path, bytes);
    const script = `import { createOpenAIProvider } from ${JSON.stringify(providerScript)};
      import { readEnvironment } from ${JSON.stringify(resolve(providerScript, "../../../config/load/environment.js"))};
      const { proxies } = readEnvironment(process.env).provider;
      const provider = createOpenAIProvider({ apiKey: "sk-test", baseURL: process.env.OPENAI_BASE_URL, proxies });
      const spool = { batchId: "large", path: ${JSON.stringify(path)}, bytes: ${bytes.length}, sha256: "0".repeat(64) };
      const { ref } = await provider.staging.send(spool);
      console.log(ref);
      process.exit(0);`;
    const ended = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      env: { ...env, PATH: process.env["PATH"] },
    });
    const content = await fetch(`${project.gateway.url}/files/${ended.stdout.trim()}/content`, {
      headers: { authorization: "Bearer sk-test" },
    });
    const hash = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
    expect(hash(new Uint8Array(await content.arrayBuffer()))).toBe(hash(bytes));
  });

  it("is not used for a provider on this machine", async () => {
    proxy.seen.length = 0;
    const doctor = await run({ OPENAI_BASE_URL: project.gateway.url }, "doctor");
    expect(doctor.stdout).toContain(`ok           Key: accepted by ${project.gateway.url}\n`);
    expect(proxy.seen).toEqual([]);
  });
});
