import { createConnection } from "node:net";
import { describe, expect, test, vi } from "vitest";
import { head } from "../support/raw-http.js";
import { readingFetch, serveHere } from "./http-setup.js";

const FAST = {
  headMs: 100,
  keepAliveMs: 100,
  idleMs: 200,
  bodyGraceMs: 100,
  bodyBytesPerSecondMin: 1_000,
  checkMs: 20,
};

/** A response whose body never ends; its cancellation is told. */
function endless(onCancel: () => void = () => undefined): Response {
  return new Response(
    new ReadableStream({
      start: (controller) => controller.enqueue(Buffer.from("first")),
      cancel: onCancel,
    }),
  );
}

const hang = () => new Promise<Response>(() => undefined);

describe("a connection", () => {
  test("on which nothing comes is closed", async () => {
    const { raw } = await serveHere(readingFetch, { limits: FAST });
    expect(await (await raw()).untilEnd()).toMatch(/^HTTP\/1.1 408 Request Timeout\r\n/);
  });

  test("whose head does not end is answered and closed", async () => {
    const { raw } = await serveHere(readingFetch, { limits: FAST });
    const client = await raw();
    await client.send("GET / HTTP/1.1\r\nhost: a\r\n");
    expect(await client.untilEnd()).toMatch(/^HTTP\/1.1 408 [^]*"The request's head did not arrive in time."/);
  });

  test("that is not used again is closed, in silence", async () => {
    const { raw, listener } = await serveHere(() => new Response("ok"), { limits: FAST });
    const client = await raw();
    await client.send(head("GET /"));
    expect((await client.untilEnd()).endsWith("\r\n\r\nok")).toBe(true);
    await vi.waitFor(() => expect(listener.connections()).toBe(0));
  });

  test("whose client ends its half of it in the middle of a body is closed", async () => {
    const { raw, listener } = await serveHere(readingFetch);
    const client = await raw();
    await client.send(`${head("POST /", { "content-length": 10 })}abc`);
    client.socket.end();
    await client.untilEnd();
    await vi.waitFor(() => expect(listener.connections()).toBe(0));
  });

  test("whose body trickles in is answered and closed", async () => {
    const { raw } = await serveHere(readingFetch, { limits: FAST });
    const client = await raw();
    await client.send(head("POST /", { "content-length": 1_000 }));
    const trickle = setInterval(() => void client.send("x"), 30);
    const answer = await client.untilEnd();
    clearInterval(trickle);
    expect(answer).toMatch(/^HTTP\/1.1 408 [^]*"The request's body came too slowly."/);
  });

  test("whose body the server does not read may wait for it", async () => {
    let read: () => void = () => undefined;
    const mayRead = new Promise<void>((resolve) => (read = resolve));
    // A busy machine may need longer than FAST until the next bytes arrive.
    const limits = { ...FAST, idleMs: 1_000, bodyGraceMs: 1_000 };
    const { url } = await serveHere(async (request) => mayRead.then(() => readingFetch(request)), { limits });
    const answer = fetch(url, { method: "POST", body: Buffer.alloc(900_000) });
    await new Promise((resolve) => setTimeout(resolve, 3 * limits.idleMs));
    read();
    expect(await (await answer).text()).toBe("900000");
  });

  test("that waits for its answer is not idle, however long that takes", async () => {
    let answer: (response: Response) => void = () => undefined;
    const { url } = await serveHere(() => new Promise<Response>((resolve) => (answer = resolve)), { limits: FAST });
    const reply = fetch(url);
    await new Promise((resolve) => setTimeout(resolve, 4 * FAST.idleMs));
    answer(new Response("late"));
    expect(await (await reply).text()).toBe("late");
  });

  test("whose client does not read what it asked for is closed, and the body canceled", async () => {
    const canceled = vi.fn<() => void>();
    const body = () =>
      new ReadableStream({ pull: (controller) => controller.enqueue(Buffer.alloc(65_536)), cancel: canceled });
    const { raw, listener } = await serveHere(() => new Response(body()), { limits: FAST });
    const client = await raw();
    client.socket.pause();
    await client.send(head("GET /"));
    await vi.waitFor(() => expect(listener.connections()).toBe(0));
    expect(canceled).toHaveBeenCalled();
  });

  test("over the maximum is refused, and the others continue", async () => {
    const handler = vi.fn<typeof hang>(hang);
    const { raw, listener, url } = await serveHere(handler, { limits: { connectionsMax: 3 } });
    const clients = [await raw(), await raw(), await raw()];
    for (const client of clients) await client.send(head("GET /"));
    await vi.waitFor(() => expect(handler).toHaveBeenCalledTimes(3));
    const refused = createConnection(listener.port, "127.0.0.1").on("error", () => undefined);
    await new Promise((resolve) => refused.once("close", resolve));
    await expect(fetch(url)).rejects.toThrow("fetch failed");
    expect(clients.map((client) => client.isEnded)).toEqual([false, false, false]);
    expect(listener.connections()).toBe(3);
  });

  test("over the maximum takes the place of the one that has waited longest for its next call", async () => {
    const { raw } = await serveHere(() => new Response("ok"), { limits: { connectionsMax: 2 } });
    const [first, second] = [await raw(), await raw()];
    for (const client of [first, second]) {
      await client.send(head("GET /"));
      await client.until(/ok$/);
    }
    const third = await raw();
    await third.send(head("GET /"));
    await third.until(/ok$/);
    await first.untilEnd();
    expect(second.isEnded).toBe(false);
  });

  test("over the maximum is served although all others are silent, or stop in their head", async () => {
    const { raw, listener, url } = await serveHere(() => new Response("ok"), { limits: { connectionsMax: 10 } });
    const clients = await Promise.all(Array.from({ length: 30 }, raw));
    for (const client of clients) await client.send("GET / HTTP/1.1\r\nhost: ");
    expect(await (await fetch(url)).text()).toBe("ok");
    expect(listener.connections()).toBeLessThanOrEqual(10);
  });
});

describe("a head", () => {
  test("larger than the limit is refused with the limit", async () => {
    const { raw } = await serveHere(readingFetch);
    const client = await raw();
    await client.send(head("GET /", { "x-long": "x".repeat(20_000) }));
    expect(await client.untilEnd()).toMatch(/^HTTP\/1.1 431 [^]*larger than the limit of 16384 bytes/);
  });

  test("that is no HTTP is refused in the words of the server", async () => {
    const explain = (status: number, message: string) => new Response(`<${message}>`, { status });
    const { raw } = await serveHere(readingFetch, { explain });
    const client = await raw();
    await client.send("hello\r\n\r\n");
    expect(await client.untilEnd()).toMatch(/^HTTP\/1.1 400 Bad Request\r\n[^]*<The request is not valid HTTP.>$/);
  });

  test("with a host or an address that is none is refused", async () => {
    const { raw } = await serveHere(readingFetch);
    for (const text of ["GET / HTTP/1.1\r\nhost: a b\r\n\r\n", "GET nowhere HTTP/1.1\r\nhost: a\r\n\r\n"]) {
      const client = await raw();
      await client.send(text);
      expect(await client.until(/\r\n\r\n/)).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/);
    }
  });
});

describe("calls", () => {
  test("that come in one piece are answered in their order, the fast one after the slow one", async () => {
    const { raw } = await serveHere(async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/slow") await new Promise((resolve) => setTimeout(resolve, 50));
      return new Response(pathname);
    });
    const client = await raw();
    await client.send(head("GET /slow") + head("GET /fast"));
    expect(await client.until(/fast$/)).toMatch(/\r\n\r\n\/slowHTTP\/1.1 200 OK\r\n[^]*\r\n\r\n\/fast$/);
  });

  test("of HTTP/1.0, without a host, are answered", async () => {
    const { raw } = await serveHere(() => new Response("ok"));
    const client = await raw();
    await client.send("GET / HTTP/1.0\r\n\r\n");
    expect(await client.untilEnd()).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*ok$/);
  });

  test("whose body no one reads do not keep their connection, however fast it comes", async () => {
    const { raw } = await serveHere(() => new Response("ok"));
    for (const method of ["GET", "POST"]) {
      const client = await raw();
      await client.send(head(`${method} /`, { "transfer-encoding": "chunked" }));
      const piece = `10000\r\n${"x".repeat(0x10000)}\r\n`;
      while (!client.isEnded) await client.send(piece);
      expect(await client.untilEnd()).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*ok$/);
    }
  });
});

describe("an answer", () => {
  test("is sent whole, with its status, its headers and its length", async () => {
    const headers = { "x-one": "1", "set-cookie": "a=1" };
    const { url } = await serveHere(() => new Response("hello", { status: 418, headers }));
    const answer = await fetch(url);
    expect([answer.status, answer.headers.get("content-length"), await answer.text()]).toEqual([418, "5", "hello"]);
    expect(answer.headers.get("x-one")).toBe("1");
    expect(answer.headers.getSetCookie()).toEqual(["a=1"]);
  });

  test("without a body, and to HEAD, has none", async () => {
    const { url } = await serveHere((request) => new Response(request.method === "HEAD" ? "body" : null));
    expect(await (await fetch(url)).text()).toBe("");
    expect(await (await fetch(url, { method: "HEAD" })).text()).toBe("");
  });

  test("that streams arrives piece by piece, and stops when its client leaves", async () => {
    const canceled = vi.fn<() => void>();
    const { raw } = await serveHere(() => endless(canceled));
    const client = await raw();
    await client.send(head("GET /"));
    await client.until(/first/);
    client.close();
    await vi.waitFor(() => expect(canceled).toHaveBeenCalled());
  });

  test("whose body fails is cut, so that no client takes it for whole; the reason is logged and not sent", async () => {
    const body = () =>
      new ReadableStream({
        start: (controller) => controller.enqueue(Buffer.from("first")),
        pull: async (controller) => {
          await new Promise((resolve) => setTimeout(resolve, 20));
          controller.error(new Error("secret reason"));
        },
      });
    const { raw, logged } = await serveHere(() => new Response(body()));
    const client = await raw();
    await client.send(head("GET /"));
    const answer = await client.untilEnd();
    expect(answer).toMatch(/\r\n\r\n5\r\nfirst\r\n$/);
    expect(logged.join("")).toContain("secret reason");
  });

  test("to a call that fails is a 500 without the reason, which is logged", async () => {
    const { url, logged } = await serveHere(() => Promise.reject(new Error("secret reason")));
    const answer = await fetch(url);
    expect(await answer.json()).toEqual({
      type: "about:blank",
      title: "Internal Server Error",
      status: 500,
      detail: "The server had an error while it processed your request.",
    });
    expect(logged.join("")).toContain("secret reason");
  });

  test("leaves the global Request and Response of the process alone", async () => {
    const before = [globalThis.Request, globalThis.Response];
    const { url } = await serveHere(() => new Response("ok"));
    await fetch(url);
    expect([globalThis.Request, globalThis.Response]).toEqual(before);
  });
});

describe("closing", () => {
  test("lets present calls end, refuses new ones, and is then over", async () => {
    let answer: (response: Response) => void = () => undefined;
    const { listener, url } = await serveHere(() => new Promise<Response>((resolve) => (answer = resolve)));
    const reply = fetch(url);
    await vi.waitFor(() => expect(listener.connections()).toBe(1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const closed = listener.close(30_000);
    await expect(fetch(url)).rejects.toThrow("fetch failed");
    answer(new Response("done"));
    expect(await (await reply).text()).toBe("done");
    await closed;
    expect(listener.connections()).toBe(0);
  });

  test("ends idle connections, silent ones, streams that never end and calls that never return after its grace", async () => {
    const aborted = vi.fn<() => void>();
    const { listener, raw } = await serveHere((request) => {
      if (!request.url.endsWith("/hang")) return endless();
      request.signal.addEventListener("abort", aborted);
      return hang();
    });
    const clients = [await raw(), await raw(), await raw()];
    await clients[1]?.send(head("GET /hang"));
    await clients[2]?.send(head("GET /"));
    await clients[2]?.until(/first/);
    await listener.close(50);
    await Promise.all(clients.map((client) => client.untilEnd()));
    await vi.waitFor(() => expect(aborted).toHaveBeenCalled());
    expect(listener.connections()).toBe(0);
  });

  test("at once is possible, also after a longer grace was given", async () => {
    const { listener, raw } = await serveHere(hang);
    const client = await raw();
    await client.send(head("GET /"));
    const slowly = listener.close(3_600_000);
    await listener.close(0);
    await slowly;
    await client.untilEnd();
  });

  test("frees the port, and an occupied one is an error", async () => {
    const { listener } = await serveHere(hang);
    const again = () => serveHere(hang, { port: listener.port });
    await expect(again()).rejects.toMatchObject({ code: "EADDRINUSE" });
    await listener.close(0);
    expect((await again()).listener.port).toBe(listener.port);
  });
});
