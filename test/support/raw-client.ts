/** A PostgreSQL client that sends exactly the messages that a test gives it, for what `pg` would never send. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { message, MessageCutter, type WireMessage } from "../../src/embedded/wire-messages.js";

const bytesMax = 64 * 1024 * 1024;

export class RawClient {
  readonly socket: Socket;
  readonly #cutter = new MessageCutter(bytesMax);
  readonly #received: WireMessage[] = [];
  #wake: () => void = () => {};
  #closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.#cutter.push(chunk);
      for (let next = this.#cutter.next(false); next !== null; next = this.#cutter.next(false)) {
        this.#received.push(next);
      }
      this.#wake();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** `url` as `createDatabase("embedded")` gives it. */
  static async connect(url: string, parameters: Record<string, string> = {}): Promise<RawClient> {
    const socket = connect(join(new URL(url).searchParams.get("host") ?? "", ".s.PGSQL.5432"));
    await once(socket, "connect");
    const client = new RawClient(socket);
    const pairs = Object.entries({ user: "postgres", database: "postgres", ...parameters }).flat();
    const body = Buffer.from(`${pairs.join("\0")}\0\0`);
    const header = Buffer.alloc(8);
    header.writeInt32BE(body.length + 8, 0);
    header.writeInt32BE(3 << 16, 4);
    client.send(Buffer.concat([header, body]));
    return client;
  }

  send(...messages: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(messages));
  }

  /** The messages up to and with the next one of that type. Rejects when the connection ends before it. */
  async until(type: string): Promise<WireMessage[]> {
    for (;;) {
      const at = this.#received.findIndex((one) => one.type === type);
      if (at >= 0) return this.#received.splice(0, at + 1);
      if (this.#closed) throw new Error(`the connection ended before a message of type ${type}`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** All messages that came before the connection ended. */
  async untilEnd(): Promise<WireMessage[]> {
    while (!this.#closed) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#received.splice(0);
  }

  close(): void {
    this.socket.destroy();
  }
}

export function parse(name: string, sql: string): Buffer {
  return message("P", name, sql, Buffer.alloc(2));
}

/** No parameters, all results as text. */
export function bind(portal: string, statement: string): Buffer {
  return message("B", portal, statement, Buffer.alloc(6));
}

export function execute(portal: string, rowsMax: number): Buffer {
  const limit = Buffer.alloc(4);
  limit.writeInt32BE(rowsMax);
  return message("E", portal, limit);
}

export const flush = message("H");

export function types(messages: readonly WireMessage[]): string {
  return messages.map((one) => one.type).join("");
}

/** The text of the first column of each DataRow. */
export function firstCells(messages: readonly WireMessage[]): string[] {
  return messages
    .filter((one) => one.type === "D")
    .map((one) => one.bytes.toString("utf8", 11, 11 + one.bytes.readInt32BE(7)));
}

export function errorText(messages: readonly WireMessage[]): string {
  const found = messages.find((one) => one.type === "E");
  return found === undefined
    ? ""
    : found.bytes
        .toString("utf8", 5)
        .split("\0")
        .map((field) => field.slice(1))
        .join(" ");
}
