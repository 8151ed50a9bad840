/**
 * What only the second shape of a provider has: a create that is found by circumstance; and that its stand-in does as
 * it says.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setImmediate as turn } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import type { CreateIntent, Provider } from "../../src/model/provider/provider.js";
import { plain, type PlainOptions } from "../support/plain-provider.js";
import {
  PLAIN_KEY,
  startPlainStandIn,
  type PlainStandIn,
  type PlainStandInOptions,
} from "../support/plain-stand-in.js";
import { Intents } from "./provider-stand-in.js";
import { suiteStandIn } from "./plain-suite-stand-in.js";

let standIn: PlainStandIn;
let intents: Intents;

async function start(options: PlainStandInOptions = {}, provider: Partial<PlainOptions> = {}): Promise<Provider> {
  standIn = await startPlainStandIn(options);
  intents = await Intents.begin(suiteStandIn(standIn));
  return plain({ url: standIn.url, key: PLAIN_KEY, ...provider });
}

afterEach(async () => {
  await intents.end();
  await standIn.close();
});

const found = async (provider: Provider, intent: CreateIntent) =>
  (await provider.find(intent, 0)).possible.map(({ id }) => id);

describe("a create by circumstance", () => {
  test("that takes effect late is found late, and once", async () => {
    const provider = await start();
    let arrive = (): void => undefined;
    const after = new Promise<void>((resolve) => (arrive = resolve));
    standIn.faults.add({ call: "create", at: "before", fault: { kind: "late", after } });
    const intent = await intents.make(["a", "b"]);
    await expect(provider.create(intent)).rejects.toMatchObject({ kind: "ambiguous" });
    expect(await found(provider, intent)).toEqual([]);
    arrive();
    await turn();
    expect(await found(provider, intent)).toEqual([standIn.batches.all[0]?.id]);
    expect(standIn.calls.get("create")).toBe(1);
  });

  test("is found when the list shows it, which may be later", async () => {
    let shows = false;
    const provider = await start({ shows: () => shows });
    const intent = await intents.make(["a"]);
    const { id } = await provider.create(intent);
    expect(await found(provider, intent)).toEqual([]);
    shows = true;
    expect(await found(provider, intent)).toEqual([id]);
  });

  test("is distinguished from what was there before, though its newest was deleted", async () => {
    const provider = await start();
    const before = standIn.createForeign(2);
    await standIn.batches.until(before.id);
    const intent = await intents.make(["a", "b"]);
    const { id } = await provider.create(intent);
    expect(await provider.forget({ batch: { id: before.id, refs: null }, staged: null })).toBe(1);
    expect(await found(provider, intent)).toEqual([id]);
  });

  test("may be any of those of its time and size, by whichever key of the workspace they were made", async () => {
    const provider = await start({ keys: { [PLAIN_KEY]: "shared", other: "shared", third: "own" } });
    const intent = await intents.make(["a", "b"]);
    const others = ["other", "third"].map((key) => plain({ url: standIn.url, key }));
    const foreign: string[] = [];
    for (const other of others) foreign.push((await other.create(await intents.make(["x", "y"], other))).id);
    const { id } = await provider.create(intent);
    expect(await found(provider, intent)).toEqual([foreign[0], id]);
  });

  test("is that of its baseline's list: another adapter's is not read", async () => {
    const provider = await start();
    const intent = await intents.make(["a"]);
    await expect(provider.find({ ...intent, baseline: "x" }, 0)).rejects.toMatchObject({ code: "internal" });
  });
});

describe("the stand-in", () => {
  test("executes each request once a batch, and its counts always add up to the requests", async () => {
    let held = true;
    const provider = await start({ hold: () => held });
    const batch = await provider.create(await intents.make(["a", "b", "a"]));
    expect(batch.counts).toEqual({ total: 3, completed: 0, failed: 0 });
    held = false;
    standIn.batches.release();
    standIn.batches.release();
    expect((await provider.status(batch.id)).counts).toEqual({ total: 3, completed: 3, failed: 0 });
    expect(standIn.executions).toHaveLength(3);
    expect([...standIn.executedByPrompt()]).toEqual([
      ["a", 2],
      ["b", 1],
    ]);
  });

  test.each<[string, PlainStandInOptions, string[], object]>([
    ["too few", { requestsMin: 2 }, ["a"], { kind: "refused", refusal: { about: "other" } }],
    ["too many", { requestsMax: 1 }, ["a", "b"], { kind: "refused", refusal: { about: "other" } }],
    ["too many bytes", { bytesMax: 100 }, ["a"], { kind: "refused", refusal: { about: "size", limit: 100 } }],
    [
      "one that cannot be asked",
      {},
      ["a", "[[demo:bad-line]]"],
      { kind: "refused", refusal: { about: "line", line: 2 } },
    ],
    ["more than may be queued", { openMax: 1, hold: () => true }, ["a", "b"], { kind: "capacity" }],
  ])("refuses a batch of %s as a whole", async (_, options, prompts, expected) => {
    const provider = await start(options);
    await expect(provider.create(await intents.make(prompts))).rejects.toMatchObject(expected);
    expect(standIn.batches.all).toEqual([]);
  });

  test("asks several models in one batch", async () => {
    const provider = await start();
    expect(provider.limits.oneModel).toBe(false);
    const encode = provider.encoder({
      model: "plain-small",
      maxOutputTokens: 9,
      parameters: {},
      schema: null,
      tokensPerByte: 1,
    });
    const question = { system: null, user: "a" };
    const ask = ["plain-small", "plain-large"].map((model) =>
      encode(model, question, { maxOutputTokens: 9, told: null, model }),
    );
    const body = `{"requests":[${ask.map(({ line }) => line).join(",\n")}]}`;
    const reply = await fetch(`${standIn.url}/batches`, {
      method: "POST",
      body,
      headers: { "x-plain-key": PLAIN_KEY },
    });
    expect(reply.status).toBe(200);
    await standIn.batches.until(standIn.batches.all[0]?.id ?? "");
    expect(standIn.executions.map((one) => one.ask.model)).toEqual(["plain-small", "plain-large"]);
  });
});

describe("the stand-in in a process of its own", () => {
  let child: ChildProcess | null = null;

  afterEach(async () => {
    if (child === null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  });

  test("keeps what its clients made, and breaks as the test asks", async () => {
    await start();
    const script = fileURLToPath(new URL("../support/plain-stand-in-process.mjs", import.meta.url));
    child = spawn(process.execPath, [script, JSON.stringify({ requestsMin: 1 })], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    if (child.stdout === null) throw new Error("It has no output.");
    const [line] = (await once(createInterface(child.stdout), "line")) as [string];
    const { url } = JSON.parse(line) as { url: string };
    const client = () => plain({ url, key: PLAIN_KEY });
    const intent = await intents.make(["a", "b"], client());
    const faults = [{ call: "create", at: "after", fault: { kind: "drop" } }];
    await fetch(`${url}/faults`, { method: "POST", body: JSON.stringify(faults) });
    await expect(client().create(intent)).rejects.toMatchObject({ kind: "ambiguous" });
    const [id] = await found(client(), intent);
    const journal = (await (await fetch(`${url}/journal`)).json()) as { executions: { batch: string }[] };
    expect(journal.executions.map(({ batch }) => batch)).toEqual([id, id]);
  });
});
