/** A server of `src/http/` on a free port for one test, which answers by a function of the test. */
import { onTestFinished } from "vitest";
import { bodyLines, readBytes, refusable } from "../../src/http/read-body.js";
import { problem } from "../../src/http/problem.js";
import { readJson } from "../../src/http/read-json.js";
import { serve, type HttpListener, type ServeOptions } from "../../src/http/serve.js";
import type { BodyRefusal } from "../../src/http/body-refusal.js";
import { RawHttp } from "../support/raw-http.js";

export interface Served {
  readonly listener: HttpListener;
  readonly url: string;
  readonly logged: string[];
  raw(): Promise<RawHttp>;
}

export async function serveHere(
  fetch: ServeOptions["fetch"],
  options: Partial<Omit<ServeOptions, "fetch">> = {},
): Promise<Served> {
  const logged: string[] = [];
  const log = (message: string) => void logged.push(message);
  const listener = await serve({ host: "127.0.0.1", port: 0, log, ...options, fetch });
  onTestFinished(() => listener.close(0));
  return {
    listener,
    url: `${options.tls ? "https" : "http"}://127.0.0.1:${listener.port}`,
    logged,
    raw: async () => {
      const client = await RawHttp.connect(listener.port);
      onTestFinished(() => client.close());
      return client;
    },
  };
}

export const LIMITS = { bytesMax: 1_000_000, unpackedBytesMax: 4_000_000, lineBytesMax: 10_000 };

/** `/bytes` answers with the number of bytes, `/json` with the text, `/lines` with the number of lines. */
export async function readingFetch(request: Request): Promise<Response> {
  const refuse = (refusal: BodyRefusal) => {
    const { status, code, message, limit } = refusal;
    return problem({ status, code, detail: message, ...(limit === null ? {} : { limit }) });
  };
  const { pathname } = new URL(request.url);
  if (pathname === "/json") {
    const read = await readJson(request, LIMITS);
    if (read === null) return new Response("nothing");
    return "refused" in read ? refuse(read.refused) : new Response(read.text);
  }
  if (pathname === "/lines") {
    const read = await refusable(async () => {
      let lines = 0;
      for await (const line of bodyLines(request, { ...LIMITS, bytesMax: null })) lines += line.length > 0 ? 1 : 0;
      return { lines };
    });
    return "refused" in read ? refuse(read.refused) : new Response(String(read.lines));
  }
  const read = await readBytes(request, LIMITS);
  return "refused" in read ? refuse(read.refused) : new Response(String(read.bytes.length));
}
