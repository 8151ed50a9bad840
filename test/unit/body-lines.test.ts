import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { bodyLines } from "../../src/http/read-body.js";

const LINE_BYTES_MAX = 1_000;

async function linesOf(body: string | Buffer<ArrayBuffer>, headers: Record<string, string> = {}): Promise<string[]> {
  const request = new Request("http://127.0.0.1/", { method: "POST", body, headers });
  const lines: string[] = [];
  const limits = { bytesMax: null, lineBytesMax: LINE_BYTES_MAX };
  for await (const line of bodyLines(request, limits)) lines.push(line.toString());
  return lines;
}

describe("The lines of a body", () => {
  it.each([
    ["without a line feed at its end", "a\nb", ["a", "b"]],
    ["with one", "a\nb\n", ["a", "b"]],
    ["with empty lines", "\n\na\n\n\nb\n\n", ["a", "b"]],
    ["with blank lines of Windows", "\r\na\r\n\r\n\r\nb", ["a\r", "b"]],
    ["with lines of spaces and tabs", " \n\ta \n \t \n", ["\ta "]],
    ["of nothing", "", []],
  ])("%s are those that have something in them", async (_name, body, lines) => {
    expect(await linesOf(body)).toEqual(lines);
  });

  it.each(["\n", "\r\n", " \n"])("are none of a million blank ones that gzip made small (%j)", async (blank) => {
    const packed = gzipSync(`${blank.repeat(1_000_000)}a\n`);
    expect(packed.length).toBeLessThan(10_000);
    expect(await linesOf(Buffer.from(packed), { "content-encoding": "gzip" })).toEqual(["a"]);
  });
});
