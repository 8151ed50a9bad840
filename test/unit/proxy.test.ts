import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { readEnvironment } from "../../src/config/load/environment.js";
import { proxyFor } from "../../src/model/provider/proxy.js";

const both = { HTTPS_PROXY: "http://secure:3128", HTTP_PROXY: "http://plain:3128" };

function placeFor(url: string, variables: Readonly<Record<string, string>>): string | null {
  return (
    proxyFor(new URL(url), readEnvironment({ OPENAI_BASE_URL: url, ...variables }).provider.proxies)?.place ?? null
  );
}

describe("the proxy for a request", () => {
  test("goes by the scheme of its URL", () => {
    expect(placeFor("https://api.openai.com/v1", both)).toBe("http://secure:3128");
    expect(placeFor("http://models.lan/v1", both)).toBe("http://plain:3128");
    expect(placeFor("https://api.openai.com/v1", { HTTP_PROXY: both.HTTP_PROXY })).toBe(null);
    expect(placeFor("https://api.openai.com/v1", {})).toBe(null);
  });

  test("is named in upper or lower case, of which lower case goes before, as curl has it; empty counts as absent", () => {
    expect(placeFor("https://a.test/v1", { ...both, https_proxy: "lower:1" })).toBe("http://lower:1");
    expect(placeFor("https://a.test/v1", { ...both, https_proxy: "" })).toBe("http://secure:3128");
    expect(placeFor("https://a.test/v1", { ...both, no_proxy: "a.test" })).toBe(null);
  });

  test("may leave its scheme out, and is shown without user and password, however it is printed", () => {
    const { proxies } = readEnvironment({
      HTTPS_PROXY: "me:s3cret@proxy:8080",
      HTTP_PROXY: "https://me:s3cret@proxy",
    }).provider;
    expect(proxies.https?.place).toBe("http://proxy:8080");
    expect(proxies.http?.place).toBe("https://proxy");
    const printed = `${inspect(proxies, { depth: 9, showHidden: true })} ${JSON.stringify(proxies)}`;
    expect(printed).not.toContain("s3cret");
  });

  test.each(["http://localhost:8000/v1", "http://127.0.0.1/v1", "http://127.9.9.9:4477/v1", "https://[::1]:4477/v1"])(
    "is none for this machine: %s",
    (url) => {
      expect(placeFor(url, both)).toBe(null);
    },
  );

  test.each([
    ["https://api.openai.com/v1", "api.openai.com"],
    ["https://api.openai.com/v1", "openai.com"],
    ["https://api.openai.com/v1", ".openai.com"],
    ["https://api.openai.com/v1", "*.openai.com"],
    ["https://api.openai.com/v1", "localhost, API.OpenAI.com:443"],
    ["https://api.openai.com./v1", "other.test openai.com."],
    ["https://api.openai.com/v1", "*"],
    ["https://models.lan:8443/v1", "models.lan:8443"],
    ["http://10.1.2.3:8000/v1", "10.1.2.3"],
    ["http://10.1.2.3:8000/v1", "10.0.0.0/8"],
    ["http://10.1.2.3:8000/v1", "10.1.2.3:8000"],
    ["http://[fd00::7]:8000/v1", "fd00::/8"],
    ["http://[fd00::7]/v1", "[fd00::7]"],
    ["http://[fd00::7]/v1", "fd00:0::7"],
  ])("is none for %s with NO_PROXY=%s", (url, entries) => {
    expect(placeFor(url, { ...both, NO_PROXY: entries })).toBe(null);
  });

  test.each([
    ["https://api.openai.com/v1", "notopenai.com"],
    ["https://notopenai.com/v1", "openai.com"],
    ["https://api.openai.com/v1", "api.openai.com:8443"],
    ["https://api.openai.com/v1", "openai.com.evil.test"],
    ["https://api.openai.com/v1", ".,, :443 /8 *."],
    ["http://10.1.2.3:8000/v1", "11.0.0.0/8"],
    ["http://10.1.2.3:8000/v1", "10.0.0.0/33"],
    ["http://10.1.2.3:8000/v1", "0.1.2.3"],
    ["http://10.1.2.3:8000/v1", "2.3"],
    ["http://[fd00::7]:8000/v1", "10.0.0.0/8"],
  ])("is kept for %s with NO_PROXY=%s", (url, entries) => {
    expect(placeFor(url, { ...both, NO_PROXY: entries })).not.toBe(null);
  });
});

describe("a proxy that cannot be used", () => {
  test.each([
    "socks5://proxy:1080",
    "http://",
    "not a url",
    "http://me:s3cret@",
    "http://me:4711/s3cret@proxy:3128",
    "me:4711?s3cret@proxy:3128",
  ])("is a mistake where it would be used: %s", (text) => {
    const variables = { HTTPS_PROXY: text, OPENAI_BASE_URL: "https://api.openai.com/v1" };
    expect(() => readEnvironment(variables)).toThrow(
      'HTTPS_PROXY: found an unusable value (not shown: it may hold a password), expected the URL of an HTTP proxy, such as "http://host:3128", or no proxy (NO_PROXY=api.openai.com)',
    );
    expect(() => readEnvironment({ HTTPS_PROXY: text })).toThrow(/^(?!.*s3cret)/s);
    expect(() => readEnvironment({ ...variables, NO_PROXY: "api.openai.com" })).not.toThrow();
    expect(() => readEnvironment({ ...variables, OPENAI_BASE_URL: "http://127.0.0.1:4477/v1" })).not.toThrow();
  });
});
