/** A provider whose replies have no end: each is given up at a bound, whatever it is a reply to. */
import { afterEach, describe, expect, test } from "vitest";
import { findInputs } from "../../src/providers/openai/files.js";
import {
  BATCH,
  closeServers,
  failureOf,
  intentOf,
  json,
  readInto,
  retrieve,
  serve,
  type RawProvider,
} from "../support/raw-provider.js";

afterEach(closeServers);

describe("A provider", () => {
  test.each<[string, number, (provider: RawProvider) => Promise<unknown>]>([
    ["a batch", 200, retrieve],
    ["an error", 404, retrieve],
    ["an error instead of a file", 404, (provider) => readInto(provider, [])],
    ["a page of a list", 200, (provider) => findInputs(provider.connection, "x")],
  ])("that sends %s without end is given up", { timeout: 60_000 }, async (_, status, ask) => {
    const spaces = " ".repeat(1024 * 1024);
    const { provider } = await serve((response, { url }) => {
      if (url.endsWith("/files/file-1")) return json(response, 200, { id: "file-1" });
      response.writeHead(status, { "content-type": "application/json" });
      const more = (): void => {
        while (!response.destroyed && response.write(spaces));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    });
    const error = await failureOf(ask(provider));
    expect(error.message).toMatch(/longer than 8388608 bytes/);
  });

  test.each<[string, string, (provider: RawProvider) => Promise<unknown>]>([
    ["the models", "{}", (provider) => provider.servesDemo()],
    ["a batch", "[]", retrieve],
    ["a page of a list", "1", (provider) => findInputs(provider.connection, "x")],
  ])("that fills %s with values %s is given up before they are parsed", async (_, value, ask) => {
    const x = JSON.parse(`[${`${value},`.repeat(250_000)}0]`) as unknown;
    const { provider } = await serve((response) => json(response, 200, { ...BATCH, data: [], x }));
    expect((await failureOf(ask(provider))).message).toMatch(/holds more than 250000 values/);
  });

  test("may use as many commas and brackets as it likes inside of texts, also behind quotes", async () => {
    const batch = `"\\"{[,`.repeat(300_000);
    const metadata = { rowmill_batch: batch };
    const { provider } = await serve((response) => json(response, 200, { ...BATCH, metadata }));
    expect((await retrieve(provider)).mark).toMatchObject({ batch });
  });

  test("that has page after page without end is given up", { timeout: 60_000 }, async () => {
    const { provider, seen } = await serve((response, _, index) =>
      json(response, 200, { data: [{ ...BATCH, id: `batch_${index}` }], has_more: true }),
    );
    const search = provider.find(intentOf("file-none", { batch: "none" }), 0);
    expect(await failureOf(search)).toMatchObject({
      kind: "retryable",
      message: expect.stringContaining("did not end"),
    });
    expect(seen).toHaveLength(200);
  });
});
