#!/usr/bin/env node
/** The process behind `rowmill`: runs one command, reports its error, and ends with its status. */
import { departInOrder } from "./screen/departure.js";

departInOrder();
// Only now: loading them takes long enough for a Ctrl-C.
const { exitStatusOf } = await import("./screen/exit-status.js");
const { buildProgram, statusOfParsing } = await import("./program.js");
const { reportError } = await import("./screen/report-error.js");
const { openTerminal } = await import("./screen/terminal.js");

const terminal = openTerminal();
let status = 0;
try {
  await buildProgram({ terminal, finish: (finished) => (status = finished) }).parseAsync();
} catch (error) {
  status = statusOfParsing(error) ?? exitStatusOf(error);
  if (statusOfParsing(error) === null) reportError(terminal, error);
}
// A pipe takes 64 KB at once; the rest would be lost.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((taken) => stream.write("", taken))));
// The config is the user's program: a timer that it left running must not keep this process alive.
process.exit(status);
