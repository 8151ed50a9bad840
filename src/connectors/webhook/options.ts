/** Reads the options of a web hook. No message repeats the URL, which may hold a password or a token. Pure. */
import { ConnectorError } from "../../model/connector.js";
import { percentDecoded } from "../../model/percent-decoded.js";
import type { Receiver } from "./reply.js";
import { signingKey } from "./signature.js";

export interface WebhookOptions {
  /** Must take POST. With `http:` only where `allowPrivate` is set. */
  readonly url: string | undefined;
  /**
   * `whsec_` and 24 to 64 bytes in base64, from a variable of the environment. Several: each signs, so that you can
   * replace one.
   */
  readonly secret: string | undefined | readonly (string | undefined)[];
  /** The receiver may be on this machine or in a private network. */
  readonly allowPrivate?: boolean;
  /** Sent with each delivery, such as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
}

const SECRETS_MAX = 5;

export interface Hook {
  readonly url: URL;
  readonly keys: readonly Buffer[];
  readonly allowPrivate: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly receiver: Receiver;
}

const OWN_HEADER =
  /^(?:webhook-.*|idempotency-key|host|connection|content-.*|transfer-encoding|expect|upgrade|te|user-agent)$/i;
const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** @throws ConnectorError */
export function readOptions({ url: text = "", secret, allowPrivate = false, headers = {} }: WebhookOptions): Hook {
  const url = readUrl(text, allowPrivate);
  const secrets = [secret].flat().map((one = "") => one);
  const keys = secrets.map(signingKey).filter((key) => key !== null);
  if (keys.length !== secrets.length || keys.length === 0 || keys.length > SECRETS_MAX)
    throw new ConnectorError("stop", "webhook(): `secret` must be whsec_ and 24 to 64 bytes in base64.", {
      hints: [
        `Make one: node -p '"whsec_" + crypto.randomBytes(32).toString("base64")'`,
        `A list may have up to ${SECRETS_MAX} of them.`,
      ],
    });
  for (const [name, value] of Object.entries(headers)) {
    if (HEADER_NAME.test(name) && !OWN_HEADER.test(name) && HEADER_VALUE.test(value)) continue;
    throw new ConnectorError(
      "stop",
      `webhook(): the header ${JSON.stringify(name)} cannot be set: Rowmill sets it, or HTTP does not allow it.`,
    );
  }
  const login = Object.keys(headers).some((name) => /^authorization$/i.test(name)) ? null : basicLogin(url);
  const sent = { ...(login === null ? {} : { authorization: login }), ...headers };
  const values = Object.values(sent).flatMap((value) => [value, ...value.split(" ")]);
  const hidden = [...secrets, ...values, ...partsWithSecrets(url)];
  url.username = "";
  url.password = "";
  const receiver = { place: url.origin, redact: redactor(hidden) };
  return { url, keys, allowPrivate, headers: sent, receiver };
}

/** Never repeats the text: it may hold a password. */
function readUrl(text: string, allowPrivate: boolean): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol === "https:" || (url?.protocol === "http:" && allowPrivate)) return url;
  throw new ConnectorError("stop", "webhook(): `url` must be an address such as https://example.com/answers.", {
    hints: url?.protocol === "http:" ? ["For http: in a private network, set allowPrivate: true"] : [],
  });
}

function basicLogin({ username, password }: URL): string | null {
  if (username === "" && password === "") return null;
  return `Basic ${Buffer.from(`${percentDecoded(username)}:${percentDecoded(password)}`).toString("base64")}`;
}

/** The path and the query too: receivers put tokens there. */
function partsWithSecrets({ username, password, pathname, search }: URL): string[] {
  const parts = [username, password, ...pathname.split("/"), search.slice(1), ...search.slice(1).split(/[&=]/)];
  return parts.flatMap((part) => [part, percentDecoded(part)]);
}

/** Shorter texts are no secrets, and words of a message may hold them. */
const HIDDEN_CHARACTERS_MIN = 6;

function redactor(hidden: readonly string[]): (text: string) => string {
  const texts = [...new Set(hidden)]
    .filter(({ length }) => length >= HIDDEN_CHARACTERS_MIN)
    .sort((a, b) => b.length - a.length);
  return (text) => texts.reduce((clean, secret) => clean.replaceAll(secret, "[secret]"), text);
}
