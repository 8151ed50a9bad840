/**
 * The service that takes pushed rows, of the built package, in a process of its own. The test arms it over IPC with
 * `{ at, action }`: at that step of what comes next, counted from 1, it is killed, or says `cut` and waits until the
 * test has ended its connections. Steps are before each statement, before each commit and after it. Says its URL when
 * it listens.
 */
import { once } from "node:events";
import { pino } from "pino";
import { connectionOptions } from "../../dist/config/database/connection.js";
import { readEnvironment } from "../../dist/config/load/environment.js";
import { openDatabase } from "../../dist/postgres/database.js";
import { startService } from "../../dist/service/listen.js";

/** @type {{ at: number, action: "kill" | "cut" } | null} */
let armed = null;
let steps = 0;

process.on("message", (message) => {
  if (message === "go on") return;
  [armed, steps] = [message, 0];
  process.send?.("armed");
});

async function step() {
  steps += 1;
  if (armed === null || steps !== armed.at) return;
  if (armed.action === "kill") process.kill(process.pid, "SIGKILL");
  process.send?.("cut");
  await once(process, "message");
}

const QUERIES = ["rows", "first", "column", "value", "number", "run"];

function stepping(tx) {
  const ask = (name) => async (statement) => {
    await step();
    return tx[name](statement);
  };
  return Object.fromEntries(QUERIES.map((name) => [name, ask(name)]));
}

function inSteps(database) {
  const transaction = async (work, options) => {
    const result = await database.transaction(async (tx) => {
      const done = await work(stepping(tx));
      await step();
      return done;
    }, options);
    await step();
    return result;
  };
  const alone = (name) => (statement) => transaction((tx) => tx[name](statement));
  return { ...database, ...Object.fromEntries(QUERIES.map((name) => [name, alone(name)])), transaction };
}

const url = process.env["DATABASE_URL"] ?? "";
const database = openDatabase(connectionOptions({ kind: "server", url }, readEnvironment(process.env)));
const log = pino({ level: process.env["TEST_LOG"] ?? "silent" }, pino.destination(2));
const service = await startService(inSteps(database), { address: { host: "127.0.0.1", port: 0 }, log });
process.send?.(service.url);
