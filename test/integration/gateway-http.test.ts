import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import https from "node:https";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { startGateway, type Gateway } from "../../src/gateway/gateway.js";
import type { JournalEntry } from "../../src/gateway/storage/journal.js";
import {
  chatBody,
  chatLines,
  clientOf,
  refusalOf,
  startTestGateway,
  temporaryDir,
  TestClock,
  upload,
} from "./gateway-setup.js";

const get = (url: string, headers: Record<string, string> = {}) => fetch(url, { headers });

async function entriesOf({ journal }: Gateway): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for await (const entry of journal.entries()) entries.push(entry);
  return entries;
}

describe("authentication", () => {
  test.each([[{}], [{ authorization: "Basic ZGVtbw==" }], [{ authorization: "Bearer " }]])(
    "refuses a call with %j",
    async (headers) => {
      const { gateway } = await startTestGateway();
      const response = await get(`${gateway.url}/batches`, headers);
      expect(response.status).toBe(401);
      const body = (await response.json()) as { error: { message: string } };
      expect(body).toMatchObject({ error: { type: "invalid_request_error", param: null, code: null } });
      expect(body.error.message).toContain("You didn't provide an API key.");
    },
  );

  test("takes any key with the demo model on the loopback address", async () => {
    const { gateway } = await startTestGateway();
    expect((await clientOf(gateway, "whatever").batches.list()).data).toEqual([]);
  });

  test("takes only its own keys when it has some, and repeats no wrong one", async () => {
    const { gateway } = await startTestGateway({ apiKeys: ["right-key-1", "right-key-2"] });
    expect((await clientOf(gateway, "right-key-2").models.list()).data.length).toBeGreaterThan(0);
    const refused = await refusalOf(clientOf(gateway, "wrong-key").models.list());
    expect(refused).toMatchObject({ status: 401, code: "invalid_api_key", type: "invalid_request_error" });
    expect(JSON.stringify(refused.error)).not.toContain("wrong-key");
  });

  test("takes no upload without a key", async () => {
    const { gateway } = await startTestGateway({ apiKeys: ["right"] });
    expect((await refusalOf(upload(clientOf(gateway, "wrong"), chatLines(3)))).status).toBe(401);
    expect((await clientOf(gateway, "right").files.list()).data).toEqual([]);
  });

  test("is demanded before the gateway listens where other machines can reach it", async () => {
    const dataDir = await temporaryDir();
    const starting = startGateway({ dataDir, demoModel: true, host: "0.0.0.0" });
    await expect(starting).rejects.toMatchObject({ code: "usage" });
  });
});

describe("every reply", () => {
  test("carries a request id of its own and the gateway's date", async () => {
    const clock = new TestClock("2031-05-06T07:08:09Z");
    const { gateway } = await startTestGateway({ clock });
    const headers = { authorization: "Bearer demo" };
    const replies = await Promise.all([
      get(`${gateway.url}/batches`, headers),
      get(`${gateway.url}/batches`),
      get(`${gateway.url}/nowhere`, headers),
    ]);
    const ids = replies.map((reply) => reply.headers.get("x-request-id"));
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^req_[0-9a-f]{32}$/);
    for (const reply of replies) expect(reply.headers.get("date")).toBe("Tue, 06 May 2031 07:08:09 GMT");
  });

  test("to an unknown address is a refusal in the usual envelope", async () => {
    const { gateway } = await startTestGateway();
    const response = await get(`${gateway.url}/lunch?x=1`, { authorization: "Bearer demo" });
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      error: {
        message: "Invalid URL (GET /v1/lunch)",
        type: "invalid_request_error",
        param: null,
        code: null,
      },
    });
  });

  test("to a body that is not JSON is a refusal, not a failure", async () => {
    const { gateway } = await startTestGateway();
    const headers = { authorization: "Bearer demo", "content-type": "application/json" };
    const response = await fetch(`${gateway.url}/batches`, { method: "POST", headers, body: "{oops" });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      error: { message: expect.stringContaining("We could not parse the JSON body") as string },
    });
  });

  test("to a multipart body that breaks off is a refusal, and leaves no file", async () => {
    const { gateway, client } = await startTestGateway();
    const headers = { authorization: "Bearer demo", "content-type": "multipart/form-data; boundary=x" };
    const body = '--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}';
    const response = await fetch(`${gateway.url}/files`, { method: "POST", headers, body });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error" } });
    expect((await client.files.list()).data).toEqual([]);
  });

  test("that refuses the caller is not in the journal, so that no caller without a key fills the disk", async () => {
    const { gateway } = await startTestGateway({ apiKeys: ["right"] });
    const long = `${gateway.url}/${"a".repeat(10_000)}`;
    for (const headers of [{}, { authorization: "Bearer wrong" }]) {
      for (const url of [long, `${gateway.url}/models`, `${gateway.url}/batches`])
        expect((await get(url, headers)).status).toBe(401);
      expect((await fetch(`${gateway.url}/files`, { method: "POST", headers, body: "x" })).status).toBe(401);
    }
    expect(await entriesOf(gateway)).toEqual([]);
  });

  test("is in the journal by the start of its path, and by one name where no route is", async () => {
    const { gateway } = await startTestGateway();
    const headers = { authorization: "Bearer demo" };
    const paths = [`nowhere/${"a".repeat(10_000)}`, `files/${"b".repeat(200)}`];
    for (const path of paths) expect((await get(`${gateway.url}/${path}`, headers)).status).toBe(404);
    expect(await entriesOf(gateway)).toMatchObject([
      { route: "no route", path: `/v1/${paths[0]}`.slice(0, 200) },
      { route: "/v1/files/:id", path: `/v1/${paths[1]}`.slice(0, 200) },
    ]);
  });

  test("is in the journal with its status", async () => {
    const { gateway } = await startTestGateway();
    await get(`${gateway.url}/files/file-1`, { authorization: "Bearer demo" });
    expect(await entriesOf(gateway)).toMatchObject([
      { kind: "call", method: "GET", route: "/v1/files/:id", path: "/v1/files/file-1", status: 404 },
    ]);
  });
});

describe("the models", () => {
  test("are listed under an owner that says what they are", async () => {
    const { client } = await startTestGateway();
    const { data } = await client.models.list();
    expect(data.map((model) => model.id)).toContain("gpt-4o-mini");
    for (const model of data) expect(model.owned_by).toContain("no language model");
    expect((await client.models.retrieve("gpt-4o-mini")).object).toBe("model");
    expect(await refusalOf(client.models.retrieve("gpt-9"))).toMatchObject({
      status: 404,
      code: "model_not_found",
    });
  });

  test("answer live calls as they answer batches", async () => {
    const { gateway, client } = await startTestGateway();
    const body = chatBody("A detective hunts a serial killer.");
    const live = await client.chat.completions.create(body as Parameters<typeof client.chat.completions.create>[0]);
    if (!("choices" in live)) throw new Error("Expected no stream.");
    expect(live).toMatchObject({
      object: "chat.completion",
      system_fingerprint: "rowmill-demo-no-language-model",
    });
    expect(JSON.parse(live.choices[0]?.message.content ?? "")).toEqual({
      categories: expect.arrayContaining(["crime"]) as string[],
      summary: "A thriller about a detective and a serial killer.",
    });
    expect((await gateway.journal.summary()).executed).toBe(0);
  });

  test("refuse to stream, and errors that a text asks for come as such", async () => {
    const { client } = await startTestGateway();
    const messages = [{ role: "user" as const, content: "[[demo:error 429]]" }];
    const model = "gpt-4o-mini";
    const busy = await refusalOf(client.chat.completions.create({ model, messages }));
    expect(busy).toMatchObject({ status: 429, code: "rate_limit_exceeded" });
    const streamed = await refusalOf(client.chat.completions.create({ model, messages, stream: true }));
    expect(streamed).toMatchObject({ status: 400, param: "stream" });
  });
});

describe("over TLS", () => {
  test("it serves with the certificate that it was given", async () => {
    const dir = await temporaryDir();
    const [keyPath, certPath] = [join(dir, "key.pem"), join(dir, "cert.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
    const output = ["-keyout", keyPath, "-out", certPath];
    execFileSync(
      "openssl",
      [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        ...subject,
        ...output,
      ],
      { stdio: "ignore" },
    );
    const cert = readFileSync(certPath);
    const { gateway } = await startTestGateway({ tls: { key: readFileSync(keyPath), cert } });
    expect(gateway.url).toBe(`https://127.0.0.1:${gateway.port}/v1`);
    const status = (options: https.RequestOptions) =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = { authorization: "Bearer demo" };
        https
          .get(`${gateway.url}/models`, { headers, agent: false, ...options }, (response) => {
            response.resume();
            resolve(response.statusCode);
          })
          .on("error", reject);
      });
    expect(await status({ ca: cert })).toBe(200);
    await expect(status({})).rejects.toMatchObject({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  });
});
