/** What a web hook's options may be, and how it signs. */
import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { readOptions } from "../../src/connectors/webhook/options.js";
import { webhook } from "../../src/connectors/webhook/webhook.js";
import { signatures, signingKey } from "../../src/connectors/webhook/signature.js";

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

function key(of: string): Buffer {
  return signingKey(of) ?? Buffer.alloc(0);
}

describe("a web hook's signature", () => {
  const message = { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", seconds: 1_614_265_330, body: '{"test": 2432232314}' };

  it("is the one that the reference libraries of Standard Webhooks test for", () => {
    expect(signatures(message, [key(secret)])).toBe("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  });

  it("is made with each secret while one is replaced", () => {
    const other = Buffer.alloc(32, 9);
    const signed = createHmac("sha256", other).update(`${message.id}.1614265330.${message.body}`).digest("base64");
    expect(signatures(message, [other, key(secret)])).toBe(
      `v1,${signed} v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=`,
    );
  });

  it.each([
    "",
    "whsec_",
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_not base64",
    `whsec_${Buffer.alloc(23).toString("base64")}`,
    `whsec_${Buffer.alloc(65).toString("base64")}`,
    "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  ])("is not made with %j", (text) => {
    expect(signingKey(text)).toBeNull();
  });
});

describe("the options of a web hook", () => {
  it("are read late, so a config without the variables of its secrets can be read", async () => {
    const hook = webhook({ url: undefined, secret: undefined });
    const prepared = hook.prepare({ pipeline: "films", fields: [], signal: new AbortController().signal });
    await expect(prepared).rejects.toMatchObject({ name: "ConnectorError", kind: "stop" });
  });

  const refusal = (options: Partial<Parameters<typeof readOptions>[0]>): string => {
    try {
      readOptions({ url: "https://example.com/", secret, ...options });
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : "";
    }
  };

  it("may be a URL with user and password, which become a header", () => {
    const { url, headers, receiver } = readOptions({
      url: "https://anna:s%40cret-9@example.com:8443/in?token=abcdefg",
      secret,
    });
    expect(url.href).toBe("https://example.com:8443/in?token=abcdefg");
    expect(headers).toEqual({ authorization: `Basic ${Buffer.from("anna:s@cret-9").toString("base64")}` });
    expect(receiver.place).toBe("https://example.com:8443");
    expect(receiver.redact("got s@cret-9, s%40cret-9 and abcdefg")).toBe("got [secret], [secret] and [secret]");
  });

  it.each(["", "example.com", "ftp://example.com", "http://example.com", "file:///etc/passwd"])(
    "may not have the URL %j",
    (url) => {
      expect(refusal({ url })).toMatch(/`url` must be an address/);
    },
  );

  it("may have a URL in plain http in a private network", () => {
    expect(refusal({ url: "http://10.0.0.1/", allowPrivate: true })).toBe("");
  });

  it("never repeat a URL or a secret that is wrong", () => {
    expect(refusal({ url: "http://anna:hunter22@hook.test" })).not.toMatch(/hunter22|hook\.test/);
    expect(refusal({ secret: "whsec_hunter22" })).not.toContain("hunter22");
    expect(refusal({ headers: { "x-token": "hunter22\n" } })).not.toContain("hunter22");
  });

  it.each([[[]], [["whsec_"]], [[secret, "x"]], [Array.from({ length: 6 }, () => secret)]])(
    "may not have the secrets %j",
    (given) => {
      expect(refusal({ secret: given })).toMatch(/`secret` must be/);
    },
  );

  it.each(["webhook-id", "Webhook-Signature", "content-length", "Host", "Idempotency-Key", "a b", ""])(
    "may not set the header %j",
    (name) => {
      expect(refusal({ headers: { [name]: "x" } })).toMatch(/cannot be set/);
    },
  );
});
