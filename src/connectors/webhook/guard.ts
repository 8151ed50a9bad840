/**
 * Keeps a web hook out of private networks. Every connection passes here, so neither a name that resolves to another
 * address the next time nor a way of writing an address gets through: what is checked is what is dialed.
 */
import * as dns from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import type { Agent, buildConnector } from "undici";

const CONNECT_MS_MAX = 10_000;
/** To one receiver. */
const CONNECTIONS_MAX = 2;
/** An idle connection is closed then. */
const KEEP_ALIVE_MS = 4_000;

/** IPv4 that is not for the Internet: https://www.iana.org/assignments/iana-ipv4-special-registry */
const PRIVATE_V4 = listOf("ipv4", [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
]);
/**
 * All of IPv6 that is in use on the Internet. Outside of it are loopback, private and link-local addresses, and those
 * that hold an IPv4 address: mapped ones and NAT64.
 */
const GLOBAL_V6 = listOf("ipv6", [["2000::", 3]]);
/** Teredo and other tunnels, 6to4, documentation. */
const SPECIAL_V6 = listOf("ipv6", [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
]);

function listOf(family: "ipv4" | "ipv6", subnets: readonly (readonly [network: string, bits: number])[]): BlockList {
  const list = new BlockList();
  for (const [network, bits] of subnets) list.addSubnet(network, bits, family);
  return list;
}

/** Of an address as `net` writes it, with or without a zone. */
export function isPrivate(address: string): boolean {
  const [bare = ""] = address.split("%");
  if (isIP(bare) === 4) return PRIVATE_V4.check(bare, "ipv4");
  return !GLOBAL_V6.check(bare, "ipv6") || SPECIAL_V6.check(bare, "ipv6");
}

/** The receiver is at an address that the config does not allow. */
export class PrivateAddress extends Error {
  override readonly name = "PrivateAddress";
}

/** `allowPrivate`: no address is refused. */
export function guardedAgent(
  { Agent, buildConnector }: Pick<typeof import("undici"), "Agent" | "buildConnector">,
  { allowPrivate }: { readonly allowPrivate: boolean },
): Agent {
  const dial = buildConnector({ timeout: CONNECT_MS_MAX, ...(allowPrivate ? {} : { lookup: publicLookup() }) });
  const guarded: buildConnector.connector = (options, callback) => {
    // An address is not looked up. The URL's parser has made one spelling of all.
    const host = options.hostname.replace(/^\[(.*)\]$/, "$1");
    if (isIP(host) !== 0 && isPrivate(host)) callback(new PrivateAddress(host), null);
    else dial(options, callback);
  };
  return new Agent({
    connect: allowPrivate ? dial : guarded,
    connections: CONNECTIONS_MAX,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
  });
}

/** As `dns.lookup` with `all`. */
type Resolve = (
  host: string,
  options: dns.LookupAllOptions,
  done: (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]) => void,
) => void;

/** Refuses a name if only one of its addresses is private. */
export function publicLookup(resolve: Resolve = dns.lookup): LookupFunction {
  return (host, options, callback) => {
    resolve(host, { ...options, all: true }, (error, addresses) => {
      const [first] = addresses ?? [];
      const refused = addresses?.find(({ address }) => isPrivate(address));
      if (error !== null) callback(error, []);
      else if (refused !== undefined) callback(new PrivateAddress(refused.address), []);
      else if (first === undefined) callback(new Error(`${host} has no address`), []);
      else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
