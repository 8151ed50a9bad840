import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  buildCli,
  cliScript,
  filmsPipeline,
  serverKind,
  startCliProject,
  until,
  type CliProject,
} from "../support/cli.js";
import { createFilms, insertFilms } from "../support/cli-films.js";
import { variants } from "../support/databases.js";
import { startOnScreen, tmuxMissingBecause, type OnScreen, type Screen } from "../support/screen.js";

const sizes = [
  { columns: 80, rows: 24 },
  { columns: 60, rows: 20 },
] as const;
const looks = 2;

const ONE_PIPELINE = {
  80: `rowmill  DATE TIME UTC  1 worker  PLACE
pipeline  waiting  batched  succeeded  failed  spent
films           0        3          0       0  $0.00
batch     pipeline  state    done  elapsed/usual
ba7c4001  films     running   0/3  N s
Ended batches: none
HH:MM:SS  films: created
HH:MM:SS  films: approved (its estimate is not above approveAboveUsd)
HH:MM:SS  films ba7c4001: planned (flush)
HH:MM:SS  films ba7c4001: planned → uploading (3 lines, N bytes)
HH:MM:SS  films ba7c4001: uploading → submitting (the input file was uploaded)
HH:MM:SS  films ba7c4001: submitting → running (the provider took it)`,
  60: `rowmill  DATE TIME UTC  1 worker  PLACE
pipeline  waiting  batched  succeeded  failed  spent
films           0        3          0       0  $0.00
batch     pipeline  state    done  elapsed/usual
ba7c4001  films     running   0/3  N s
Ended batches: none
HH:MM:SS  films: created
HH:MM:SS  films: approved (its estimate is not above approv…
HH:MM:SS  films ba7c4001: planned (flush)
HH:MM:SS  films ba7c4001: planned → uploading (3 lines, N b…
HH:MM:SS  films ba7c4001: uploading → submitting (the input…
HH:MM:SS  films ba7c4001: submitting → running (the provide…`,
} as const;

const TWELVE_PIPELINES = {
  80: `rowmill  DATE TIME UTC  1 worker  PLACE
! pipeline_number_03: paused: the prompt of the marketing team is under review
  rowmill resume pipeline_number_03
pipeline            waiting  batched  succeeded  failed  spent
pipeline_number_06        0        3          0       0  $0.00
pipeline_number_07        0        3          0       0  $0.00
pipeline_number_08        0        3          0       0  $0.00
pipeline_number_09        0        3          0       0  $0.00
pipeline_number_10        0        3          0       0  $0.00
pipeline_number_11        0        3          0       0  $0.00
pipeline_number_12        0        3          0       0  $0.00
pipeline_number_01        3        0          0       0  $0.00
pipeline_number_02        3        0          0       0  $0.00
pipeline_number_03        3        0          0       0  $0.00
  … 2 more pipelines
batch     pipeline            state    done  elapsed/usual
${Array.from({ length: 7 }, () => "ba7c4001  pipeline_number_NN  running   0/3  N s").join("\n")}
Ended batches: none`,
  60: `rowmill  DATE TIME UTC  1 worker  PLACE
! pipeline_number_03: paused: the prompt of the marketing
  team is under review | rowmill resume pipeline_number_03
pipeline          waiting  batched  succeeded  failed  spent
pipeline_n…er_06        0        3          0       0  $0.00
pipeline_n…er_07        0        3          0       0  $0.00
pipeline_n…er_08        0        3          0       0  $0.00
pipeline_n…er_09        0        3          0       0  $0.00
pipeline_n…er_10        0        3          0       0  $0.00
pipeline_n…er_11        0        3          0       0  $0.00
  … 6 more pipelines
batch     pipeline            state    done  elapsed/usual
${Array.from({ length: 7 }, () => "ba7c4001  pipeline_number_NN  running   0/3  N s").join("\n")}
Ended batches: none`,
} as const;

beforeAll(buildCli, 150_000);

/** What differs from run to run, in as many characters where columns depend on them. */
function stable(lines: readonly string[]): string {
  return lines
    .map((line) =>
      line
        .replace(/^rowmill {2}\S+ \S+ UTC {2}(\d+ workers?) .*/, "rowmill  DATE TIME UTC  $1  PLACE")
        .replace(/^\d\d:\d\d:\d\d/, "HH:MM:SS")
        .replace(/\b[0-9a-f]{8}\b/, "ba7c4001")
        .replace(/\(3 lines, .*/, line.endsWith("…") ? "(3 lines, N b…" : "(3 lines, N bytes)")
        .replace(/ +\d+ s$/, "  N s")
        .replace(/^(ba7c4001 {2}pipeline_number_)\d\d/, "$1NN"),
    )
    .join("\n")
    .trimEnd();
}

describe("status --watch on a real terminal", { timeout: 120_000 }, () => {
  let project: CliProject;
  let screens: Screen[] = [];
  let isHeld = true;
  beforeEach(async ({ skip }) => {
    if (tmuxMissingBecause !== null) skip(tmuxMissingBecause);
    isHeld = true;
    const hold = ({ status }: { status: string }) => isHeld && status === "in_progress";
    project = await startCliProject(serverKind, { gateway: { faults: { hold } } });
    await createFilms(project);
  });
  afterEach(async () => {
    for (const screen of screens.splice(0)) await screen.close();
    screens = [];
    if (tmuxMissingBecause === null) await project.close();
  });

  async function watch(size: Pick<OnScreen, "columns" | "rows">): Promise<Screen> {
    const command = [process.execPath, cliScript, "status", "--watch"];
    const screen = await startOnScreen(command, {
      cwd: project.folder,
      env: { ...project.env, NO_COLOR: "1" },
      ...size,
    });
    screens.push(screen);
    await screen.shows(/^rowmill {2}/);
    return screen;
  }

  /** Several frames, of which each begins in the first row, and none scrolls. */
  async function holdsStill(screen: Screen): Promise<void> {
    for (let look = 0; look < looks; look++) {
      const [first = ""] = await screen.lines();
      expect(first).toMatch(/^rowmill {2}\d{4}-\d\d-\d\d /);
      await until("another frame", async () => (await screen.lines())[0] !== first);
    }
    expect(await screen.scrolled()).toBe(0);
  }

  it.each(variants(sizes))("shows one pipeline while its worker runs, at $columns×$rows", async (size) => {
    await project.writeConfig(filmsPipeline());
    await insertFilms(project, 3);
    const up = project.start("up", "--yes");
    await up.says("Working.");
    expect((await project.run("flush", "films")).status).toBe(0);
    const screen = await watch(size);
    await screen.shows(/running +0\/3 /);
    await holdsStill(screen);
    expect(stable(await screen.lines())).toBe(ONE_PIPELINE[size.columns]);
    isHeld = false;
    project.gateway.release();
    await screen.shows("rows: 3 succeeded");
    expect(await screen.scrolled()).toBe(0);
    await screen.press("C-c");
    expect(await screen.ended()).toBe(130);
  });

  it.each(variants(sizes))("shows twelve pipelines while their worker runs, at $columns×$rows", async (size) => {
    const names = Array.from({ length: 12 }, (_, at) => `pipeline_number_${String(at + 1).padStart(2, "0")}`);
    const pipelines = names.map(
      (name) => `${name}: pipeline({ source, polling, request, answer, target: { table: "${name}_labels" } })`,
    );
    await project.writeConfig(pipelines.join(", "));
    await insertFilms(project, 3);
    const up = project.start("up", "--yes");
    await up.says("Working.");
    await project.run("pause", "pipeline_number_03", "--reason", "the prompt of the marketing team is under review");
    for (const name of names.slice(5)) expect((await project.run("flush", name)).status).toBe(0);
    const screen = await watch(size);
    await until("the batches", async () => {
      const { batches } = await project.status();
      return batches.filter(({ state }) => state === "running").length === 7;
    });
    await holdsStill(screen);
    expect(stable(await screen.lines())).toBe(TWELVE_PIPELINES[size.columns]);
    const [other] = sizes.filter(({ columns }) => columns !== size.columns);
    await screen.resize(other ?? size);
    await until("the frame of the other size", async () => {
      const lines = stable(await screen.lines());
      return lines === TWELVE_PIPELINES[other?.columns ?? size.columns];
    });
    isHeld = false;
    project.gateway.release();
    await screen.shows("rows: 21 succeeded");
    await screen.press("C-c");
    expect(await screen.ended()).toBe(130);
  });
});
