/**
 * What the doctor finds about a web hook, without a request: one that is not signed as a delivery is nothing that a
 * receiver has to answer, and a signed one would be a delivery.
 */
import * as dns from "node:dns/promises";
import { isIP } from "node:net";
import { ConnectorError, type ConnectorFinding } from "../../model/connector.js";
import { asSentence } from "../../model/words/as-sentence.js";
import { counted } from "../../model/words/counted.js";
import { isPrivate } from "./guard.js";
import { readOptions, type Hook, type WebhookOptions } from "./options.js";

export async function diagnose(options: WebhookOptions): Promise<readonly ConnectorFinding[]> {
  let hook: Hook;
  try {
    hook = readOptions(options);
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    return [{ level: "problem", text: asSentence(error.message), fixes: error.hints }];
  }
  const addresses = await addressesOf(hook.url.hostname.replace(/^\[(.*)\]$/, "$1"));
  const unencrypted: ConnectorFinding = {
    level: "warning",
    text: `${hook.receiver.place} is not encrypted: anyone on the way can read the answers.`,
    fixes: ["Use an https: address, also in your own network."],
  };
  return [judgeAddresses(hook, addresses), ...(hook.url.protocol === "https:" ? [] : [unencrypted])];
}

/** A code of the resolver where there is none. */
async function addressesOf(host: string): Promise<readonly string[] | string> {
  if (isIP(host) !== 0) return [host];
  try {
    return (await dns.lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : "no answer";
  }
}

function judgeAddresses(
  { receiver: { place }, keys, allowPrivate }: Hook,
  addresses: readonly string[] | string,
): ConnectorFinding {
  if (typeof addresses === "string")
    return {
      level: "problem",
      text: `the name in ${place} has no address (${addresses}).`,
      fixes: ["Check the URL, and whether this machine can resolve names of the Internet."],
    };
  const refused = addresses.find(isPrivate);
  if (refused !== undefined && !allowPrivate)
    return {
      level: "problem",
      text: `${place} is at the private address ${refused}, so Rowmill sends nothing to it.`,
      fixes: ["If that is your own network: webhook({ …, allowPrivate: true })"],
    };
  const where = refused === undefined ? "a public address" : `the private address ${refused}, which you allow`;
  const signed = `deliveries are signed with ${counted(keys.length, "secret")}`;
  return { level: "ok", text: `${place} is at ${where}; ${signed}. Nothing was sent to it` };
}
