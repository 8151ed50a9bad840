/**
 * Sets the clock of the process that imports it first, without a right or a tool: `Date` is ahead of the true time by
 * so many ms, or behind it. What goes by `performance.now()` and timers is left alone, as a person who sets a
 * machine's clock leaves it. May be set again over IPC:
 * `{ clockAheadMs }`, answered by `clock set`. With `CRASH_NO_DATES` replies of servers have no Date header, as
 * behind some proxies.
 */
const TrueDate = Date;
let aheadMs = Number(process.env["CRASH_CLOCK_AHEAD_MS"] ?? 0);
const now = () => TrueDate.now() + aheadMs;

globalThis.Date = new Proxy(TrueDate, {
  construct: (target, given, as) => Reflect.construct(target, given.length === 0 ? [now()] : given, as),
  apply: () => new TrueDate(now()).toString(),
  get: (target, name) => (name === "now" ? now : Reflect.get(target, name)),
});

if (process.channel) {
  process.on("message", (message) => {
    aheadMs = message.clockAheadMs;
    process.send?.("clock set");
  });
  // Listening alone keeps no process alive.
  process.channel.unref();
}

if (process.env["CRASH_NO_DATES"] !== undefined) {
  const truly = globalThis.fetch;
  globalThis.fetch = async (...call) => {
    const reply = await truly(...call);
    const headers = new Headers(reply.headers);
    headers.delete("date");
    return new Response(reply.body, { status: reply.status, statusText: reply.statusText, headers });
  };
}
