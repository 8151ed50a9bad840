import { describe, expect, test, vi, onTestFinished } from "vitest";
import OpenAI from "openai";
import { runGateway } from "../../src/gateway/command.js";
import { temporaryDir } from "./gateway-setup.js";

/** What the command prints, as it comes. */
function captureOutput(): { text(): string } {
  let text = "";
  const spy = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  onTestFinished(() => spy.mockRestore());
  return { text: () => text };
}

describe("the command", () => {
  test("says how to use it and that no language model answers, serves, and stops on its signal", async () => {
    const output = captureOutput();
    const stop = new AbortController();
    onTestFinished(() => stop.abort());
    const dataDir = await temporaryDir();
    const running = runGateway({ host: "127.0.0.1", port: 0, dataDir, demoModel: true, signal: stop.signal });
    await expect.poll(() => output.text()).toContain("OPENAI_BASE_URL=");
    expect(output.text()).toContain("NO LANGUAGE MODEL");
    const baseURL = /OPENAI_BASE_URL=(\S+)/.exec(output.text())?.[1] ?? "";
    const apiKey = /OPENAI_API_KEY=(\S+)/.exec(output.text())?.[1] ?? "";
    expect((await new OpenAI({ baseURL, apiKey }).batches.list()).data).toEqual([]);
    stop.abort();
    await running;
    expect(output.text()).toContain("The gateway has stopped.");
    await expect(fetch(`${baseURL}/models`)).rejects.toThrow();
  });

  test("refuses to start without the demo model", async () => {
    const { signal } = new AbortController();
    const running = runGateway({
      host: "127.0.0.1",
      port: 0,
      dataDir: await temporaryDir(),
      demoModel: false,
      signal,
    });
    await expect(running).rejects.toMatchObject({ code: "usage" });
  });
});
