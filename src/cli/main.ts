#!/usr/bin/env node
/** The process behind `rowmill`: runs one command, reports its error, and ends with its status. */
import { exitStatusOf } from "./exit-status.js";
import { buildProgram, statusOfParsing } from "./program.js";
import { reportError } from "./report-error.js";
import { openTerminal } from "./terminal.js";

// Whoever read our output has seen enough (`| head`). A worker without its log goes on.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
process.stderr.on("error", () => undefined);

const terminal = openTerminal();
let status = 0;
try {
  await buildProgram({ terminal, finish: (finished) => (status = finished) }).parseAsync();
} catch (error) {
  status = statusOfParsing(error) ?? exitStatusOf(error);
  if (statusOfParsing(error) === null) reportError(terminal, error);
}
// The config is a program of the user's: a timer that it left running must not keep this process alive.
process.exit(status);
