/** `rowmill status`: every pipeline and batch. Reads only, and needs no API key. */
import { setTimeout as sleep } from "node:timers/promises";
import type { OpenedDatabase } from "../../../app/open/open-database.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { loadProject, notSetUp, requireBroughtForward, withLedger, type Project } from "../../project.js";
import { readFacts, readFrame, statusObject } from "../../reports/status-facts.js";
import { renderStatus } from "../../reports/status-text.js";
import { watchFrame } from "../../reports/watch-text.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import type { FullScreen } from "../../screen/live/full-screen.js";
import { interruptible } from "../../screen/interruption.js";

const WATCH_EVERY_MS = 2_000;
/** Reading may take at most a tenth of the time. */
const WATCH_REST_FACTOR = 10;
/** The longest that the same object is not printed again: only a write shows that its reader is gone. */
const REPEAT_MS = 5_000;

export interface StatusOptions extends ProjectOptions {
  readonly json?: true;
  readonly watch?: true;
}

export async function runStatus(cli: Cli, options: StatusOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  if (options.watch) return watch(cli, project, options);
  return withLedger(project, async (opened) => {
    if (opened !== null) await requireBroughtForward(opened.database);
    if (options.json) {
      cli.terminal.data(JSON.stringify(await statusObject(project, opened)));
      return EXIT_STATUS.ok;
    }
    if (opened === null) throw notSetUp();
    const lines = await cli.terminal.during("Reading the status", () => statusLines(cli, project, opened));
    for (const line of lines) cli.terminal.print(line);
    return EXIT_STATUS.ok;
  });
}

/** Ends when the interruption throws. */
async function watch(cli: Cli, project: Project, options: StatusOptions): Promise<number> {
  let screen: FullScreen | null = null;
  try {
    return await interruptible(cli.terminal, null, (signal) =>
      withLedger(project, async (opened) => {
        if (opened === null && !options.json) throw notSetUp();
        if (opened !== null) await requireBroughtForward(opened.database);
        const showJson = jsonLines(cli);
        if (!options.json) screen = cli.terminal.fullScreen();
        for (;;) {
          const startedAtMs = performance.now();
          if (options.json || opened === null) showJson(JSON.stringify(await statusObject(project, opened)));
          else if (screen === null)
            for (const line of [...(await statusLines(cli, project, opened)), ""]) cli.terminal.print(line);
          else await redraw(cli, screen, { project, opened });
          const tookMs = performance.now() - startedAtMs;
          await rest(Math.max(WATCH_EVERY_MS, tookMs * WATCH_REST_FACTOR), signal);
        }
      }),
    );
  } finally {
    closeScreen(screen);
  }
}

/** As a function: the compiler does not see where it was opened. */
function closeScreen(screen: FullScreen | null): void {
  screen?.close();
}

async function rest(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}

/** One object a line: when it changes, and unchanged from time to time. */
function jsonLines(cli: Cli): (text: string) => void {
  let before = { text: "", atMs: -Infinity };
  return (text) => {
    if (text === before.text && performance.now() - before.atMs < REPEAT_MS) return;
    cli.terminal.data(text);
    before = { text, atMs: performance.now() };
  };
}

async function redraw(
  { terminal }: Cli,
  screen: FullScreen,
  { project, opened }: { project: Project; opened: OpenedDatabase },
): Promise<void> {
  const facts = await readFrame(project, opened);
  const style = { bold: terminal.bold, spell: terminal.spell, now: new Date() };
  screen.show((size) => watchFrame(facts, size, style));
}

async function statusLines(cli: Cli, project: Project, opened: OpenedDatabase): Promise<string[]> {
  return renderStatus(await readFacts(project, opened), cli.terminal);
}
