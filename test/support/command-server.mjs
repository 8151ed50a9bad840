/**
 * The built command line, loaded once and run as often as a test asks: a process of its own for each command would
 * spend a second on loading. Each command has its own folder, variables and output. Ends with the process that forked
 * it.
 */
import process from "node:process";
import { reportError } from "../../dist/cli/screen/report-error.js";
import { exitStatusOf } from "../../dist/cli/screen/exit-status.js";
import { buildProgram, statusOfParsing } from "../../dist/cli/program.js";
import { openTerminal } from "../../dist/cli/screen/terminal.js";

process.on("disconnect", () => process.exit());
process.on("message", ({ args, cwd, env }) => {
  void run(args, cwd, env).then((ended) => process.send?.(ended));
});

async function run(args, cwd, env) {
  process.chdir(cwd);
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, env);
  const beganAt = performance.now();
  // `up` takes a comparison that was wanted after its process began for its own.
  process.uptime = () => (performance.now() - beganAt) / 1_000;
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"])
    process[name].write = (text, ...rest) => {
      output[name] += text;
      rest.find((value) => typeof value === "function")?.();
      return true;
    };
  return { status: await statusOf(args), ...output };
}

/** As `main.ts` ends the process. */
async function statusOf(args) {
  const terminal = openTerminal();
  let status = 0;
  try {
    await buildProgram({ terminal, finish: (finished) => (status = finished) }).parseAsync(args, {
      from: "user",
    });
  } catch (error) {
    const ofParsing = statusOfParsing(error);
    if (ofParsing !== null) return ofParsing;
    reportError(terminal, error);
    return exitStatusOf(error);
  }
  return status;
}
