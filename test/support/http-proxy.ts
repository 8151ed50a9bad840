/**
 * A proxy as companies have them, on this machine: it passes plain http on by absolute addresses, and opens tunnels
 * by CONNECT.
 */
import http from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import { createServer as createTlsServer } from "node:tls";
import type { Certificate } from "./odd-servers.js";

/** `answer`: this status to every request; `silent`: never a word. */
export type ProxyMood = { readonly answer: number } | "silent" | null;

export interface HttpProxy {
  readonly port: number;
  /** `CONNECT host:443`, `GET http://host/path`, in order. */
  readonly seen: string[];
  /** The Proxy-Authorization of each. */
  readonly authorizations: (string | undefined)[];
  mood: ProxyMood;
  close(): Promise<void>;
}

/** `ports`: which port of 127.0.0.1 a host name leads to; a name that is not in it answers 502. */
export async function startHttpProxy(ports: Readonly<Record<string, number>>): Promise<HttpProxy> {
  const sockets = new Set<Duplex>();
  const server = http.createServer();
  const proxy = {
    seen: [] as string[],
    authorizations: [] as (string | undefined)[],
    mood: null as ProxyMood,
  };
  /** The status to refuse with, `silent`, or the port to pass it on to. */
  const judge = (request: http.IncomingMessage, host: string) => {
    proxy.seen.push(`${request.method} ${request.url}`);
    proxy.authorizations.push(request.headers["proxy-authorization"]);
    if (proxy.mood === "silent") return "silent";
    const port = ports[host];
    if (proxy.mood !== null) return { status: proxy.mood.answer };
    return port === undefined ? { status: 502 } : { port };
  };
  server.on("connection", (socket) => sockets.add(socket.on("close", () => sockets.delete(socket))));
  server.on("request", (request, response) => {
    const url = new URL(request.url ?? "");
    const way = judge(request, url.hostname);
    if (way === "silent") return;
    if ("status" in way) return void response.writeHead(way.status).end("said by the proxy");
    const { "proxy-authorization": _, ...headers } = request.headers;
    const path = url.pathname + url.search;
    const onward = http.request({ host: "127.0.0.1", port: way.port, method: request.method, path, headers });
    onward.on("response", (reply) => reply.pipe(response.writeHead(reply.statusCode ?? 500, reply.headers)));
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  server.on("connect", (request, client) => {
    client.on("error", () => client.destroy());
    const way = judge(request, (request.url ?? "").replace(/:\d+$/, ""));
    if (way === "silent") return;
    if ("status" in way) return void client.end(`HTTP/1.1 ${way.status} No\r\n\r\n`);
    client.write("HTTP/1.1 200 Connection established\r\n\r\n");
    join(client, net.connect(way.port, "127.0.0.1"));
  });
  const port = await listen(server);
  return Object.assign(proxy, { port, close: () => closed(server, sockets) });
}

/** Takes TLS off, and passes what is in it on to a port of 127.0.0.1. */
export async function startTlsFront(
  certificate: Certificate,
  port: number,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const sockets = new Set<Duplex>();
  const server = createTlsServer(certificate, (client) => {
    sockets.add(client.on("close", () => sockets.delete(client)));
    join(client, net.connect(port, "127.0.0.1"));
  });
  return { port: await listen(server), close: () => closed(server, sockets) };
}

function join(client: Duplex, server: net.Socket): void {
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const)
    from
      .on("error", () => to.destroy())
      .on("close", () => to.destroy())
      .pipe(to);
}

async function listen(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return address.port;
}

function closed(server: net.Server, sockets: ReadonlySet<Duplex>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
}
