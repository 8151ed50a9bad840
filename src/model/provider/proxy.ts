/**
 * Which way a request takes: through a proxy or straight. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` mean what they mean to curl,
 * but that this machine's own addresses are never asked for elsewhere. Pure.
 */
import { BlockList, isIP, isIPv4 } from "node:net";
import type { SettingProblem } from "./provider-choice.js";

export interface Proxy {
  /** The variable, as it was spelled. */
  readonly from: string;
  /** For people: `http://host:port`, without user and password. */
  readonly place: string;
  /** Null: it is no address of an HTTP proxy. */
  readonly address: { reveal(): string } | null;
}

export interface Proxies {
  /** For requests by https. */
  readonly https: Proxy | null;
  /** For requests by http. */
  readonly http: Proxy | null;
  /** Hosts, domains and networks that are reached without a proxy, separated by commas or spaces; `*`: all of them. */
  readonly except: string;
}

export const NO_PROXIES: Proxies = { https: null, http: null, except: "" };

/** Null: straight. */
export function proxyFor(url: URL, proxies: Proxies): Proxy | null {
  const proxy = url.protocol === "https:" ? proxies.https : proxies.http;
  if (proxy === null || isLoopback(url.hostname)) return null;
  return proxies.except.split(/[,\s]+/).some((entry) => entry !== "" && covers(entry, url)) ? null : proxy;
}

/** Other programs may understand what Rowmill does not: it is a mistake only where it would be used. Null: it can be, or is not. */
export function proxyProblem(url: URL, proxies: Proxies): SettingProblem | null {
  const proxy = proxyFor(url, proxies);
  if (proxy === null || proxy.address !== null) return null;
  return {
    name: proxy.from,
    found: "something else",
    expected: `the URL of an HTTP proxy, such as "http://host:3128"; or set NO_PROXY=${url.hostname} to go without it`,
  };
}

/** For messages, after a word: ` through the proxy http://host:port (HTTPS_PROXY)`; nothing where there is none. */
export function proxyText(proxy: Proxy | null): string {
  return proxy === null ? "" : ` through the proxy ${proxy.place} (${proxy.from})`;
}

/** `hostname` as a URL has it. Names below `localhost` are not this machine everywhere: musl asks the network for them. */
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
