/**
 * A network between worker and database that can be broken: connections are cut, fall silent, are refused, or lose
 * one reply.
 */
import { once } from "node:events";
import net from "node:net";

export interface TcpProxy {
  /** The same URL, by way of the proxy. */
  through(url: string): string;
  /** Ends every connection at once, as a router does that forgot them. */
  cut(): void;
  /** Nothing passes any more, in either direction, on old connections and new ones. */
  stall(): void;
  /** What was held back passes, and what comes. */
  resume(): void;
  /** The port is closed; open connections stay open. */
  refuse(): Promise<void>;
  /** Listens again, at the same port. */
  accept(): Promise<void>;
  /**
   * The next statement whose text matches, with such a reply, reaches the server and is done there; its reply is
   * lost, and the connection with it. Resolves when that has happened.
   */
  loseReplyTo(statement: RegExp, reply?: RegExp): Promise<void>;
  /**
   * The next statement whose text matches never reaches the server: such an error ends its connection. `/\0user\0/`
   * is a login. Resolves when that has happened.
   */
  refuseStatement(statement: RegExp, error: { code: string; message: string }): Promise<void>;
  close(): Promise<void>;
}

interface Loss {
  readonly statement: RegExp;
  readonly reply: RegExp;
  readonly happened: () => void;
}

interface Refusal {
  readonly statement: RegExp;
  readonly reply: Buffer;
  readonly happened: () => void;
}

interface Pair {
  readonly client: net.Socket;
  readonly server: net.Socket;
}

/** To 127.0.0.1 at that port. */
export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  const losses: Loss[] = [];
  const refusals: Refusal[] = [];
  let stalled = false;
  const listener = net.createServer((client) => {
    const server = net.connect(targetPort, "127.0.0.1");
    const pair: Pair = { client, server };
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on("error", end).on("close", end);
    forward(pair, { losses, refusals }, end);
    if (stalled) setFlowing(pair, false);
  });
  const port = await listen(listener, 0);
  const flow = (flowing: boolean): void => {
    stalled = !flowing;
    for (const pair of pairs) setFlowing(pair, flowing);
  };
  const cut = (): void => {
    for (const { client, server } of pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
  };
  return {
    through: (url) => {
      const proxied = new URL(url);
      proxied.host = `127.0.0.1:${port}`;
      return proxied.href;
    },
    cut,
    stall: () => flow(false),
    resume: () => flow(true),
    // A server that is closed waits for its connections; these are to stay.
    refuse: async () => void listener.close(),
    accept: async () => void (await listen(listener, port)),
    loseReplyTo: (statement, reply = /(?:)/) =>
      new Promise((resolve) => losses.push({ statement, reply, happened: resolve })),
    refuseStatement: (statement, error) =>
      new Promise((resolve) => refusals.push({ statement, reply: fatalMessage(error), happened: resolve })),
    close: async () => {
      for (const { client, server } of pairs) {
        client.destroy();
        server.destroy();
      }
      if (!listener.listening) return;
      listener.close();
      await once(listener, "close");
    },
  };
}

/** As PostgreSQL ends a session. */
function fatalMessage({ code, message }: { code: string; message: string }): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.from("E\0\0\0\0");
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

function forward(
  { client, server }: Pair,
  { losses, refusals }: { losses: Loss[]; refusals: Refusal[] },
  end: () => void,
): void {
  let candidates: Loss[] = [];
  client.on("data", (chunk: Buffer) => {
    const text = chunk.toString("latin1");
    const refusal = refusals.find(({ statement }) => statement.test(text));
    if (refusal !== undefined) {
      refusals.splice(refusals.indexOf(refusal), 1);
      client.end(refusal.reply, end);
      refusal.happened();
      return;
    }
    candidates = losses.filter(({ statement }) => statement.test(text));
    server.write(chunk);
  });
  server.on("data", (chunk: Buffer) => {
    const text = chunk.toString("latin1");
    const lost = candidates.find((loss) => losses.includes(loss) && loss.reply.test(text));
    if (lost === undefined) {
      client.write(chunk);
      return;
    }
    losses.splice(losses.indexOf(lost), 1);
    end();
    lost.happened();
  });
}

function setFlowing({ client, server }: Pair, flowing: boolean): void {
  for (const socket of [client, server]) {
    if (flowing) socket.resume();
    else socket.pause();
  }
}

async function listen(listener: net.Server, port: number): Promise<number> {
  await once(listener.listen(port, "127.0.0.1"), "listening");
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return address.port;
}
