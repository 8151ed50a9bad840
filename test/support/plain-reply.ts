/** How the stand-in of "plain" answers, and breaks off. */
import type http from "node:http";

export interface PlainAnswered {
  readonly status: number;
  /** Lines, or JSON. */
  readonly body: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

export class PlainReply {
  private readonly response: http.ServerResponse;
  private readonly clock: () => number;

  constructor(response: http.ServerResponse, clock: () => number) {
    this.response = response;
    this.clock = clock;
    response.sendDate = false;
  }

  json(status: number, body: object): void {
    this.whole({ status, body });
  }

  whole(answer: PlainAnswered): void {
    this.response.end(this.begin(answer));
  }

  /** The headers announce the whole body. */
  part(answer: PlainAnswered, { kind, afterBytes }: { kind: "cut" | "stall"; afterBytes: number }): void {
    const bytes = this.begin(answer).subarray(0, afterBytes);
    this.response.flushHeaders();
    const end = () => {
      if (kind === "cut") this.drop();
    };
    if (bytes.length === 0) end();
    else this.response.write(bytes, end);
  }

  drop(): void {
    this.response.destroy();
  }

  private begin({ status, body, headers = {} }: PlainAnswered): Buffer {
    const isText = typeof body === "string";
    const bytes = Buffer.from(isText ? body : JSON.stringify(body));
    this.response.writeHead(status, {
      "content-type": isText ? "application/x-plain-lines" : "application/json",
      "content-length": String(bytes.length),
      date: new Date(this.clock()).toUTCString(),
      ...headers,
    });
    return bytes;
  }
}

export function refused(status: number, kind: string, message: string, more: object = {}): PlainAnswered {
  return { status, body: { error: { kind, message, ...more } } };
}
