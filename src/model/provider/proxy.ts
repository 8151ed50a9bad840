/**
 * Decides whether a request takes a proxy. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` have curl's meaning, except that
 * this machine's own addresses never take a proxy. Pure.
 */
import { BlockList, isIP, isIPv4 } from "node:net";
import type { SettingProblem } from "./provider-choice.js";

export interface Proxy {
  /** The variable's name, as spelled. */
  readonly from: string;
  /** `http://host:port` for messages, without user and password. */
  readonly place: string;
  /** Null: it is not the address of an HTTP proxy. */
  readonly address: { reveal(): string } | null;
}

export interface Proxies {
  /** For requests by https. */
  readonly https: Proxy | null;
  /** For requests by http. */
  readonly http: Proxy | null;
  /** Hosts, domains and networks without a proxy, separated by commas or spaces; `*`: all. */
  readonly except: string;
}

export const NO_PROXIES: Proxies = { https: null, http: null, except: "" };

/** Null: without a proxy. */
export function proxyFor(url: URL, proxies: Proxies): Proxy | null {
  const proxy = url.protocol === "https:" ? proxies.https : proxies.http;
  if (proxy === null || isLoopback(url.hostname)) return null;
  return proxies.except.split(/[,\s]+/).some((entry) => entry !== "" && covers(entry, url)) ? null : proxy;
}

/** Only a proxy that would be used can be a mistake: other programs may understand more kinds. */
export function proxyProblem(url: URL, proxies: Proxies): SettingProblem | null {
  const proxy = proxyFor(url, proxies);
  if (proxy === null || proxy.address !== null) return null;
  return {
    name: proxy.from,
    found: "an unusable value (not shown: it may hold a password)",
    expected: `the URL of an HTTP proxy, such as "http://host:3128", or no proxy (NO_PROXY=${url.hostname})`,
  };
}

/** For messages: ` through the proxy http://host:port (HTTPS_PROXY)`, or nothing. */
export function proxyText(proxy: Proxy | null): string {
  return proxy === null ? "" : ` through the proxy ${proxy.place} (${proxy.from})`;
}

/** `hostname` of a URL. Names below `localhost` do not count: musl asks the network for them. */
export function isLoopback(hostname: string): boolean {
  if (hostname === "localhost" || hostname === "[::1]") return true;
  return isIPv4(hostname) && hostname.startsWith("127.");
}

function covers(entry: string, url: URL): boolean {
  if (entry === "*") return true;
  const host = withoutBrackets(url.hostname.replace(/\.$/, ""));
  const port = url.port === "" ? { "https:": "443", "http:": "80" }[url.protocol] : url.port;
  const [, name = "", onlyPort = port] = /^(.*?[^:]|\[.*\])(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
  if (onlyPort !== port) return false;
  if (isIP(host) !== 0) return coversAddress(withoutBrackets(name), host);
  const domain = name.replace(/^\*?\./, "").replace(/\.$/, "");
  return domain !== "" && (host === domain || host.endsWith(`.${domain}`));
}

/** An address, or a network such as `10.0.0.0/8`. */
function coversAddress(entry: string, host: string): boolean {
  const [network = "", prefix] = entry.split("/");
  const [bits, family] = isIPv4(network) ? ([32, "ipv4"] as const) : ([128, "ipv6"] as const);
  const length = prefix === undefined ? bits : Number(prefix);
  if (isIP(network) !== isIP(host) || !Number.isInteger(length) || length < 0 || length > bits) return false;
  const list = new BlockList();
  list.addSubnet(network, length, family);
  return list.check(host, family);
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1");
}
