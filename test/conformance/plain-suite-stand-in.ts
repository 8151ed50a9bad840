/** The stand-in of "plain" as the suite of providers wants it. */
import { plain } from "../support/plain-provider.js";
import type { PlainCall, PlainFault } from "../support/plain-faults.js";
import { PLAIN_KEY, startPlainStandIn, type PlainStandIn } from "../support/plain-stand-in.js";
import type { ConformanceStandIn, SuiteCall, SuiteFault } from "./provider-stand-in.js";

const CALLS: Readonly<Record<SuiteCall, PlainCall>> = {
  create: "create",
  list: "list",
  status: "get",
  results: "results",
  cancel: "stop",
};

export async function makePlainStandIn(): Promise<ConformanceStandIn> {
  let laterMs = 0;
  let held = false;
  const standIn = await startPlainStandIn({ clock: () => Date.now() + laterMs, hold: () => held });
  return suiteStandIn(standIn, {
    advance: (ms) => (laterMs += ms),
    nowMs: () => Date.now() + laterMs,
    hold: (isHeld) => {
      held = isHeld;
      if (!isHeld) standIn.batches.release();
    },
  });
}

interface Hands {
  readonly advance: (ms: number) => void;
  readonly nowMs: () => number;
  readonly hold: (isHeld: boolean) => void;
}

const noHands: Hands = { advance: () => undefined, nowMs: Date.now, hold: () => undefined };

/** `hands`: what reaches into the options that the stand-in was started with. */
export function suiteStandIn(standIn: PlainStandIn, hands: Hands = noHands): ConformanceStandIn {
  return {
    key: PLAIN_KEY,
    model: "plain-small",
    provider: ({ origin = standIn.url, ...timeouts } = {}) => plain({ url: origin, key: PLAIN_KEY, timeouts }),
    break: (call, at, fault, times = 1) => standIn.faults.add({ call: CALLS[call], at, fault: faultOf(fault), times }),
    fix: () => standIn.faults.clear(),
    hold: hands.hold,
    expire: (id, afterRequests) => Promise.resolve(standIn.batches.expire(id, afterRequests)),
    until: (id) => standIn.batches.until(id),
    advance: (ms) => Promise.resolve(hands.advance(ms)),
    nowSeconds: () => Math.floor(hands.nowMs() / 1_000),
    createForeign: (requests) => Promise.resolve(standIn.createForeign(requests).id),
    losePart: (id) => {
      const batch = standIn.batches.all.find((one) => one.id === id);
      if (batch !== undefined) batch.isDeleted = true;
      return Promise.resolve(0);
    },
    creates: () => Promise.resolve(standIn.calls.get("create") ?? 0),
    batches: () => Promise.resolve(standIn.batches.all.length),
    executed: () => Promise.resolve(standIn.executions.length),
    lying: () => {
      const ended = standIn.batches.all.filter(({ state, isDeleted }) => state === "finished" && !isDeleted);
      return Promise.resolve(ended.map(({ id }) => id));
    },
    shows: { uploads: false, input: false, cached: true },
    words: wordsOf(standIn),
    close: () => standIn.close(),
  };
}

function faultOf(fault: SuiteFault): PlainFault {
  return fault;
}

function wordsOf(standIn: PlainStandIn): ConformanceStandIn["words"] {
  const shown = async (id: string): Promise<object> => {
    const reply = await fetch(`${standIn.url}/batches/${id}`, { headers: { "x-plain-key": PLAIN_KEY } });
    return (await reply.json()) as object;
  };
  const error = (message: string) => ({ error: { kind: "other", message } });
  return {
    error,
    capacity: {
      kind: "reply",
      status: 429,
      body: { error: { kind: "queue_full", message: "Too many requests are queued." } },
    },
    page: async (entries, more) => {
      // No entry of plain's tells whose it is.
      const ids = entries.map((entry) => (typeof entry === "string" ? entry : (entry?.untold ?? null)));
      const entry = async (id: string | null) => (id === null ? { state: "working" } : await shown(id));
      const batches = await Promise.all(ids.map(entry));
      return { kind: "reply", status: 200, body: { batches, more, first: ids[0], last: ids.at(-1) } };
    },
    unnamed: () => Promise.resolve([]),
    answer: (id, { uncachedInput, cachedInput, shownOutput, reasoning }) => {
      const read = uncachedInput + cachedInput;
      const usage = { read, cached: cachedInput, written: shownOutput + reasoning };
      return JSON.stringify({
        id,
        result: { type: "good", text: "{}", stop: "end", model: "plain-small", usage },
      });
    },
    strangeBatch: async (id, word) => {
      const body = { ...(await shown(id)), state: word, made_at: "yesterday" };
      return { kind: "reply", status: 200, body };
    },
  };
}
