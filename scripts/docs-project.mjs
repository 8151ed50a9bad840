/**
 * A place in which the commands of the documentation run as their reader would run them: an empty folder with Rowmill
 * installed in it, a fresh PostgreSQL 18 of its own, and the local Batch API server in the provider's place. Whatever
 * ends this process ends the server too. Needs a build in dist.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createJiti } from "jiti";
import pg from "pg";
import { startGateway } from "../dist/gateway/gateway.js";

export const repository = dirname(dirname(fileURLToPath(import.meta.url)));
const commandMsMax = 10 * 60_000;
/** Nothing of the caller's may decide where requests go, or which database is used. */
const variablesOfOurs = /^(?:DATABASE_URL|OPENAI_|PG|ROWMILL_)/;

/**
 * `gateway`: options of the Batch API server.
 * @returns the folder, a client of the database, and how to run commands and SQL in it; `close` takes all away.
 */
export async function startDocsProject({ gateway: gatewayOptions = {} } = {}) {
  const { startPostgresServer } = await createJiti(import.meta.url).import("../test/support/postgres-servers.ts");
  const server = await startPostgresServer("18");
  const folder = await realpath(await mkdtemp(join(tmpdir(), "rowmill-docs-")));
  const gateway = await startGateway({
    dataDir: join(folder, ".rowmill", "gateway"),
    demoModel: true,
    ...gatewayOptions,
  });
  const bin = await installRowmill(folder);
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !variablesOfOurs.test(name))),
    NO_COLOR: "1",
    PATH: `${bin}:${process.env["PATH"] ?? ""}`,
    DATABASE_URL: server.url,
    OPENAI_BASE_URL: gateway.url,
    OPENAI_API_KEY: "sk-of-the-documentation",
  };
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  return {
    folder,
    gateway,
    client,
    /** Of the commands; may be added to. */
    env,
    /** Resolves to what it printed, stdout and stderr in one; throws when it fails. */
    run: (command, args, options = {}) => run(command, args, { cwd: folder, env, ...options }),
    close: async () => {
      await client.end();
      await gateway.close();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** As `npm install rowmill` leaves it, without the network: hints of a command that was started by npx say so. */
async function installRowmill(folder) {
  const bin = join(folder, "node_modules", ".bin");
  const main = join(repository, "dist", "cli", "main.js");
  await mkdir(bin, { recursive: true });
  await symlink(repository, join(folder, "node_modules", "rowmill"));
  await chmod(main, 0o755);
  await symlink(main, join(bin, "rowmill"));
  return bin;
}

/** As psql shows the result of a query. */
export function asTable({ rows, fields }) {
  const names = fields.map((field) => field.name);
  const cells = rows.map((row) => names.map((name) => cellText(row[name])));
  const widths = names.map((name, index) => Math.max(name.length, ...cells.map((line) => line[index].length)));
  const line = (values) =>
    values
      .map((value, index) => value.padEnd(widths[index]))
      .join(" | ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("-+-");
  return [line(names), rule, ...cells.map(line)].join("\n");
}

function cellText(value) {
  if (value === null) return "";
  return Array.isArray(value) ? `{${value.join(",")}}` : String(value);
}

/** `show`: also on this terminal, as it comes. `accept`: the exit statuses that are no failure. */
export async function run(command, args, { show = false, accept = [0], ...options }) {
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: commandMsMax,
    ...options,
  });
  const ended = once(child, "close");
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      said += text;
      if (show) process.stdout.write(text);
    });
  }
  const [status, signal] = await ended;
  if (accept.includes(status)) return said;
  throw new Error(`${command} ${args.join(" ")} ended with ${signal ?? status}:\n${said}`);
}
