/**
 * Routes `fetch` through a proxy. Only the dispatchers of `undici` are used, with Node's own `fetch`, whose `FormData`
 * and files the SDK sends (undici's `fetch` uploads the text `[object FormData]`: measured). What a proxy refuses never
 * reached the provider.
 */
import type { Dispatcher, ProxyAgent } from "undici";
import { proxyFor, type Proxies, type Proxy } from "../../../model/provider/proxy.js";
import { percentDecoded } from "../../../model/percent-decoded.js";

/** For a proxy to open the tunnel; the call's own time-out may end it before. */
const CONNECT_MS_MAX = 30_000;

/** `fetch` through the proxies of these variables; the given one where none is set. */
export function fetchThrough(proxies: Proxies, fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  if (proxies.http === null && proxies.https === null) return fetch;
  let ways: ReturnType<typeof dispatcherFor> | null = null;
  return async (url, init) => fetch(url, { ...init, ...(await (ways ??= dispatcherFor(proxies))) });
}

/**
 * An option of `fetch`, whose types know an older undici. Decides at each request, because a redirect may lead
 * elsewhere; direct connections are its own too, because Node's may be set to use a proxy.
 */
async function dispatcherFor(proxies: Proxies): Promise<object> {
  // Only now: loading it takes 130 ms and 20 MB.
  const undici = await import("undici");
  const agents = new Map<Proxy, ProxyAgent>();
  const agentOf = (proxy: Proxy): ProxyAgent => {
    const agent = agents.get(proxy) ?? openAgent(undici, proxy);
    agents.set(proxy, agent);
    return agent;
  };
  const dispatcher = new undici.Agent().compose((straight) => (options, handler) => {
    const proxy = proxyFor(new URL(String(options.origin)), proxies);
    return proxy === null ? straight(options, handler) : agentOf(proxy).dispatch(options, handler);
  });
  return { dispatcher };
}

function openAgent(undici: typeof import("undici"), { address }: Proxy): ProxyAgent {
  const url = new URL(address?.reveal() ?? "");
  const { username, password } = url;
  url.username = "";
  url.password = "";
  return new undici.ProxyAgent({
    uri: url.href,
    // As curl does it: many proxies open tunnels to port 443 only.
    proxyTunnel: false,
    clientFactory: (origin, options): Dispatcher =>
      new undici.Pool(origin, { ...options, headersTimeout: CONNECT_MS_MAX }),
    ...(username === "" ? {} : { token: basic(username, password) }),
  });
}

function basic(username: string, password: string): string {
  const text = `${percentDecoded(username)}:${percentDecoded(password)}`;
  return `Basic ${Buffer.from(text).toString("base64")}`;
}

/** The status with which a proxy refused; null: another error. By the words of undici, which gives no code. */
export function refusedByProxy(causes: readonly Error[]): number | null {
  for (const { message } of causes) {
    const [, status] = /^Proxy (?:response|Authentication Required) \((\d{3})\)/.exec(message) ?? [];
    if (status !== undefined) return Number(status);
  }
  return null;
}
