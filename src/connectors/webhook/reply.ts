/** What a receiver's reply says of the changes that it was sent. Pure. */
import { z } from "zod";
import { ConnectorError, type Change, type Written } from "../../model/connector.js";
import { proseLine } from "../../model/words/one-line.js";
import { storableText } from "../../model/words/storable-text.js";
import { retryAfterMs } from "../../model/retry-after.js";

export interface Reply {
  readonly status: number;
  /** By their names in lower case. */
  readonly header: (name: string) => string | null;
  /** Null: it was longer than we read. */
  readonly body: string | null;
}

const RETRY_AFTER_MS_MAX = 3_600_000;
const WORDS_CHARACTERS_MAX = 300;

/** For messages: where the receiver is, and how to hide what must not be shown. */
export interface Receiver {
  /** `https://host:port`. */
  readonly place: string;
  redact(text: string): string;
}

/** @throws ConnectorError where it says nothing of single changes */
export function readReply(reply: Reply, changes: readonly Change[], receiver: Receiver): Written {
  const { status } = reply;
  const keys = changes.map(({ key }) => key);
  if (status === 207) return readStatuses(reply, new Set(keys), receiver);
  if (status >= 200 && status < 300) return { ...NOTHING, written: keys };
  if (isStale(status)) return { ...NOTHING, stale: keys.map((key) => ({ key, fence: null })) };
  throw refusal(reply, receiver);
}

export const NOTHING: Written = { written: [], stale: [], changed: [], busy: [], failed: [] };

function isStale(status: number): boolean {
  return status === 409 || status === 412;
}

/** The receiver had no time or no room. */
function passes(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500;
}

function refusal(reply: Reply, receiver: Receiver): ConnectorError {
  const { status } = reply;
  const said = `The web hook at ${receiver.place} answered HTTP ${status}${wordsOf(reply, receiver)}`;
  if (passes(status)) {
    const asked = { retryAfter: reply.header("retry-after"), date: reply.header("date") };
    return new ConnectorError("again", `${said}.`, { retryAfterMs: retryAfterMs(asked, RETRY_AFTER_MS_MAX) });
  }
  const hint = hintOf(status);
  return new ConnectorError("stop", `${said}.`, hint === null ? {} : { hints: [hint] });
}

function hintOf(status: number): string | null {
  if (status >= 300 && status < 400)
    return "Rowmill follows no redirect: set `url` to the address that it redirects to.";
  if (status === 401 || status === 403) return "Check the secret, the URL and the headers of the web hook.";
  if (status === 404 || status === 405) return "Check the URL: it must accept POST.";
  if (status === 410) return "The receiver wants no more deliveries. Ask its owner, or remove this target.";
  if (status === 413) return "Allow bodies of 1 MB at the receiver: its framework or proxy may allow less.";
  return null;
}

/** The receiver's own words, which may repeat what it was sent. */
function wordsOf({ body }: Reply, { redact }: Receiver): string {
  const words = proseLine(storableText(redact(body ?? "").slice(0, WORDS_CHARACTERS_MAX)).trim());
  return words === "" || words.startsWith("<") ? "" : `: ${words}`.replace(/\.$/, "");
}

const STATUS = z.object({
  key: z.string(),
  status: z.int(),
  reason: z.string().optional().catch(undefined),
  fence: z
    .union([z.string().regex(/^\d{1,19}$/), z.int().nonnegative().transform(String)])
    .nullish()
    .catch(null),
});
const STATUSES = z.union([z.array(STATUS), z.object({ results: z.array(STATUS) }).transform(({ results }) => results)]);

type Status = z.infer<typeof STATUS>;

/** A key that is left out, or that was there for a moment only, is tried again. */
function readStatuses({ body }: Reply, keys: ReadonlySet<string>, receiver: Receiver): Written {
  const parsed = STATUSES.safeParse(parsedJson(body));
  if (!parsed.success)
    throw new ConnectorError(
      "stop",
      `The web hook at ${receiver.place} answered HTTP 207 without a JSON body of statuses that Rowmill can read.`,
      { hints: ['It must be {"results": [{"key": "…", "status": 200}, …]} with a status for each key.'] },
    );
  const last = new Map(parsed.data.filter(({ key }) => keys.has(key)).map((status) => [status.key, status]));
  const said = [...last.values()];
  const keysOf = (chosen: (status: number) => boolean) =>
    said.filter(({ status }) => chosen(status)).map(({ key }) => key);
  const isRefused = (status: number) => status >= 300 && status < 500 && !isStale(status) && !isBusy(status);
  return {
    written: keysOf((status) => status >= 200 && status < 300),
    stale: said.filter(({ status }) => isStale(status)).map(({ key, fence }) => ({ key, fence: fence ?? null })),
    changed: [],
    busy: keysOf(isBusy),
    failed: said
      .filter(({ status }) => isRefused(status))
      .map((status) => ({ key: status.key, reason: reasonOf(status, receiver) })),
  };
}

function isBusy(status: number): boolean {
  return [408, 423, 425, 429, 503].includes(status);
}

function reasonOf({ status, reason = "" }: Status, { redact }: Receiver): string {
  const words = storableText(redact(reason).slice(0, WORDS_CHARACTERS_MAX)).trim();
  return words === "" ? `the web hook answered status ${status}` : words;
}

function parsedJson(text: string | null): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}
