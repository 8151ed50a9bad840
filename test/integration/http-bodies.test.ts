import { gzipSync } from "node:zlib";
import { describe, expect, test, vi } from "vitest";
import { head } from "../support/raw-http.js";
import { LIMITS, readingFetch, serveHere } from "./http-setup.js";

const post = (url: string, body: string | Buffer, headers: Record<string, string> = {}) =>
  fetch(url, { method: "POST", body, headers });

const gzip = { "content-encoding": "gzip" };

/** Sends pieces without announcing a length. */
function chunked(url: string, pieces: Iterable<Buffer>) {
  const body = ReadableStream.from(pieces);
  return fetch(url, { method: "POST", body, duplex: "half" } as RequestInit);
}

describe("a body", () => {
  test("of the largest size is read, with a length and in chunks", async () => {
    const { url } = await serveHere(readingFetch);
    const body = Buffer.alloc(LIMITS.bytesMax, "x");
    expect(await (await post(url, body)).text()).toBe("1000000");
    expect(await (await chunked(url, [body.subarray(0, 10), body.subarray(10)])).text()).toBe("1000000");
  });

  test("that announces too many bytes is refused with the limit before it comes", async () => {
    const { raw } = await serveHere(readingFetch);
    const client = await raw();
    await client.send(head("POST /", { "content-length": 10_000_000_000 }));
    const answer = await client.until(/\}$/);
    expect(answer).toMatch(/^HTTP\/1.1 413 Payload Too Large\r\n/);
    expect(answer).toContain("content-type: application/problem+json\r\n");
    expect(JSON.parse(answer.slice(answer.indexOf("{")))).toEqual({
      type: "about:blank",
      title: "Payload Too Large",
      status: 413,
      code: "body_too_large",
      detail: "The body is larger than the limit of 1,000,000 bytes.",
      limit: 1_000_000,
    });
  });

  test("that announces nothing is refused once it is too large, and its connection is closed", async () => {
    const { raw } = await serveHere(readingFetch);
    const client = await raw();
    await client.send(head("POST /", { "transfer-encoding": "chunked" }));
    const piece = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(0x10000, "x"), Buffer.from("\r\n")]);
    while (!client.isEnded) await client.send(piece);
    expect(await client.untilEnd()).toMatch(/^HTTP\/1.1 413 [^]*limit of 1,000,000 bytes/);
  });

  test("longer than it announced is cut there, and the rest is no request", async () => {
    const { raw } = await serveHere(readingFetch);
    const client = await raw();
    await client.send(`${head("POST /", { "content-length": 3 })}abcdefgh\r\n\r\n`);
    const answers = await client.untilEnd();
    expect(answers).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*connection: close\r\n\r\n3$/i);
  });

  test("with two lengths, or a length and chunks, is no request", async () => {
    const { raw } = await serveHere(readingFetch);
    const heads = [
      "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
      head("POST /", { "content-length": 3, "transfer-encoding": "chunked" }),
    ];
    for (const text of heads) {
      const client = await raw();
      await client.send(text);
      expect(await client.untilEnd()).toMatch(/^HTTP\/1.1 400 Bad Request\r\n[^]*"The request is not valid HTTP."/);
    }
  });

  test("in gzip is unpacked, and one that is not gzip is refused", async () => {
    const { url } = await serveHere(readingFetch);
    expect(await (await post(url, gzipSync("x".repeat(2_000_000)), gzip)).text()).toBe("2000000");
    const packed = gzipSync("x".repeat(100_000));
    for (const body of ["plain", packed.subarray(0, 50)])
      expect(await (await post(url, body, gzip)).json()).toMatchObject({ status: 400, code: "body_not_gzip" });
    expect(await (await post(url, "x", { "content-encoding": "br" })).json()).toMatchObject({
      status: 415,
      code: "encoding_unsupported",
    });
  });

  test("in gzip that would fill the memory is refused with the limit, however small it is", async () => {
    const { url } = await serveHere(readingFetch);
    const bomb = gzipSync(Buffer.alloc(200_000_000));
    expect(bomb.length).toBeLessThan(LIMITS.bytesMax);
    for (const path of ["", "/json", "/lines"])
      expect(await (await post(`${url}${path}`, bomb, gzip)).json()).toMatchObject({ status: 413 });
    expect(await (await post(url, bomb, gzip)).json()).toMatchObject({
      detail: "The unpacked body is larger than the limit of 4,000,000 bytes.",
    });
  });

  test("whose client hangs up in the middle ends its call, and nothing else", async () => {
    const seen: unknown[] = [];
    const { url, raw, logged } = await serveHere(async (request) => {
      const answer = await readingFetch(request);
      seen.push(answer.status, request.signal.aborted);
      return answer;
    });
    const client = await raw();
    await client.send(`${head("POST /", { "content-length": 100 })}abc`);
    client.close();
    await vi.waitFor(() => expect(seen).toHaveLength(2));
    expect(seen).toEqual([400, true]);
    expect(await (await post(url, "abc")).text()).toBe("3");
    expect(logged).toEqual([]);
  });
});

describe("JSON", () => {
  test("comes with its text, in which numbers keep their digits", async () => {
    const { url } = await serveHere(readingFetch);
    const text = '{"id": 9007199254740993, "price": 1.10}';
    expect(await (await post(`${url}/json`, text)).text()).toBe(text);
    expect(await (await post(`${url}/json`, "")).text()).toBe("nothing");
  });

  test("that is malformed or not UTF-8 is refused", async () => {
    const { url } = await serveHere(readingFetch);
    for (const [body, code] of [
      ["{oops", "json_malformed"],
      [" ", "json_malformed"],
      [Buffer.from([0x22, 0xff, 0x22]), "body_not_utf8"],
    ] as const)
      expect(await (await post(`${url}/json`, body)).json()).toMatchObject({ status: 400, code });
  });

  test("that is nested too deep is refused by its beginning, before the rest has come", async () => {
    const { raw, url } = await serveHere(readingFetch);
    const client = await raw();
    await client.send(head("POST /json", { "content-length": 1_000_000 }) + "[".repeat(1_000));
    expect(await client.until(/\}$/)).toMatch(/^HTTP\/1.1 400 [^]*nested deeper than the limit of 500 levels/);
    expect((await post(`${url}/json`, "[".repeat(1_000_000))).status).toBe(400);
  });

  test("that is nested ten million deep in gzip is refused as well", async () => {
    const { url } = await serveHere(readingFetch);
    const body = gzipSync("[".repeat(10_000_000));
    expect(await (await post(`${url}/json`, body, gzip)).json()).toMatchObject({ code: "json_too_deep", limit: 500 });
  });

  test("of too many values is refused with the limit", async () => {
    const { url } = await serveHere(readingFetch);
    const body = `[${"1,".repeat(300_000)}1]`;
    expect(await (await post(`${url}/json`, body)).json()).toMatchObject({
      status: 413,
      detail: "The JSON has more values than the limit of 250,000.",
    });
  });
});

describe("lines", () => {
  test("are read one by one, however they are cut, and without an end", async () => {
    const { url } = await serveHere(readingFetch);
    const pieces = ["a\nb", "\n", "\nc\r\nd", "d\ne"].map((piece) => Buffer.from(piece));
    expect(await (await chunked(`${url}/lines`, pieces)).text()).toBe("5");
  });

  test("longer than the limit are refused before their end", async () => {
    const { raw } = await serveHere(readingFetch);
    const client = await raw();
    await client.send(head("POST /lines", { "content-length": 1_000_000 }) + "x".repeat(20_000));
    expect(await client.until(/\}$/)).toContain('"A line is longer than 10,000 bytes."');
  });

  test("of a stream of any length take no memory", async () => {
    const { url } = await serveHere(readingFetch);
    const piece = Buffer.from(`${"x".repeat(999)}\n`.repeat(64));
    const pieces = function* () {
      for (let index = 0; index < 1_000; index++) yield piece;
    };
    expect(await (await chunked(`${url}/lines`, pieces())).text()).toBe("64000");
  });
});
