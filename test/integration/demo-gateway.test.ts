import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, inject, test } from "vitest";
import { requireSameProvider, startDemoGateway } from "../../src/cli/commands/start/demo.js";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(inject("runFolder"), "demo-gateway-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

describe("the gateway of a kept demo", () => {
  test("listens at the same address at every call, because batches belong to it", async () => {
    const first = await startDemoGateway(folder);
    await first.close();
    const second = await startDemoGateway(folder);
    await second.close();
    expect(second.url).toBe(first.url);
  });

  test("is refused, with its port, while another program listens there", async () => {
    const { port, close } = await startDemoGateway(folder);
    await close();
    const other = createServer().listen(port, "127.0.0.1");
    await once(other, "listening");
    try {
      await expect(startDemoGateway(folder)).rejects.toMatchObject({
        code: "refused",
        message: expect.stringContaining(String(port)),
      });
    } finally {
      other.close();
    }
  });
});

describe("a kept demo", () => {
  test("continues only with the provider that it began with", async () => {
    await requireSameProvider(folder, true);
    await requireSameProvider(folder, false);
    await mkdir(join(folder, ".rowmill", "database"), { recursive: true });
    await requireSameProvider(folder, true);
    await expect(requireSameProvider(folder, false)).rejects.toMatchObject({ code: "refused" });
    await mkdir(join(folder, ".rowmill", "gateway"));
    await requireSameProvider(folder, false);
    await expect(requireSameProvider(folder, true)).rejects.toMatchObject({ code: "refused" });
  });
});
