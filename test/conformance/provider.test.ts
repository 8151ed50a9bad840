/**
 * What OpenAI's adapter makes of the gateway, wire and files included. What every adapter must do: provider-suite.ts.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { startGateway, type Gateway, type GatewayOptions } from "../../src/gateway/gateway.js";
import { compileAnswer } from "../../src/model/answer/answer.js";
import type { AnswerOutcome } from "../../src/model/provider/outcome.js";
import type { BatchMark, ProviderBatch } from "../../src/model/provider/provider.js";
import { deleteFile, findInputs, readLines, uploadInput } from "../../src/providers/openai/files.js";
import type { WireFile } from "../../src/providers/openai/wire.js";
import { intentOf, providerAt, type RawProvider } from "../support/raw-provider.js";

const answer = compileAnswer(
  z.object({
    categories: z.array(z.string()),
    summary: z.string(),
    mood: z.enum(["light", "dark"]).optional(),
  }),
);
const FAR_PAST = 0;

let folder: string;
let gateway: Gateway;
let provider: RawProvider;

async function start(options: Partial<GatewayOptions> = {}, stallMs = 20_000): Promise<void> {
  gateway = await startGateway({
    dataDir: join(folder, "gateway"),
    demoModel: true,
    log: () => {},
    ...options,
  });
  provider = providerAt(gateway.url, { timeouts: { stallMs, backoffMs: 1 } });
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rowmill-provider-"));
});

afterEach(async () => {
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});

function line(customId: string, user: string, model = "gpt-4o-mini"): string {
  const shape = { model, maxOutputTokens: 200, parameters: { temperature: 0 }, schema: answer.schema };
  const encode = provider.encoder({ ...shape, tokensPerByte: 1 });
  const question = { system: "Label films.", user };
  return encode(customId, question, { maxOutputTokens: 200, told: null, model }).line;
}

async function upload(lines: readonly string[], filename = "rowmill-a-1.jsonl"): Promise<WireFile> {
  const path = join(folder, "spool.jsonl");
  await writeFile(path, lines.map((text) => `${text}\n`).join(""));
  return uploadInput(provider.connection, { path, filename });
}

async function create(lines: readonly string[], mark: Partial<BatchMark> = {}): Promise<ProviderBatch> {
  const file = await upload(lines);
  return provider.create(intentOf(file.id, mark));
}

async function finished(id: string): Promise<ProviderBatch> {
  await gateway.until(id);
  return provider.status(id);
}

async function linesOf(fileId: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const texts of readLines(provider.connection, fileId)) lines.push(...texts);
  return lines;
}

async function outcomes(batch: ProviderBatch): Promise<Map<string | null, AnswerOutcome>> {
  const read: AnswerOutcome[] = [];
  const results = provider.results(batch, { requests: 100 });
  for (let next = await results.next(); ; next = await results.next()) {
    if (next.done !== true) {
      read.push(next.value);
      continue;
    }
    expect(next.value).toMatchObject({ complete: true, lines: read.length, gone: [], pending: null });
    return new Map(read.map((outcome) => [outcome.customId, outcome]));
  }
}

async function listed(since: number): Promise<string[]> {
  const ids: string[] = [];
  for await (const { batch } of provider.list(since)) ids.push(batch.id);
  return ids;
}

async function calls(method: string, route: string): Promise<number> {
  return (await gateway.journal.summary()).calls.get(`${method} ${route}`) ?? 0;
}

describe("a batch from upload to answers", () => {
  test("gives each row its answer, which fits the schema", async () => {
    await start();
    const films = [
      "A cop hunts a thief in a crime drama.",
      "A comedy about a wedding.",
      'Space war. \u2028 "Stars" 😀',
    ];
    const batch = await create(
      films.map((film, index) => line(`${index}-1-aaaaaaaaaaaa`, film)),
      { batch: "b1" },
    );
    expect(batch).toMatchObject({ terminal: false, refs: { output: null }, mark: { batch: "b1" } });
    const ended = await finished(batch.id);
    expect(ended).toMatchObject({
      status: "completed",
      terminal: true,
      counts: { total: 3, completed: 3, failed: 0 },
    });
    const read = await outcomes(ended);
    expect(new Set(read.keys())).toEqual(new Set(films.map((_, index) => `${index}-1-aaaaaaaaaaaa`)));
    for (const outcome of read.values()) {
      if (outcome.kind !== "text") expect.fail(`not an answer: ${JSON.stringify(outcome)}`);
      expect(answer.parse(outcome.text)).toMatchObject({ ok: true });
      expect(outcome.usage.inputTokens).toBeGreaterThan(0);
      expect(outcome.usage.outputTokens).toBeGreaterThan(0);
      expect(outcome.model).toContain("gpt-4o-mini");
    }
  });

  test("names each ending of a row", async () => {
    await start();
    const endings = ["refuse", "truncate", "filter", "empty", "no-choices", "error 429", "error 500", "error 400"];
    const batch = await create(endings.map((ending) => line(ending.replace(" ", "-"), `x [[demo:${ending}]]`)));
    const read = await outcomes(await finished(batch.id));
    expect(Object.fromEntries([...read].map(([id, outcome]) => [id, outcome.kind]))).toEqual({
      refuse: "refused",
      truncate: "truncated",
      filter: "refused",
      empty: "text",
      "no-choices": "invalid",
      "error-429": "rateLimited",
      "error-500": "transient",
      "error-400": "permanent",
    });
  });

  test("keeps the answers of a batch that expired, and says which rows have none", async () => {
    await start({ faults: { hold: ({ status }) => status === "in_progress" } });
    const batch = await create([1, 2, 3].map((n) => line(`${n}-1-aaaaaaaaaaaa`, `film ${n}`)));
    gateway.expire(batch.id, { afterRequests: 1 });
    const ended = await finished(batch.id);
    expect(ended.status).toBe("expired");
    const kinds = [...(await outcomes(ended)).values()].map(({ kind }) => kind).sort();
    expect(kinds).toEqual(["expired", "expired", "text"]);
  });

  test.each<[string, null | "absent" | ""]>([
    ["null", null],
    ["no field", "absent"],
    ["an empty text", ""],
  ])("knows %s for a file that is not there", async (_, absentFileIds) => {
    await start({ absentFileIds });
    const good = await finished((await create([line("1-1-aaaaaaaaaaaa", "film")])).id);
    expect(good).toMatchObject({ status: "completed", refs: { output: expect.any(String), error: null } });
    const bad = await finished((await create([line("1-1-aaaaaaaaaaaa", "[[demo:error 500]]")])).id);
    expect(bad).toMatchObject({ status: "completed", refs: { output: null, error: expect.any(String) } });
  });

  test("says which line of the input was refused, and why", async () => {
    await start();
    const batch = await create([line("1-1-aaaaaaaaaaaa", "a"), line("1-1-aaaaaaaaaaaa", "b")]);
    const ended = await finished(batch.id);
    expect(ended).toMatchObject({ status: "failed", terminal: true, refs: { output: null, error: null } });
    expect(ended.errors).toMatchObject([
      { code: "duplicate_custom_id", line: 2, param: "custom_id", about: "line", limit: null },
    ]);
  });

  test("says how many tokens may be enqueued when there were too many", async () => {
    await start({ limits: { enqueuedTokensPerModel: 1_234 } });
    const batch = await create([line("1-1-aaaaaaaaaaaa", "word ".repeat(20_000))]);
    const ended = await finished(batch.id);
    expect(ended.errors.map(({ code }) => code)).toEqual(["token_limit_exceeded"]);
    expect(ended.errors).toMatchObject([{ about: "tokens", limit: 1_234 }]);
  });

  test("is still running in a status that we do not know", async () => {
    await start({ faults: { showBatch: (batch) => ({ ...batch, status: "pausing" as never }) } });
    const batch = await create([line("1-1-aaaaaaaaaaaa", "a")]);
    expect(batch).toMatchObject({ status: "unknown", statusText: "pausing", terminal: false });
  });
});

describe("files", () => {
  test("arrive byte for byte under the name that they were given", async () => {
    await start();
    const body = randomBytes(300_000).toString("base64");
    const file = await upload(
      [line("1-1-aaaaaaaaaaaa", body), line("2-1-aaaaaaaaaaaa", "é\u2028😀")],
      "rowmill-x-y.jsonl",
    );
    const lines = await linesOf(file.id);
    expect(lines).toEqual([line("1-1-aaaaaaaaaaaa", body), line("2-1-aaaaaaaaaaaa", "é\u2028😀")]);
    const bytes = Buffer.byteLength(lines.map((text) => `${text}\n`).join(""));
    expect(file).toMatchObject({ filename: "rowmill-x-y.jsonl", bytes });
  });

  test("are found by the beginning of their name, newest first, and gone once deleted", async () => {
    let now = 1_790_000_000_000;
    await start({ clock: { nowMs: () => now } });
    const ids: string[] = [];
    for (const name of ["rowmill-a-1.jsonl", "rowmill-b-1.jsonl", "rowmill-a-2.jsonl"]) {
      ids.push((await upload([line("1-1-aaaaaaaaaaaa", "a")], name)).id);
      now += 1_000;
    }
    expect((await findInputs(provider.connection, "rowmill-a-")).map(({ id }) => id)).toEqual([ids[2], ids[0]]);
    expect(await findInputs(provider.connection, "nothing")).toEqual([]);
    expect(await deleteFile(provider.connection, ids[0] ?? "")).toBe(true);
    expect(await deleteFile(provider.connection, ids[0] ?? "")).toBe(false);
    expect((await findInputs(provider.connection, "rowmill-a-")).map(({ id }) => id)).toEqual([ids[2]]);
  });

  test("are found once each in the list of a server that has no pages", async () => {
    let whole: object | null = null;
    await start({
      faults: {
        afterEffect: ({ method, route }, reply) => {
          if (method !== "GET" || route !== "/v1/files" || reply.kind !== "json") return undefined;
          whole ??= { object: "list", data: (reply.body as { data: unknown }).data };
          return { kind: "reply", status: 200, body: whole };
        },
      },
    });
    const file = await upload([line("1-1-aaaaaaaaaaaa", "a")], "rowmill-a-1.jsonl");
    expect((await findInputs(provider.connection, "rowmill-a-")).map(({ id }) => id)).toEqual([file.id]);
    expect(await calls("GET", "/v1/files")).toBe(2);
  });

  test("that are not there are not found", async () => {
    await start();
    await expect(linesOf("file-nothing")).rejects.toMatchObject({ kind: "notFound", status: 404 });
    await expect(provider.status("batch_nothing")).rejects.toMatchObject({
      kind: "notFound",
      status: 404,
    });
  });

  test("that cannot be read from disk are no fault of the provider", async () => {
    await start();
    const upload = uploadInput(provider.connection, {
      path: join(folder, "nothing.jsonl"),
      filename: "a.jsonl",
    });
    await expect(upload).rejects.toMatchObject({ code: "spool_failed" });
  });

  test("that are no input are refused with the provider's reason", async () => {
    await start();
    await expect(upload(["x"], "a.txt")).rejects.toMatchObject({
      kind: "refused",
      status: 400,
      message: expect.stringContaining("jsonl"),
    });
  });

  test("whose content stalls give no half line, and may be read again", async () => {
    const fault = { kind: "stall", afterBytes: 100 } as const;
    let faults = 1;
    await start(
      {
        faults: {
          afterEffect: ({ route }) => (route.endsWith("/content") && faults-- > 0 ? fault : undefined),
        },
      },
      300,
    );
    const file = await upload([1, 2, 3].map((n) => line(`${n}-1-aaaaaaaaaaaa`, `film ${n}`)));
    const seen: string[] = [];
    await expect(async () => {
      for await (const texts of readLines(provider.connection, file.id)) seen.push(...texts);
    }).rejects.toMatchObject({ kind: "retryable", message: expect.stringContaining("no byte for 300 ms") });
    expect(seen).toEqual([]);
    expect(await linesOf(file.id)).toHaveLength(3);
  });

  test("whose content is a 502 at first are read by asking again", async () => {
    let faults = 2;
    const badGateway = { kind: "reply", status: 502, body: {}, headers: { "retry-after-ms": "1" } } as const;
    await start({
      faults: {
        beforeEffect: ({ route }) => (route.endsWith("/content") && faults-- > 0 ? badGateway : undefined),
      },
    });
    const file = await upload([line("1-1-aaaaaaaaaaaa", "a")]);
    expect(await linesOf(file.id)).toHaveLength(1);
    expect(await calls("GET", "/v1/files/:id/content")).toBe(3);
  });

  test("may be left half read", async () => {
    await start();
    const file = await upload(Array.from({ length: 2_000 }, (_, n) => line(`${n}-1-aaaaaaaaaaaa`, `film ${n}`)));
    for await (const [text] of readLines(provider.connection, file.id)) {
      expect(text).toContain("film 0");
      break;
    }
    expect(await linesOf(file.id)).toHaveLength(2_000);
  });
});

describe("creating a batch", () => {
  test.each([
    ["the connection was reset after it took effect", "afterEffect", { kind: "drop" } as const, 1],
    ["the connection was reset before it took effect", "beforeEffect", { kind: "drop" } as const, 0],
    [
      "the server answered 500 after it took effect",
      "afterEffect",
      { kind: "reply", status: 500, body: {} } as const,
      1,
    ],
    ["the reply is no batch", "afterEffect", { kind: "reply", status: 200, body: { ok: true } } as const, 1],
  ] as const)("is asked for once and left in doubt when %s", async (_, hook, fault, created) => {
    await start({
      faults: {
        [hook]: ({ method, route }: { method: string; route: string }) =>
          method === "POST" && route === "/v1/batches" ? fault : undefined,
      },
    });
    await expect(create([line("1-1-aaaaaaaaaaaa", "a")], { batch: "b1" })).rejects.toMatchObject({
      kind: "ambiguous",
    });
    expect(await calls("POST", "/v1/batches")).toBe(1);
    const { certain } = await provider.find(intentOf("file-none", { batch: "b1" }), FAR_PAST);
    expect(certain).toHaveLength(created);
  });

  test("too often is refused without effect, and may be tried later", async () => {
    await start({ limits: { creationsPerHour: 1 } });
    const file = await upload([line("1-1-aaaaaaaaaaaa", "a")]);
    await provider.create(intentOf(file.id));
    const second = provider.create(intentOf(file.id));
    await expect(second).rejects.toMatchObject({ kind: "retryable", status: 429 });
    expect((await gateway.journal.summary()).batches).toHaveLength(1);
  });

  test("of a file that the provider does not see yet says that it is not there", async () => {
    await start({ missingInput: "refused", faults: { seesInput: () => false } });
    await expect(create([line("1-1-aaaaaaaaaaaa", "a")])).rejects.toMatchObject({
      kind: "notFound",
      status: 400,
    });
  });

  test("of a file that was deleted fails without a request", async () => {
    await start();
    const file = await upload([line("1-1-aaaaaaaaaaaa", "a")]);
    await deleteFile(provider.connection, file.id);
    const batch = await provider.create(intentOf(file.id));
    expect(await finished(batch.id)).toMatchObject({ status: "failed", errors: [{ param: "file_id" }] });
    expect((await gateway.journal.summary()).executed).toBe(0);
  });
});

describe("finding batches", () => {
  test("goes through the pages back to a time by the provider's clock", async () => {
    let now = 1_790_000_000_000;
    await start({ clock: { nowMs: () => now } });
    const file = await upload([line("1-1-aaaaaaaaaaaa", "a")]);
    const ids: string[] = [];
    for (let index = 0; index < 230; index += 1) {
      ids.push((await provider.create(intentOf(file.id, { batch: String(index % 2) }))).id);
      now += 1_000;
    }
    const since = 1_790_000_010;
    const { certain: even } = await provider.find(intentOf("file-none", { batch: "0" }), since);
    const expected = ids.filter((_, index) => index % 2 === 0 && index >= 10).reverse();
    expect(even.map(({ id }) => id)).toEqual(expected);
    expect(await calls("GET", "/v1/batches")).toBe(3);
    expect(await listed(1_790_000_225)).toHaveLength(5);
    expect(await calls("GET", "/v1/batches")).toBe(5);
    expect(provider.clockSeconds()).toBe(1_790_000_230);
  });

  interface Page {
    readonly data: readonly { readonly id: string }[];
    readonly has_more?: boolean;
  }

  /**
   * Three batches; replies of the list are what `change` makes of them, or an error's status. Returns their ids,
   * newest first.
   */
  async function startList(change: (page: Page, count: number) => object | number): Promise<string[]> {
    let count = 0;
    await start({
      faults: {
        afterEffect: ({ method, route }, reply) => {
          if (method !== "GET" || route !== "/v1/batches" || reply.kind !== "json") return undefined;
          const page: Page = JSON.parse(JSON.stringify(reply.body));
          const changed = change(page, count++);
          return typeof changed === "number"
            ? { kind: "reply", status: changed, body: { error: { message: "Unknown parameter: after" } } }
            : { kind: "reply", status: 200, body: changed };
        },
      },
    });
    const file = await upload([line("1-1-aaaaaaaaaaaa", "a")]);
    const ids: string[] = [];
    for (let index = 0; index < 3; index++) ids.unshift((await provider.create(intentOf(file.id))).id);
    return ids;
  }

  test.each([
    ["that it cannot read", () => ({ object: "list" })],
    ["whose page is empty, and that has more,", () => ({ object: "list", data: [], has_more: true })],
  ])("never takes a list %s for an empty one", async (_, change) => {
    await startList(change);
    await expect(listed(FAR_PAST)).rejects.toMatchObject({ kind: "retryable" });
  });

  test("continues where a server does not say whether there is more, until there is none", async () => {
    const pages = [(page: Page) => page.data.slice(0, 2), (page: Page) => page.data];
    const ids = await startList((page, count) => ({ object: "list", data: pages[count]?.(page) ?? [] }));
    expect(await listed(FAR_PAST)).toEqual(ids);
    expect(await calls("GET", "/v1/batches")).toBe(3);
  });

  test("takes the whole list of a server that has no pages, once", async () => {
    let whole: object = {};
    const ids = await startList((page, count) => (count === 0 ? (whole = { data: page.data }) : whole));
    expect(await listed(FAR_PAST)).toEqual(ids);
    expect(await calls("GET", "/v1/batches")).toBe(2);
  });

  test("takes the whole list of a server that has no pages, and no order", async () => {
    let whole: Page["data"] = [];
    const ids = await startList((page, count) => {
      if (count === 0) whole = page.data;
      return { data: count % 2 === 0 ? whole : whole.toReversed() };
    });
    expect((await listed(FAR_PAST)).sort()).toEqual(ids.sort());
    expect(await calls("GET", "/v1/batches")).toBe(2);
  });

  test("takes the whole list of a server that refuses a further page, where it does not say that there is more", async () => {
    const ids = await startList((page, count) => (count === 0 ? { data: page.data } : 400));
    expect(await listed(FAR_PAST)).toEqual(ids);
  });

  test("does not take a list for whole that says that there is more and is refused", async () => {
    await startList((page, count) => (count === 0 ? { data: page.data, has_more: true } : 400));
    await expect(listed(FAR_PAST)).rejects.toMatchObject({ kind: "refused" });
  });

  test("gives a batch once that a growing list shows on two pages", async () => {
    let first: Page["data"] = [];
    const ids = await startList((page, count) => {
      if (count === 0) first = page.data.slice(0, 2);
      return count === 0 ? { data: first, has_more: true } : { data: [...first, ...page.data], has_more: false };
    });
    expect(await listed(FAR_PAST)).toEqual(ids);
  });
});

describe("cancelling", () => {
  test("a running batch ends it", async () => {
    await start({ faults: { hold: ({ status }) => status === "in_progress" || status === "validating" } });
    const batch = await create([line("1-1-aaaaaaaaaaaa", "a")]);
    expect(await provider.cancel(batch.id)).toMatchObject({ status: "cancelling", terminal: false });
    expect(await finished(batch.id)).toMatchObject({ status: "cancelled", terminal: true });
  });

  test("a batch that has ended gives it as it is, in one call", async () => {
    await start();
    const batch = await create([line("1-1-aaaaaaaaaaaa", "a")]);
    const ended = await finished(batch.id);
    expect(await provider.cancel(batch.id)).toEqual(ended);
    expect(await calls("POST", "/v1/batches/:id/cancel")).toBe(1);
  });

  test("a batch that is refused though it runs on is an error", async () => {
    const conflict = { kind: "reply", status: 409, body: { error: { message: "not now" } } } as const;
    await start({
      faults: {
        hold: () => true,
        beforeEffect: ({ route }) => (route.endsWith("/cancel") ? conflict : undefined),
      },
    });
    const batch = await create([line("1-1-aaaaaaaaaaaa", "a")]);
    await expect(provider.cancel(batch.id)).rejects.toMatchObject({ kind: "refused", status: 409 });
  });
});

test("equal requests give equal bytes", async () => {
  await start();
  const digest = (text: string) => createHash("sha256").update(text).digest("hex");
  expect(digest(line("1-1-aaaaaaaaaaaa", "a"))).toBe(digest(line("1-1-aaaaaaaaaaaa", "a")));
});
