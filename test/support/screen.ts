/** A program in a real terminal of a given size, by tmux: what is on its screen, what scrolled off, and its keys. */
import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { until, type Variables } from "./cli.js";

const callMsMax = 10_000;

/** Null: it can be started here. */
export const tmuxMissingBecause: string | null = whyMissing();

function whyMissing(): string | null {
  try {
    execFileSync("tmux", ["-V"], { stdio: "ignore", timeout: callMsMax });
    return null;
  } catch {
    return "tmux is not installed; on Debian: apt-get install tmux";
  }
}

/** Without the alternate screen, what scrolls off is seen in the history whatever the program asks for. */
const settings = `set -g status off
set -g remain-on-exit on
set -g remain-on-exit-format ""
set -g alternate-screen off
`;

/** Keeps the status: tmux itself may miss it. Its own Ctrl-C is the program's. */
const shell = 'trap : INT; "$@"; echo "$?" >"$0"';

export interface Screen {
  /** As many lines as the terminal has, without the spaces at their ends. */
  lines(): Promise<string[]>;
  /** How many lines scrolled off. */
  scrolled(): Promise<number>;
  /** Names of keys, as `Enter` and `C-c`; other text is typed. */
  press(...keys: readonly string[]): Promise<void>;
  resize(size: { readonly columns: number; readonly rows: number }): Promise<void>;
  /** Resolves when the screen shows it. */
  shows(text: string | RegExp): Promise<void>;
  /** The exit status, once it has ended. */
  ended(): Promise<number>;
  close(): Promise<void>;
}

export interface OnScreen {
  readonly cwd: string;
  readonly env: Variables;
  readonly columns: number;
  readonly rows: number;
}

export async function startOnScreen(
  command: readonly string[],
  { cwd, env, columns, rows }: OnScreen,
): Promise<Screen> {
  // Short: the path of a socket has at most about 100 characters.
  const folder = await mkdtemp(join(tmpdir(), "rowmill-tmux-"));
  const config = join(folder, "tmux.conf");
  await writeFile(config, settings);
  const given = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const variables = {
    PATH: process.env["PATH"] ?? "",
    HOME: process.env["HOME"] ?? folder,
    LC_ALL: "C.UTF-8",
    ...Object.fromEntries(given),
  };
  const tmux = async (...args: readonly string[]): Promise<string> => {
    const all = ["-u", "-f", config, "-S", join(folder, "socket"), ...args];
    return (await promisify(execFile)("tmux", all, { env: variables, timeout: callMsMax })).stdout;
  };
  const size = ["-x", String(columns), "-y", String(rows)];
  const status = join(folder, "status");
  await tmux("new-session", "-d", ...size, "-c", cwd, "sh", "-c", shell, status, ...command);
  const written = () => readFile(status, "utf8").catch(() => "");
  const lines = async () => (await tmux("capture-pane", "-p")).replace(/\n$/, "").split("\n");
  const value = async (name: string) => (await tmux("display-message", "-p", `#{${name}}`)).trim();
  return {
    lines,
    scrolled: async () => Number(await value("history_size")),
    press: async (...keys) => void (await tmux("send-keys", "--", ...keys)),
    resize: async (to) => void (await tmux("resize-window", "-x", String(to.columns), "-y", String(to.rows))),
    shows: (text) =>
      until(`${String(text)} on the screen`, async () => {
        const seen = (await lines()).join("\n");
        return typeof text === "string" ? seen.includes(text) : text.test(seen);
      }),
    ended: async () => {
      await until("its end", async () => (await written()).endsWith("\n"));
      return Number(await written());
    },
    close: async () => {
      await tmux("kill-server");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
