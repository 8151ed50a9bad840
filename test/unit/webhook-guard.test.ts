/** Which addresses a web hook may dial. */
import { once } from "node:events";
import net from "node:net";
import type { AddressInfo } from "node:net";
import type { LookupAddress } from "node:dns";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isPrivate, PrivateAddress, publicLookup } from "../../src/connectors/webhook/guard.js";
import { webhook } from "../../src/connectors/webhook/webhook.js";

const secret = `whsec_${Buffer.alloc(24, 1).toString("base64")}`;
const change = { key: "a", fence: "1", deleted: true } as const;

describe("the guard of web hooks", () => {
  const connected: string[] = [];
  const server = net.createServer((socket) => {
    connected.push(String(socket.remoteAddress));
    socket.destroy();
  });
  let port = 0;
  beforeAll(async () => {
    await once(server.listen(0), "listening");
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => server.close());

  it.each([
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "①②⑦.0.0.1",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::7f00:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "localhost",
    "LOCALHOST",
  ])("refuses %s before it dials", async (host) => {
    const hook = webhook({ url: `https://${host}:${port}/`, secret });
    const sent = hook.write([change], { pipeline: "films", id: "1", signal: new AbortController().signal });
    await expect(sent).rejects.toMatchObject({ name: "ConnectorError", kind: "stop" });
    await expect(sent).rejects.toThrow("is at the private address");
    expect(connected).toEqual([]);
  });

  it("dials a private address if the config allows it", async () => {
    const hook = webhook({ url: `https://127.0.0.1:${port}/`, secret, allowPrivate: true });
    const sent = hook.write([change], { pipeline: "films", id: "1", signal: new AbortController().signal });
    await expect(sent).rejects.toMatchObject({ kind: "again" });
    expect(connected).toHaveLength(1);
  });

  it("knows addresses of the Internet", () => {
    const open = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450:4001::1"];
    expect(open.filter(isPrivate)).toEqual([]);
  });
});

describe("a name's addresses", () => {
  const lookUp = (addresses: LookupAddress[], all = true) =>
    new Promise<{ error: Error | null; found: string | LookupAddress[] }>((resolve) => {
      const lookup = publicLookup((_host, _options, done) => done(null, addresses));
      lookup("example.com", { all }, (error, found) => resolve({ error, found }));
    });
  const internet = { address: "8.8.8.8", family: 4 };

  it("are dialed if all are on the Internet", async () => {
    expect(await lookUp([internet])).toEqual({ error: null, found: [internet] });
    expect(await lookUp([internet], false)).toEqual({ error: null, found: "8.8.8.8" });
  });

  it.each(["127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fe80::1%eth0"])(
    "are refused if one of them is %s",
    async (address) => {
      const { error } = await lookUp([internet, { address, family: net.isIP(address) }]);
      expect(error).toBeInstanceOf(PrivateAddress);
    },
  );

  it("are judged each time, so a name that changes is refused", async () => {
    const answers = [internet, { address: "127.0.0.1", family: 4 }];
    const lookup = publicLookup((_host, _options, done) => done(null, answers.splice(0, 1)));
    const dial = () => new Promise((resolve) => lookup("example.com", { all: true }, resolve));
    expect([await dial(), await dial()]).toEqual([null, expect.any(PrivateAddress)]);
  });

  it("are refused if there are none", async () => {
    expect((await lookUp([])).error?.message).toBe("example.com has no address");
  });
});
