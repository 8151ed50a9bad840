import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { inspect, promisify } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { connectionOptions, describeServer } from "../../src/config/database/connection.js";
import { readEnvironment } from "../../src/config/load/environment.js";
import { PreferTlsSocket } from "../../src/config/database/prefer-tls-socket.js";
import { describeDatabases } from "../support/databases.js";
import { startPostgresServer, type PostgresServer } from "../support/postgres-servers.js";

const openssl = (args: readonly string[]) => promisify(execFile)("openssl", args);

/** PostgreSQL 18 as all test files have it: without TLS. */
const plain = inject("postgresServers")["18"];

const describePg18 = (title: string, body: () => void) => describeDatabases(title, body, ["pg18"]);

let folder: string;
let encrypted: PostgresServer | null = null;

/** A server with TLS 1.3 whose certificate names 127.0.0.1 only and comes from a CA of its own; and another CA. */
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "rowmill-tls-"));
  if (plain.url === null) return;
  for (const name of ["ca", "other-ca"]) await makeAuthority(name);
  await makeServerCertificate();
  const read = (name: string) => readFile(path.join(folder, name), "utf8");
  encrypted = await startPostgresServer("18", {
    settings: { ssl: "on", ssl_min_protocol_version: "TLSv1.3" },
    files: { "server.crt": await read("server.crt"), "server.key": await read("server.key") },
  });
});

afterAll(async () => {
  await encrypted?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function makeAuthority(name: string): Promise<void> {
  const files = ["-keyout", path.join(folder, `${name}.key`), "-out", path.join(folder, `${name}.crt`)];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl(["req", "-x509", "-days", "2", "-subj", `/CN=${name}`, ...key, ...files]);
}

async function makeServerCertificate(): Promise<void> {
  const at = (name: string) => path.join(folder, name);
  await writeFile(at("names"), "subjectAltName=IP:127.0.0.1");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", at("server.key")];
  await openssl(["req", "-subj", "/CN=server", ...key, "-out", at("server.csr")]);
  const authority = ["-CA", at("ca.crt"), "-CAkey", at("ca.key"), "-CAcreateserial"];
  await openssl([
    "x509",
    "-req",
    "-days",
    "2",
    "-in",
    at("server.csr"),
    ...authority,
    "-extfile",
    at("names"),
    "-out",
    at("server.crt"),
  ]);
}

function options(url: string, parameters = "", variables: Record<string, string> = {}): pg.ClientConfig {
  const text = parameters === "" ? url : `${url}?${parameters.replaceAll("$DIR", folder)}`;
  return connectionOptions({ kind: "server", url: text }, readEnvironment(variables));
}

/** Whether the server sees the connection as encrypted; or the error of the attempt. */
async function attempt(config: pg.ClientConfig): Promise<boolean | string> {
  const client = new pg.Client(config);
  try {
    await client.connect();
    const { rows } = await client.query<{ ssl: boolean }>("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    return rows[0]?.ssl ?? "no row";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await client.end();
  }
}

const untrusted = expect.stringMatching(/self.signed|unable to (verify|get)/i);
const wrongName = expect.stringMatching(/does not match certificate's altnames/i);

describePg18("TLS to a server with a CA of its own", () => {
  const url = () => encrypted?.url ?? "";
  const byName = () => url().replace("127.0.0.1", "localhost");

  test.each([
    ["", true],
    ["sslmode=disable", false],
    ["sslmode=allow", true],
    ["sslmode=prefer", true],
    ["sslmode=require", true],
    ["ssl=true", true],
    ["ssl=false", false],
    ["sslmode=require&sslrootcert=$DIR/ca.crt", true],
    ["sslmode=require&sslrootcert=$DIR/other-ca.crt", untrusted],
    ["sslmode=verify-ca&sslrootcert=$DIR/ca.crt", true],
    ["sslmode=verify-ca&sslrootcert=$DIR/other-ca.crt", untrusted],
    ["sslmode=verify-full&sslrootcert=$DIR/ca.crt", true],
    ["sslmode=verify-full&sslrootcert=$DIR/other-ca.crt", untrusted],
    ["sslmode=verify-full", untrusted],
    ["sslrootcert=system", untrusted],
  ])("with %j in the URL is as libpq has it", async (parameters, expected) => {
    expect(await attempt(options(url(), parameters))).toEqual(expected);
  });

  test("checks the server's name with verify-full, and only with it", async () => {
    const root = "sslrootcert=$DIR/ca.crt";
    expect(await attempt(options(byName(), `sslmode=verify-full&${root}`))).toEqual(wrongName);
    expect(await attempt(options(byName(), `sslmode=verify-ca&${root}`))).toBe(true);
    expect(await attempt(options(byName(), `sslmode=require&${root}`))).toBe(true);
    expect(await attempt(options(byName(), "sslmode=prefer"))).toBe(true);
  });

  test("takes PGSSLMODE and PGSSLROOTCERT where the URL says nothing, and the URL before them", async () => {
    const full = { PGSSLMODE: "verify-full", PGSSLROOTCERT: path.join(folder, "ca.crt") };
    expect(await attempt(options(url(), "", full))).toBe(true);
    expect(await attempt(options(byName(), "", full))).toEqual(wrongName);
    expect(await attempt(options(byName(), "sslmode=verify-ca", full))).toBe(true);
    expect(await attempt(options(url(), "sslmode=disable", full))).toBe(false);
    expect(await attempt(options(url(), "sslrootcert=$DIR/other-ca.crt", full))).toEqual(untrusted);
  });

  test("is not changed by pg's own reading of PGSSLMODE", async () => {
    process.env["PGSSLMODE"] = "verify-full";
    onTestFinished(() => {
      delete process.env["PGSSLMODE"];
    });
    expect(await attempt(options(url(), "sslmode=disable"))).toBe(false);
    expect(await attempt(options(url()))).toBe(true);
  });

  test("with prefer continues in the clear when the handshake fails, as libpq does", async () => {
    const handshakeThatFails = { rejectUnauthorized: false, maxVersion: "TLSv1.2" } as const;
    const stream = () => new PreferTlsSocket(handshakeThatFails);
    expect(await attempt({ ...options(url()), stream })).toBe(false);
  });
});

describePg18("a server without TLS", () => {
  const url = plain.url ?? "";

  test.each([
    ["", false],
    ["sslmode=prefer", false],
    ["sslmode=allow", false],
    ["sslmode=disable", false],
    ["sslmode=require", "The server does not support SSL connections"],
    ["sslmode=verify-full", "The server does not support SSL connections"],
  ])("with %j in the URL is as libpq has it", async (parameters, expected) => {
    expect(await attempt(options(url, parameters))).toBe(expected);
  });
});

describePg18("the socket of prefer", () => {
  describe.each(["with", "without"])("%s TLS", (kind) => {
    const url = () => (kind === "with" ? encrypted?.url : plain.url) ?? "";

    test("carries many queries of many connections, and large ones both ways", async () => {
      const pool = new pg.Pool({ ...options(url()), max: 5 });
      onTestFinished(() => pool.end());
      const sums = Array.from({ length: 200 }, (_, n) => pool.query<{ sum: number }>("SELECT $1::int + 1 AS sum", [n]));
      const results = await Promise.all(sums);
      expect(results.map(({ rows }) => rows[0]?.sum)).toEqual(Array.from({ length: 200 }, (_, n) => n + 1));
      const large = "0123456789abcdef".repeat(500_000);
      const { rows } = await pool.query<{ same: boolean; text: string }>(
        "SELECT $1::text = $2 AS same, $1::text AS text",
        [large, large],
      );
      expect(rows[0]?.same).toBe(true);
      expect(rows[0]?.text === large).toBe(true);
    });

    test("tells pg when the server ends the connection", async () => {
      const client = new pg.Client(options(url()));
      await client.connect();
      const ended = new Promise((resolve) => client.once("end", resolve));
      const failure = once(client, "error");
      await expect(client.query("SELECT pg_terminate_backend(pg_backend_pid())")).rejects.toThrow(/terminat/);
      await failure;
      await ended;
    });

    test("reports a wrong password as such", async () => {
      const wrong = new URL(url());
      wrong.password = "wrong";
      expect(await attempt(options(wrong.href))).toMatch(/password authentication failed/);
    });
  });
});

describe("the socket of prefer", () => {
  async function serverThat(answers: (socket: net.Socket) => void): Promise<string> {
    const server = net.createServer((socket) => {
      socket.on("error", () => socket.destroy());
      answers(socket);
    });
    onTestFinished(() => void server.close());
    await once(server.listen(0, "127.0.0.1"), "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("not a TCP server");
    return `postgres://u@127.0.0.1:${address.port}/db`;
  }

  test.each(["Sxyz", "E", "HTTP/1.1 400 Bad Request"])("refuses a server that answers %j", async (answer) => {
    const url = await serverThat((socket) => socket.on("data", () => socket.write(answer)));
    expect(await attempt(options(url))).toBe(
      "The server did not answer the request for TLS as a PostgreSQL server does",
    );
  });

  test("fails when the server hangs up without an answer", async () => {
    const url = await serverThat((socket) => socket.on("data", () => socket.end()));
    expect(await attempt(options(url))).toMatch(/terminated unexpectedly/);
  });

  test("is given up at pg's connect time-out when the server never answers", async () => {
    const url = await serverThat(() => undefined);
    expect(await attempt(options(url, "connect_timeout=1"))).toMatch(/timeout/);
  });

  test("fails when no server listens", async () => {
    const probe = net.createServer();
    await once(probe.listen(0, "127.0.0.1"), "listening");
    const address = probe.address();
    await new Promise((resolve) => probe.close(resolve));
    if (address === null || typeof address === "string") throw new Error("not a TCP server");
    expect(await attempt(options(`postgres://u@127.0.0.1:${address.port}/db`))).toMatch(/ECONNREFUSED/);
  });
});

describe("connectionOptions", () => {
  const url = "postgres://user:s3cret%2F@db.example:6543/app";

  test("takes the parts of the URL, decoded, and no TLS parameter reaches pg", () => {
    const config = options(url, "application_name=mine&sslmode=require&options=-c%20geqo=off&pgbouncer=true");
    expect(config).toMatchObject({
      user: "user",
      host: "db.example",
      port: 6543,
      database: "app",
      application_name: "mine",
    });
    expect(config).toMatchObject({
      options: "-c geqo=off",
      ssl: { rejectUnauthorized: false },
      keepAlive: true,
    });
    expect(Object.keys(config).filter((key) => /sslmode|connectionString|pgbouncer/.test(key))).toEqual([]);
    expect(new pg.Client(config)).toMatchObject({ host: "db.example", port: 6543 });
  });

  test("shows no password when printed, and gives it to pg", async () => {
    const config = options(url);
    expect(inspect(config, { depth: 9, showHidden: true }) + JSON.stringify(config)).not.toContain("s3cret");
    const { password } = { ...config };
    expect(typeof password === "function" ? await password() : password).toBe("s3cret/");
  });

  test("uses no TLS on a Unix socket, whatever the mode", () => {
    const config = options("postgres://u@/app", "host=/run/postgresql&sslmode=verify-full");
    expect(config).toMatchObject({ host: "/run/postgresql", ssl: false });
    expect(config.stream).toBeUndefined();
  });

  test.each([
    ["sslmode=verify_full", /sslmode: found "verify_full".*did you mean "verify-full"/],
    ["sslmod=require", /found "sslmod".*did you mean "sslmode"/],
    ["sslmode=verify-ca", /sslrootcert: found nothing.*verify-ca needs/],
    ["sslmode=require&sslrootcert=/nowhere/ca.pem", /sslrootcert: found "\/nowhere\/ca.pem" \(ENOENT/],
    ["sslmode=require&sslrootcert=system", /sslmode: found "require".*verify-full/],
    ["sslmode=require&sslcert=/nowhere/a.pem&sslkey=/nowhere/b.pem", /2 mistakes/],
    ["ssl=no-verify", /ssl: found "no-verify"/],
  ])("refuses %s, without the URL", (parameters, message) => {
    const load = () => options(url, parameters);
    expect(load).toThrow(message);
    expect(load).not.toThrow(/s3cret|db\.example/);
  });

  test("names the server for messages without user, password and parameters", () => {
    expect(describeServer({ kind: "server", url: `${url}?sslmode=require` })).toBe("db.example:6543/app");
  });
});
