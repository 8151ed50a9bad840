/**
 * Owns `sslmode=prefer`, which `pg` does not have: a socket that asks the server for TLS, and continues in the clear if
 * the server has none or the handshake fails. `pg` gets it as its `stream`. Like libpq's `prefer` it verifies nothing.
 * Unlike it, it does not retry in the clear when the server refuses the *login* over TLS (`hostnossl`): there, write
 * `sslmode=disable`. `pg`'s connect time-out destroys the socket at any stage.
 */
import net from "node:net";
import { Duplex } from "node:stream";
import tls from "node:tls";

/** Length 8 and the code 80877103 (https://www.postgresql.org/docs/current/protocol-message-formats.html). */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

const CODE_OF_YES = "S".charCodeAt(0);
const CODE_OF_NO = "N".charCodeAt(0);

type WriteCallback = (error?: Error | null) => void;

export class PreferTlsSocket extends Duplex {
  readonly #tlsOptions: tls.ConnectionOptions;
  /** The socket in use; TLS or a second attempt replaces it. */
  #socket: net.Socket | null = null;
  #keepAlive: { readonly enable: boolean; readonly initialDelayMs: number } | null = null;

  constructor(tlsOptions: tls.ConnectionOptions) {
    super({ allowHalfOpen: false });
    this.#tlsOptions = tlsOptions;
  }

  /** As `net.Socket.connect`; emits `connect` once, after the choice of TLS, or `error`. */
  connect(port: number, host: string): this {
    this.#open(port, host, (socket) => {
      socket.write(SSL_REQUEST);
      socket.once("data", (answer) => this.#settle(socket, answer, port, host));
    });
    return this;
  }

  setNoDelay(enable = true): this {
    this.#socket?.setNoDelay(enable);
    return this;
  }

  setKeepAlive(enable = true, initialDelayMs = 0): this {
    this.#keepAlive = { enable, initialDelayMs };
    this.#socket?.setKeepAlive(enable, initialDelayMs);
    return this;
  }

  ref(): this {
    this.#socket?.ref();
    return this;
  }

  unref(): this {
    this.#socket?.unref();
    return this;
  }

  /** False also before `connect`. */
  get encrypted(): boolean {
    return this.#socket instanceof tls.TLSSocket;
  }

  #open(port: number, host: string, connected: (socket: net.Socket) => void): void {
    const socket = net.connect({ port, host, noDelay: true });
    this.#use(socket);
    socket.once("connect", () => connected(socket));
  }

  #settle(socket: net.Socket, answer: Buffer, port: number, host: string): void {
    const [code] = answer;
    // More than one byte comes from an attacker in between (CVE-2021-23222).
    if (answer.length === 1 && code === CODE_OF_YES) this.#upgrade(socket, port, host);
    else if (answer.length === 1 && code === CODE_OF_NO) this.#adopt(socket);
    else this.destroy(new Error("The server did not answer the request for TLS as a PostgreSQL server does"));
  }

  #upgrade(socket: net.Socket, port: number, host: string): void {
    const serverName = net.isIP(host) === 0 ? { servername: host } : {};
    const secure = tls.connect({ ...this.#tlsOptions, ...serverName, socket });
    this.#socket = secure;
    const giveUp = () => {
      secure.destroy();
      if (this.destroyed) return;
      this.#open(port, host, (plain) => this.#adopt(plain));
    };
    secure.once("error", giveUp);
    secure.once("secureConnect", () => {
      secure.off("error", giveUp);
      this.#use(secure);
      this.#adopt(secure);
    });
  }

  /** A failure of the socket in use is ours; that of a replaced one is not. */
  #use(socket: net.Socket): void {
    this.#socket = socket;
    socket.on("error", (error) => {
      if (this.#socket === socket) this.destroy(error);
    });
    socket.on("close", () => {
      if (this.#socket === socket) this.destroy();
    });
  }

  #adopt(socket: net.Socket): void {
    if (this.#keepAlive !== null) socket.setKeepAlive(this.#keepAlive.enable, this.#keepAlive.initialDelayMs);
    socket.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause();
    });
    socket.on("end", () => this.push(null));
    this.emit("connect");
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, callback: WriteCallback): void {
    if (this.#socket === null) callback(new Error("Written before it was connected"));
    else this.#socket.write(chunk, encoding, callback);
  }

  override _final(callback: WriteCallback): void {
    if (this.#socket === null) callback();
    else this.#socket.end(() => callback());
  }

  override _destroy(error: Error | null, callback: WriteCallback): void {
    this.#socket?.destroy();
    callback(error);
  }
}
