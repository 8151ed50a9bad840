/** A client of HTTP that sends exactly the bytes that a test gives it, as slowly or wrongly as it likes. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export class RawHttp {
  readonly socket: Socket;
  #text = "";
  #wake: () => void = () => {};
  #ended = false;

  private constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.setEncoding("latin1");
    this.socket.on("data", (chunk: string) => {
      this.#text += chunk;
      this.#wake();
    });
    this.socket.on("error", () => this.socket.destroy());
    this.socket.on("close", () => {
      this.#ended = true;
      this.#wake();
    });
  }

  static async connect(port: number): Promise<RawHttp> {
    const client = new RawHttp(port);
    await once(client.socket, "connect");
    return client;
  }

  /** Resolves when the bytes have left, or the connection is gone. */
  async send(text: string | Buffer): Promise<void> {
    if (!this.socket.writable) return void (await this.untilEnd());
    await new Promise<void>((resolve) => {
      this.socket.once("close", resolve);
      this.socket.write(text, () => {
        this.socket.off("close", resolve);
        resolve();
      });
    });
  }

  /** All that came so far, once it contains that. Rejects when the connection ends before. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#text)) {
      if (this.#ended) throw new Error(`The connection ended with ${JSON.stringify(this.#text)}.`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#text;
  }

  /** All that came before the server ended the connection. */
  async untilEnd(): Promise<string> {
    if (!this.#ended) await new Promise((resolve) => this.socket.once("close", resolve));
    return this.#text;
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  close(): void {
    this.socket.destroy();
  }
}

export function head(line: string, headers: Readonly<Record<string, string | number>> = {}): string {
  const lines = Object.entries({ host: "127.0.0.1", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${line} HTTP/1.1\r\n${lines.join("")}\r\n`;
}
