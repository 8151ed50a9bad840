/**
 * `rowmill gateway` as a process of the built command line: what it prints, which keys it takes, and whose files they
 * see.
 */
import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type OpenAI from "openai";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { buildCli, runCli, startCli, until, type RunningCli, type Variables } from "../support/cli.js";
import {
  chatLines,
  clientOf,
  createBatch,
  readLines,
  refusalOf,
  startTestGateway,
  submit,
  temporaryDir,
  upload,
} from "./gateway-setup.js";

const alice = "alice-key-0123456789";
const bob = "bob-key-0123456789";
const command = ["gateway", "--demo-model", "--port", "0"];
const own = join(".rowmill", "gateway");

beforeAll(buildCli, 150_000);

interface Serving {
  readonly cli: RunningCli;
  readonly url: string;
  /** The one that it prints; "" when it prints none. */
  readonly key: string;
  client(apiKey: string): OpenAI;
}

async function serve(
  cwd: string,
  { args = [], env = {} }: { args?: string[]; env?: Variables } = {},
): Promise<Serving> {
  const cli = startCli([...command, ...args], { cwd, env });
  onTestFinished(() => {
    cli.child.kill("SIGKILL");
  });
  await until("the start of the gateway", async () => {
    if (cli.child.exitCode !== null) throw new Error(`It ended first, saying:\n${cli.stderr()}`);
    return cli.stdout().includes("Stop it with Ctrl-C");
  });
  const url = /^ {2}export OPENAI_BASE_URL=(\S+)$/m.exec(cli.stdout())?.[1] ?? "";
  const key = /^ {2}export OPENAI_API_KEY=(\S+)$/m.exec(cli.stdout())?.[1] ?? "";
  return { cli, url, key, client: (apiKey) => clientOf({ url }, apiKey) };
}

async function stop({ cli }: Serving): Promise<string> {
  cli.child.kill("SIGTERM");
  const ended = await cli.ended;
  expect(ended.status).toBe(0);
  return ended.stdout + ended.stderr;
}

async function keyFile(text: string, mode = 0o600): Promise<string> {
  const file = join(await temporaryDir(), "keys");
  await writeFile(file, text);
  await chmod(file, mode);
  return file;
}

const refusedStatus = async (client: OpenAI) => (await refusalOf(client.models.list())).status;

/** Waits for the end of the batch, by its replies. */
async function ended(client: OpenAI, id: string) {
  await expect.poll(async () => (await client.batches.retrieve(id)).status, { timeout: 20_000 }).toBe("completed");
  return client.batches.retrieve(id);
}

describe("rowmill gateway", () => {
  test("prints how to use it and that no language model answers, serves, and stops on its signal", async () => {
    const serving = await serve(await temporaryDir());
    expect(serving.cli.stdout()).toContain("NO LANGUAGE MODEL");
    expect((await serving.client(serving.key).batches.list()).data).toEqual([]);
    expect(await stop(serving)).toContain("The gateway has stopped.");
    await expect(fetch(`${serving.url}/models`)).rejects.toThrow();
  });

  test("refuses to start without the demo model", async () => {
    expect(await runCli(["gateway"], { cwd: await temporaryDir(), env: {} })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("--demo-model") as string,
    });
  });

  test("with --log-format json says on stderr, a record a line, where it listens and which keys it takes", async () => {
    const folder = await temporaryDir();
    const cli = startCli([...command, "--log-format", "json"], { cwd: folder, env: {} });
    onTestFinished(() => {
      cli.child.kill("SIGKILL");
    });
    await cli.says("listens on");
    cli.child.kill("SIGTERM");
    expect(await cli.ended).toMatchObject({ status: 0, stdout: "" });
    const records = cli
      .stderr()
      .trimEnd()
      .split("\n")
      .map((line): { time: string; level: string; msg: string } => JSON.parse(line));
    for (const { time } of records) expect(new Date(time).toISOString()).toBe(time);
    const place = join(folder, own);
    expect(records.map(({ level, msg }) => [level, msg.replace(/:\d+\/v1/, ":PORT/v1")])).toEqual([
      [
        "info",
        `The gateway listens on http://127.0.0.1:PORT/v1 and keeps its state in ${place}. It accepts the API key in ` +
          `${join(place, "api-key")}. Its demo model is not a language model.`,
      ],
      ["info", "The gateway has stopped."],
    ]);
    expect(cli.stderr()).not.toContain((await readFile(join(place, "api-key"), "utf8")).trim());
  });

  test("without keys makes one at its first start, keeps it for itself alone, and takes no other, then and later", async () => {
    const cwd = await temporaryDir();
    const first = await serve(cwd);
    expect(first.key).toMatch(/^rowmill-[0-9a-f]{64}$/);
    const file = join(cwd, own, "api-key");
    expect(await readFile(file, "utf8")).toBe(`${first.key}\n`);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await refusedStatus(first.client("demo"))).toBe(401);
    const id = await submit(first.client(first.key), chatLines(2));
    await stop(first);
    const again = await serve(cwd);
    expect(again.key).toBe(first.key);
    expect(await refusedStatus(again.client("demo"))).toBe(401);
    expect((await ended(again.client(again.key), id)).request_counts?.completed).toBe(2);
    expect(await readdir(join(cwd, own))).not.toContainEqual(expect.stringContaining(".tmp"));
  });

  test("started twice at once on one folder has one key", async () => {
    const cwd = await temporaryDir();
    const both = [1, 2].map(() => startCli(command, { cwd, env: {} }));
    onTestFinished(() => both.forEach(({ child }) => child.kill("SIGKILL")));
    const loser = await Promise.race(both.map(({ ended }) => ended));
    expect(loser).toMatchObject({ status: 4, stderr: expect.stringContaining("Another gateway") as string });
    const winner = both.find(({ child }) => child.exitCode === null);
    await until("the winner's start", async () => winner?.stdout().includes("OPENAI_API_KEY=") === true);
    const key = (await readFile(join(cwd, own, "api-key"), "utf8")).trim();
    expect(winner?.stdout()).toContain(`export OPENAI_API_KEY=${key}\n`);
  });

  test("with keys listens where other machines can reach it, and prints an address that can be used", async () => {
    const serving = await serve(await temporaryDir(), { args: ["--host", "0.0.0.0"] });
    expect(serving.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    expect((await serving.client(serving.key).batches.list()).data).toEqual([]);
    expect(await refusedStatus(serving.client("demo"))).toBe(401);
  });
});

describe("keys that are given to rowmill gateway", () => {
  test("in ROWMILL_GATEWAY_KEYS are the only ones, and are neither printed nor kept", async () => {
    const cwd = await temporaryDir();
    const before = await serve(cwd);
    await stop(before);
    const serving = await serve(cwd, { env: { ROWMILL_GATEWAY_KEYS: `${alice}, ${bob}` } });
    expect(serving.key).toBe("");
    expect(await refusedStatus(serving.client(before.key))).toBe(401);
    await submit(serving.client(alice), chatLines(1));
    await submit(serving.client(bob), chatLines(1));
    expect(await refusedStatus(serving.client("wrong-key-0123456789"))).toBe(401);
    const said = await stop(serving);
    const kept = await everythingIn(join(cwd, own));
    for (const key of [alice, bob, "wrong-key-0123456789"]) expect(said + kept).not.toContain(key);
  });

  test("in .env of the folder are taken too", async () => {
    const cwd = await temporaryDir();
    await writeFile(join(cwd, ".env"), `ROWMILL_GATEWAY_KEYS=${alice}\n`);
    const serving = await serve(cwd);
    expect((await serving.client(alice).batches.list()).data).toEqual([]);
    expect(await refusedStatus(serving.client("demo"))).toBe(401);
  });

  test("in a file go before those of the variable; lines with # are comments", async () => {
    const file = await keyFile(`# of the team\r\n\r\n  ${alice}  \r\n`);
    const env = { ROWMILL_GATEWAY_KEYS: bob };
    const serving = await serve(await temporaryDir(), { args: ["--api-key-file", file], env });
    expect((await serving.client(alice).batches.list()).data).toEqual([]);
    expect(await refusedStatus(serving.client(bob))).toBe(401);
    expect(await stop(serving)).not.toContain("Warning");
  });

  test("in a file that others can read, or that can be guessed, are taken with a warning", async () => {
    const file = await keyFile("demo\n", 0o644);
    const serving = await serve(await temporaryDir(), { args: ["--api-key-file", file] });
    expect((await serving.client("demo").batches.list()).data).toEqual([]);
    const said = await stop(serving);
    expect(said).toContain(`chmod 600 ${file}`);
    expect(said).toContain("fewer than 16 characters");
  });

  test.each([
    ["no key at all", "# none yet\n\n", "There is no key in"],
    ["only commas", " , ,\n", "There is no key in"],
    ["the same key twice", `a:${alice}\nb:${alice}`, "the same key twice"],
    ["a key with a space inside", `${alice}\nmy secret`, "Key 2 in"],
    ["a name with a space inside", `the team:${alice}`, "The name of key 1 in"],
  ])("in a file with %s are refused, with what to do and without the key", async (_, text, said) => {
    const args = [...command, "--api-key-file", await keyFile(text)];
    const { status, stderr } = await runCli(args, { cwd: await temporaryDir(), env: {} });
    expect(status).toBe(2);
    expect(stderr).toContain(said);
    for (const secret of [alice, "secret"]) expect(stderr).not.toContain(secret);
  });

  test("in a file that is not there are refused", async () => {
    const args = [...command, "--api-key-file", "nowhere"];
    expect(await runCli(args, { cwd: await temporaryDir(), env: {} })).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("The key file nowhere cannot be read") as string,
    });
  });
});

async function everythingIn(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return (await Promise.all(files.map((file) => readFile(join(file.parentPath, file.name), "utf8")))).join("\n");
}

describe("each key of rowmill gateway", () => {
  test("sees its own files and batches only; those of others are not there", async () => {
    const cwd = await temporaryDir();
    const serving = await serve(cwd, { env: { ROWMILL_GATEWAY_KEYS: `${alice},${bob}` } });
    const [hers, his] = [serving.client(alice), serving.client(bob)];
    const id = await submit(hers, chatLines(2));
    const batch = await ended(hers, id);
    const fileIds = [batch.input_file_id, batch.output_file_id ?? ""];
    expect((await his.files.list()).data).toEqual([]);
    expect((await his.batches.list()).data).toEqual([]);
    const unknown = async (call: (client: OpenAI, id: string) => Promise<unknown>, of: string) => {
      const [known, never] = [await refusalOf(call(his, of)), await refusalOf(call(his, "no-such-id"))];
      expect(known.status).toBe(404);
      expect(known.message).toBe(never.message.replace("no-such-id", of));
    };
    for (const fileId of fileIds) {
      await unknown((client, file) => client.files.retrieve(file), fileId);
      await unknown((client, file) => client.files.content(file), fileId);
      await unknown((client, file) => client.files.delete(file), fileId);
      await unknown((client, after) => client.files.list({ after }), fileId);
    }
    await unknown((client, one) => client.batches.retrieve(one), id);
    await unknown((client, one) => client.batches.cancel(one), id);
    await unknown((client, after) => client.batches.list({ after }), id);
    expect((await hers.files.list()).data.map((file) => file.id).toSorted()).toEqual(fileIds.toSorted());
    expect(await readLines(hers, batch.output_file_id)).toHaveLength(2);
  });

  test("makes no batch of a file of another", async () => {
    const serving = await serve(await temporaryDir(), { env: { ROWMILL_GATEWAY_KEYS: `${alice},${bob}` } });
    const file = await upload(serving.client(alice), chatLines(1));
    const his = serving.client(bob);
    const { id } = await createBatch(his, file.id);
    await expect.poll(async () => (await his.batches.retrieve(id)).status).toBe("failed");
    expect((await his.batches.retrieve(id)).errors?.data).toMatchObject([{ param: "file_id" }]);
  });

  test("with a name hands over to the next key of that name, also after a restart", async () => {
    const cwd = await temporaryDir();
    const before = await serve(cwd, { env: { ROWMILL_GATEWAY_KEYS: `alice:${alice},bob:${bob}` } });
    const id = await submit(before.client(alice), chatLines(1));
    await stop(before);
    const next = "another-key-0123456789";
    const file = await keyFile(`bob:${bob}\nalice:${next}\n`);
    const after = await serve(cwd, { args: ["--api-key-file", file] });
    expect((await ended(after.client(next), id)).request_counts?.completed).toBe(1);
    expect((await after.client(bob).batches.list()).data).toEqual([]);
    expect(await refusedStatus(after.client(alice))).toBe(401);
  });

  test("but the first sees nothing of a gateway that had no keys; the first keeps it", async () => {
    const before = await startTestGateway();
    const id = await submit(before.client, chatLines(1));
    await before.gateway.until(id);
    await before.gateway.close();
    const { dataDir } = before;
    const first = await startTestGateway({ dataDir, apiKeys: [alice, bob] });
    const seen = async (gateway: { url: string }, key: string) =>
      (await clientOf(gateway, key).batches.list()).data.length;
    expect([await seen(first.gateway, alice), await seen(first.gateway, bob)]).toEqual([1, 0]);
    await first.gateway.close();
    const second = await startTestGateway({ dataDir, apiKeys: [bob, alice] });
    expect([await seen(second.gateway, alice), await seen(second.gateway, bob)]).toEqual([1, 0]);
    expect((await clientOf(second.gateway, bob).files.list()).data).toEqual([]);
    await second.gateway.close();
    const open = await startTestGateway({ dataDir });
    expect(await seen(open.gateway, "whoever")).toBe(1);
  });
});
