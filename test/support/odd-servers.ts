/**
 * Servers that are not what they should be, for tests of what is said about them: silent, of an unknown authority, a
 * pooler.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import net from "node:net";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { promisify } from "node:util";

export interface OddServer {
  readonly port: number;
  close(): Promise<void>;
}

async function listen(serve: (socket: net.Socket) => void): Promise<OddServer> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    serve(socket);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return {
    port: address.port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}

/** Takes connections and never says a word. */
export function startSilentServer(): Promise<OddServer> {
  return listen((socket) => socket.resume());
}

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Self-signed, for 127.0.0.1 and `NAME.test`, or that host; `NAME.crt` and `NAME.key` in the folder. */
export async function makeCertificate(folder: string, name: string, host = `${name}.test`): Promise<Certificate> {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=IP:127.0.0.1,DNS:${host}`];
  await promisify(execFile)("openssl", ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", cert]);
  return { key: await readFile(key, "utf8"), cert: await readFile(cert, "utf8") };
}

/** Agrees to TLS as PostgreSQL does, with that certificate; a client that trusts it learns nothing more. */
export function startTlsServer(certificate: Certificate): Promise<OddServer> {
  return listen((socket) => {
    socket.once("data", () => {
      socket.write("S");
      new TLSSocket(socket, { isServer: true, ...certificate }).on("error", () => socket.destroy());
    });
  });
}

/** `K`, length 12: the process id that a server tells its client, then the key to cancel with. */
const backendKey = Buffer.from([0x4b, 0, 0, 0, 12]);

/** Passes everything on to PostgreSQL at `port`, and tells a process id of its own, as poolers do. */
export function startPooler(port: number): Promise<OddServer> {
  return listen((socket) => {
    const server = net.connect(port, "127.0.0.1");
    server.on("error", () => socket.destroy());
    server.on("close", () => socket.destroy());
    socket.on("close", () => server.destroy());
    socket.pipe(server);
    server.on("data", (chunk: Buffer) => {
      const at = chunk.indexOf(backendKey);
      if (at >= 0 && chunk.length >= at + 9) chunk.writeInt32BE(1, at + 5);
      socket.write(chunk);
    });
  });
}
