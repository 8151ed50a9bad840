import { PassThrough } from "node:stream";
import { afterEach, describe, expect, it, vi } from "vitest";
import { openFullScreen } from "../../src/cli/screen/live/full-screen.js";
import { watchFrame, type WatchFacts } from "../../src/cli/reports/watch-text.js";
import { pauseText } from "../../src/model/words/pause-text.js";
import type { BatchProgress } from "../../src/store/batches/batch-progress.js";

const NOW = new Date("2026-11-27T04:30:00.000Z");
const MINUTE = 60_000;
const same = (text: string): string => text;
const style = { bold: same, spell: same, now: NOW };
const npx = { ...style, spell: (text: string) => text.replaceAll(/(?<!npx )rowmill (?=[a-z])/g, "npx rowmill ") };
const sizes = {
  "80×24": { columns: 80, rows: 24 },
  "60×20": { columns: 60, rows: 20 },
};

function pipelineOf(no: number, more: Partial<WatchFacts["pipelines"][number]> = {}): WatchFacts["pipelines"][number] {
  return {
    id: no,
    name: `pipeline_number_${String(no).padStart(2, "0")}`,
    waiting: 0,
    batched: 0,
    succeeded: 10_000 + no,
    failed: 0,
    undecided: 0,
    refused: 0,
    unnamed: [],
    cancelled: 0,
    gone: 0,
    pauseKind: null,
    pauseReason: null,
    definitionHash: "a",
    approvedHash: "a",
    estimate: null,
    uninstalledAt: null,
    targetTable: "labels",
    batches: {},
    failing: 0,
    deadlineMs: null,
    isFlushed: false,
    nextLookMs: null,
    arrivals: 0,
    paused: null,
    heldBack: null,
    topFailure: null,
    ...more,
  };
}

function batchOf(no: number, more: Partial<BatchProgress> = {}): BatchProgress {
  return {
    id: `${String(no).padStart(8, "0")}-7971-43ff-8bac-311252b0f676`,
    pipeline: `pipeline_number_${String(no).padStart(2, "0")}`,
    state: "running",
    provider: "openai",
    requests: 1_000,
    ended: 0,
    since: new Date(NOW.getTime() - no * MINUTE),
    sinceMs: no * MINUTE,
    sentAt: new Date(NOW.getTime() - no * MINUTE),
    sentMs: no * MINUTE,
    providerStatus: "in_progress",
    providerCounts: { total: 1_000, completed: no * 50, failed: 1 },
    usualMs: 18 * MINUTE,
    trouble: null,
    failures: 0,
    cancelMs: null,
    nextLookMs: 20_000,
    ...more,
  };
}

const none: WatchFacts = {
  place: "127.0.0.1:5432/app",
  pipelines: [],
  money: [],
  batches: [],
  progress: [],
  held: [],
  overdue: [],
  waits: [],
  refusedPushes: [],
  syncs: [],
  deliveries: [],
  events: [],
  workers: [],
  promises: [],
  ended: { unfinished: 0, settled: 0, rejected: 0, cancelled: 0, succeeded: 0, failed: 0, returned: 0 },
};

const worker = { host: "app-1", pid: 4711, startedAt: NOW, configChangedAt: null };

const one: WatchFacts = {
  ...none,
  workers: [worker],
  pipelines: [pipelineOf(1, { name: "films", waiting: 12, batched: 1_000 })],
  progress: [batchOf(7, { pipeline: "films" })],
  ended: { ...none.ended, unfinished: 1, settled: 1, succeeded: 998, failed: 0, returned: 2 },
  events: [
    {
      at: NOW,
      pipeline: "films",
      batchId: batchOf(7).id,
      event: "submitting → running",
      reason: "the provider took it",
    },
  ],
};

const evil = "a\u001b[2Jb\nc";
const paused =
  "the prompt of the marketing team is under review until Monday. Resume it: rowmill resume pipeline_number_03";
const twelve: WatchFacts = {
  ...none,
  workers: [{ ...worker, configChangedAt: new Date("2026-11-27T04:29:10.000Z") }],
  pipelines: Array.from({ length: 12 }, (_, at) => {
    const no = at + 1;
    if (no === 3) return pipelineOf(no, { pauseKind: "person", pauseReason: paused.slice(0, 61), paused, waiting: 5 });
    if (no === 5) return pipelineOf(no, { failed: 40 });
    return pipelineOf(no, no % 4 === 0 ? { batched: 2_000 } : {});
  }),
  progress: [
    ...[4, 8, 12].map((no) => batchOf(no)),
    ...[4, 8].map((no) => batchOf(no + 20, { pipeline: `pipeline_number_0${no}`, state: "collecting", ended: 700 })),
    batchOf(12, {
      state: "submitting",
      sentAt: null,
      sentMs: null,
      providerCounts: null,
      failures: 4,
      trouble: { message: `Cannot reach the provider: ${evil}`, since: NOW, sinceMs: 10 * MINUTE },
    }),
  ],
  ended: { ...none.ended, unfinished: 6, settled: 33, rejected: 1, succeeded: 32_950, failed: 12, returned: 38 },
};

describe("A frame of rowmill status --watch", () => {
  it.each(Object.entries(sizes))("says at %s what to do where no pipeline is set up", (_, size) => {
    expect(watchFrame({ ...none, place: "db:5432/app" }, size, npx)).toEqual([
      "rowmill  2026-11-27 04:30:00 UTC  0 workers  db:5432/app",
      "! No worker is running, so nothing moves | npx rowmill up",
      "There are no pipelines yet. Set them up: npx rowmill up",
      "Ended batches: none",
    ]);
  });

  it("shows one pipeline with its batch and the last events at 80×24", () => {
    expect(watchFrame(one, sizes["80×24"], style).join("\n")).toMatchInlineSnapshot(`
      "rowmill  2026-11-27 04:30:00 UTC  1 worker  127.0.0.1:5432/app
      pipeline  waiting  batched  succeeded  failed  spent
      films          12    1,000     10,001       0  $0.00
      batch     pipeline  state         done  elapsed/usual
      00000007  films     running  351/1,000   7 min/18 min
      Ended batches: 1 done; rows: 998 succeeded, 2 sent again
      04:30:00  films 00000007: submitting → running (the provider took it)"
    `);
  });

  it("shows one pipeline with its batch and the last events at 60×20", () => {
    expect(watchFrame(one, sizes["60×20"], style).join("\n")).toMatchInlineSnapshot(`
      "rowmill  2026-11-27 04:30:00 UTC  1 worker  127.0.0.1:5432/…
      pipeline  waiting  batched  succeeded  failed  spent
      films          12    1,000     10,001       0  $0.00
      batch     pipeline  state         done  elapsed/usual
      00000007  films     running  351/1,000   7 min/18 min
      Ended batches: 1 done; rows: 998 succeeded, 2 sent again
      04:30:00  films 00000007: submitting → running (the provide…"
    `);
  });

  it("shows of 12 pipelines and 40 batches what needs attention and what moves at 80×24", () => {
    expect(watchFrame(twelve, sizes["80×24"], style).join("\n")).toMatchInlineSnapshot(`
      "rowmill  2026-11-27 04:30:00 UTC  1 worker  127.0.0.1:5432/app
      ! The config changed at 2026-11-27 04:29:10 UTC; process 4711 on app-1 still
        uses the previous one | rowmill up
      ! pipeline_number_03: paused: the prompt of the marketing team is under review
        until Monday | rowmill resume pipeline_number_03
      ! pipeline_number_12 00000012: failed 4 times in 10 min: Cannot reach the
        provider: a\\x1b[2Jb\\nc | rowmill status
      ✗ pipeline_number_05: 40 rows failed | rowmill failures pipeline_number_05
      pipeline            waiting  batched  succeeded  failed  spent
      pipeline_number_04        0    2,000     10,004       0  $0.00
      pipeline_number_08        0    2,000     10,008       0  $0.00
      pipeline_number_12        0    2,000     10,012       0  $0.00
      pipeline_number_03        5        0     10,003       0  $0.00
      pipeline_number_01        0        0     10,001       0  $0.00
      pipeline_number_02        0        0     10,002       0  $0.00
        … 6 more pipelines
      batch     pipeline            state            done  elapsed/usual
      00000004  pipeline_number_04  running     201/1,000   4 min/18 min
      00000008  pipeline_number_08  running     401/1,000   8 min/18 min
      00000012  pipeline_number_12  running     601/1,000  12 min/18 min
      00000024  pipeline_number_04  collecting  700/1,000  24 min/18 min
      00000028  pipeline_number_08  collecting  700/1,000  28 min/18 min
      00000012  pipeline_number_12  submitting    0/1,000         12 min
      Ended batches: 33 done, 1 refused; rows: 32,950 succeeded, 12 failed"
    `);
  });

  it("shows of 12 pipelines and 40 batches what needs attention and what moves at 60×20", () => {
    expect(watchFrame(twelve, sizes["60×20"], npx).join("\n")).toMatchInlineSnapshot(`
      "rowmill  2026-11-27 04:30:00 UTC  1 worker  127.0.0.1:5432/…
      ! The config changed at 2026-11-27 04:29:1… | npx rowmill up
      ! pipeline_number_03: paused: the prompt of the marketing t…
        npx rowmill resume pipeline_number_03
      ! pipeline_number_12 00000012: failed … | npx rowmill status
      ✗ pipeline_number_05: 40 rows failed
        npx rowmill failures pipeline_number_05
      pipeline          waiting  batched  succeeded  failed  spent
      pipeline_n…er_04        0    2,000     10,004       0  $0.00
      pipeline_n…er_08        0    2,000     10,008       0  $0.00
      pipeline_n…er_12        0    2,000     10,012       0  $0.00
      pipeline_n…er_03        5        0     10,003       0  $0.00
        … 8 more pipelines
      batch     pipeline      state            done  elapsed/usual
      00000004  pipeline…_04  running     201/1,000   4 min/18 min
      00000008  pipeline…_08  running     401/1,000   8 min/18 min
      00000012  pipeline…_12  running     601/1,000  12 min/18 min
      00000024  pipeline…_04  collecting  700/1,000  24 min/18 min
        … 2 more unfinished batches
      Ended batches: 33 done, 1 refused; rows: 32,950 succeeded"
    `);
  });

  const unreachable =
    "could not retrieve batch batch_9e7a395e5aad299d132395d01745fde5: no reply from http://127.0.0.1:4911/v1 " +
    "(ECONNREFUSED)";
  const failing = (failures: number): WatchFacts => {
    const trouble = { message: unreachable, since: NOW, sinceMs: 10 * MINUTE };
    return { ...one, progress: [batchOf(7, { pipeline: "films", trouble, failures })] };
  };

  it("says in full at 80×24 what is wrong, where only events need the room", () => {
    expect(watchFrame(failing(1), sizes["80×24"], npx).join("\n")).toMatchInlineSnapshot(`
      "rowmill  2026-11-27 04:30:00 UTC  1 worker  127.0.0.1:5432/app
      ! films 00000007: the last try failed: could not retrieve batch
        batch_9e7a395e5aad299d132395d01745fde5: no reply from http://127.0.0.1:4911/v1
        (ECONNREFUSED) | npx rowmill status
      pipeline  waiting  batched  succeeded  failed  spent
      films          12    1,000     10,001       0  $0.00
      batch     pipeline  state         done  elapsed/usual
      00000007  films     running  351/1,000   7 min/18 min
      Ended batches: 1 done; rows: 998 succeeded, 2 sent again
      04:30:00  films 00000007: submitting → running (the provider took it)"
    `);
  });

  it("says in full at 60×20 what is wrong, where only events need the room", () => {
    expect(watchFrame(failing(4), sizes["60×20"], npx).join("\n")).toMatchInlineSnapshot(`
      "rowmill  2026-11-27 04:30:00 UTC  1 worker  127.0.0.1:5432/…
      ! films 00000007: failed 4 times in 10 min: could not
        retrieve batch batch_9e7a395e5aad299d132395d01745fde5: no
        reply from http://127.0.0.1:4911/v1 (ECONNREFUSED)
        npx rowmill status
      pipeline  waiting  batched  succeeded  failed  spent
      films          12    1,000     10,001       0  $0.00
      batch     pipeline  state         done  elapsed/usual
      00000007  films     running  351/1,000   7 min/18 min
      Ended batches: 1 done; rows: 998 succeeded, 2 sent again
      04:30:00  films 00000007: submitting → running (the provide…"
    `);
  });

  it("shows a batch that someone cancels, and one that the provider has not counted yet", () => {
    const progress = [
      batchOf(7, { pipeline: "films", cancelMs: 3_000, providerStatus: "cancelling" }),
      batchOf(8, { pipeline: "films", providerCounts: { total: 0, completed: 0, failed: 0 } }),
    ];
    expect(watchFrame({ ...one, progress }, sizes["80×24"], style).slice(3, 6)).toEqual([
      "batch     pipeline  state           done  elapsed/usual",
      "00000007  films     canceling  351/1,000   7 min/18 min",
      "00000008  films     running      0/1,000   8 min/18 min",
    ]);
  });

  it.each([
    ["person", "by rowmill pause", "by rowmill pause", "rowmill resume films"],
    ["budget", "The budget of $5 per day is used up.", "The budget of $5 per day is used up", "rowmill up"],
    ["account", "Wrong key. Then: rowmill resume films", "Wrong key", "rowmill resume films"],
    ["provider", "Asked 3 times. To ask again: rowmill resume films", "Asked 3 times", "rowmill resume films"],
    ["source", "It has no column x.", "It has no column x", "rowmill resume films"],
    ["target", "No room. Then: rowmill resume films", "No room", "rowmill resume films"],
    ["deployment", "It may be a copy.", "It may be a copy", "rowmill deployment"],
    [
      "answers",
      "Fix pipelines.films.request, then: rowmill resume films",
      "Fix pipelines.films.request",
      "rowmill resume films",
    ],
  ] as const)("shows a pause of the kind %s with its reason and its command", (pauseKind, pauseReason, why, what) => {
    const paused = pauseText({ name: "films", pauseKind, pauseReason });
    expect(paused).toMatch(/: rowmill (?:resume films|up|deployment)$/);
    const pipeline = pipelineOf(1, { name: "films", pauseKind, pauseReason, paused });
    const frame = watchFrame({ ...none, workers: [worker], pipelines: [pipeline] }, sizes["80×24"], style);
    expect(frame[1]).toBe(`! films: paused: ${why} | ${what}`);
  });

  it("shows what waits for a decision or an approval, or is uninstalled, with its command", () => {
    const pipelines = [
      pipelineOf(1, { name: "films", undecided: 500 }),
      pipelineOf(2, { name: "others", paused: "waits for approval: 3 rows. Approve it: rowmill approve others" }),
      pipelineOf(3, { name: "old", paused: "uninstalled. To install its triggers again: rowmill up" }),
    ];
    expect(watchFrame({ ...none, workers: [worker], pipelines }, sizes["80×24"], style).slice(1, 5)).toEqual([
      "! others: waits for approval: 3 rows | rowmill approve others",
      "! old: uninstalled | rowmill up",
      "! films: 500 rows keep their answers to the previous config until you decide",
      "  rowmill approve films",
    ]);
  });

  it("fits every terminal, however small", () => {
    for (let columns = 1; columns <= 120; columns += 7)
      for (let rows = 1; rows <= 60; rows += 3)
        for (const facts of [none, one, twelve]) {
          const frame = watchFrame(facts, { columns, rows }, npx);
          expect(frame.length).toBeLessThanOrEqual(rows);
          expect(frame.filter((line) => line.length > columns)).toEqual([]);
          expect(frame.join("")).not.toMatch(/[\u0000-\u001f]/);
        }
  });
});

describe("The full screen", () => {
  const opened: { close(): void }[] = [];
  afterEach(() => {
    for (const screen of opened.splice(0)) screen.close();
    vi.restoreAllMocks();
  });

  function open(columns: number, rows: number) {
    const stream = Object.assign(new PassThrough(), { columns, rows });
    const written = (): string => {
      let text = "";
      for (let chunk: unknown; (chunk = stream.read()) !== null;) text += String(chunk);
      return text;
    };
    const screen = openFullScreen(stream);
    opened.push(screen);
    return { stream, screen, written };
  }

  it("draws in place on the alternate screen, again at each change of its size, and gives the terminal back once", () => {
    const { stream, screen, written } = open(20, 2);
    expect(written()).toBe("\u001b[?1049h\u001b[?25l\u001b[?7l");
    screen.show(({ columns, rows }) => [`${columns}`, `${rows}`, "more"]);
    expect(written()).toBe("\u001b[H\u001b[K20\r\n\u001b[K2");
    Object.assign(stream, { columns: 10, rows: 3 }).emit("resize");
    expect(written()).toBe("\u001b[H\u001b[K10\r\n\u001b[K3\r\n\u001b[Kmore");
    screen.show(() => ["one"]);
    expect(written()).toBe("\u001b[H\u001b[Kone\r\n\u001b[J");
    screen.close();
    screen.close();
    expect(written()).toBe("\u001b[?7h\u001b[?25h\u001b[?1049l");
    screen.show(() => ["late"]);
    stream.emit("resize");
    expect(written()).toBe("");
  });

  it("gives the terminal back while it is stopped by Ctrl-Z, and draws again after fg", () => {
    const { screen, written } = open(20, 2);
    screen.show(() => ["one"]);
    written();
    const kill = vi.spyOn(process, "kill").mockReturnValue(true);
    process.emit("SIGTSTP");
    expect(written()).toBe("\u001b[?7h\u001b[?25h\u001b[?1049l");
    expect(kill).toHaveBeenCalledWith(process.pid, "SIGSTOP");
    process.emit("SIGCONT");
    expect(written()).toBe("\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[H\u001b[Kone\r\n\u001b[J");
  });

  it("gives the terminal back when the process exits", () => {
    const { written } = open(20, 2);
    written();
    const listeners = process.listeners("exit");
    listeners.at(-1)?.call(process, 0);
    expect(written()).toBe("\u001b[?7h\u001b[?25h\u001b[?1049l");
  });
});
