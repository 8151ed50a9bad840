import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { judgeNames } from "../../src/app/doctor/config-checks.js";
import {
  judgeEncoding,
  judgePooler,
  judgeSearchPath,
  judgeTls,
  judgeVersion,
} from "../../src/app/doctor/database-checks.js";
import { CHECKS } from "../../src/app/doctor/examine.js";
import { judgeClock, judgeDisk, judgeNode } from "../../src/app/doctor/machine-checks.js";
import { explainFailure, passesByItself, type ConnectionFacts } from "../../src/postgres/failure.js";
import { ProviderError } from "../../src/model/provider/provider.js";
import { judgeModel, judgeRefusal } from "../../src/providers/openai/diagnose.js";
import { judgeReplicaRole, postingBody } from "../../src/sources/table/diagnose-triggers.js";

const remote: ConnectionFacts = {
  addressFrom: "DATABASE_URL",
  host: "db.abcdefgh.supabase.co",
  port: 5432,
  user: "postgres",
  database: "postgres",
  sslMode: "prefer",
  sslModeFrom: null,
  rootCertFile: null,
  rootCertFrom: null,
};

describe("The doctor's judgement", () => {
  it("of Node.js goes by what package.json says", async () => {
    const manifest: { engines: { node: string } } = JSON.parse(
      await readFile(resolve(import.meta.dirname, "../../package.json"), "utf8"),
    );
    const [, min = ""] = /^>=(\d+\.\d+)$/.exec(manifest.engines.node) ?? [];
    const [major = 0, minor = 0] = min.split(".").map(Number);
    expect(judgeNode(`${major}.${minor}.0`).level).toBe("ok");
    expect(judgeNode(`${major}.${minor - 1}.9`)).toMatchObject({
      level: "problem",
      fixes: [`Install Node.js ${min} or later: https://nodejs.org`],
    });
    expect(judgeNode(`${major - 1}.99.0`).level).toBe("problem");
    expect(judgeNode(`${major + 1}.0.0`).level).toBe("ok");
  });

  it.each([
    [5e9, "ok", "5 GB free in /x"],
    [999e6, "warning", "999 MB free in /x."],
    [20e6, "problem", "20 MB free in /x."],
  ])("of a disk with %d bytes is %s", (bytes, level, text) => {
    expect(judgeDisk(bytes, "/x")).toMatchObject({ level, text });
  });

  it.each([
    [140_000, "ok"],
    [130_022, "problem"],
  ])("of PostgreSQL %d is %s", (number, level) => {
    expect(judgeVersion(number, "13.22").level).toBe(level);
  });

  it("of an encoding takes UTF8 alone", () => {
    expect(judgeEncoding("UTF8").level).toBe("ok");
    expect(judgeEncoding("SQL_ASCII")).toMatchObject({
      level: "problem",
      text: "The database's encoding is SQL_ASCII; Rowmill needs UTF8.",
    });
  });

  it.each([
    ["disable", true, "warning"],
    ["prefer", false, "warning"],
    ["prefer", true, "ok"],
    ["prefer", null, "ok"],
    ["require", true, "ok"],
    ["verify-full", true, "ok"],
  ])("of sslmode=%s to another machine, encrypted: %s, is %s", (sslMode, encrypted, level) => {
    expect(judgeTls({ ...remote, sslMode }, encrypted).level).toBe(level);
    expect(judgeTls({ ...remote, sslMode, host: "127.0.0.1" }, encrypted).level).toBe("ok");
  });

  it("names who switched TLS off", () => {
    expect(judgeTls({ ...remote, sslMode: "disable", sslModeFrom: "PGSSLMODE" }, false).text).toBe(
      'Off, because PGSSLMODE is "disable": anyone on the network between this machine and db.abcdefgh.supabase.co can read and change your rows.',
    );
  });

  it("knows Supabase's transaction pooler by its port", () => {
    expect(judgePooler({ port: 6543 }, true).text).toBe(
      "connected through a transaction pooler (port 6543), which Rowmill supports",
    );
    expect(judgePooler({ port: 5432 }, false).text).toBe("none: a direct connection");
  });

  it("names each role that may create where the user looks names up, as REVOKE takes it", () => {
    const open = [
      { schema: 'od"d', grantee: "public", owns: false },
      { schema: "app", grantee: '"App Owner"', owns: false },
      { schema: "theirs", grantee: "them", owns: true },
    ];
    expect(judgeSearchPath(open).map(({ level, sql }) => [level, ...sql])).toEqual([
      ["warning", 'revoke create on schema "od""d" from public;'],
      ["warning", 'revoke create on schema "app" from "App Owner";'],
      ["warning"],
    ]);
    expect(judgeSearchPath([]).map(({ level }) => level)).toEqual(["ok"]);
  });

  it("names variables only where the one that is read is not set", () => {
    expect(judgeNames({ ORG_ID: "o", OPENAI_ORG_ID: "o", OPENAI_API_BASE: "" })).toEqual([]);
    expect(judgeNames({ ORG_ID: "o", OPENAI_API_BASE: "b" }).map((finding) => finding.text)).toEqual([
      "ORG_ID is set, but Rowmill reads OPENAI_ORG_ID, which is not set.",
      "OPENAI_API_BASE is set, but Rowmill reads OPENAI_BASE_URL, which is not set.",
    ]);
  });

  it("names no variable of a provider that no pipeline asks", () => {
    expect(judgeNames({ ORG_ID: "o", OPENAI_KEY: "k" }, { pipelines: [] })).toEqual([]);
  });

  it("of a clock allows what the question took", () => {
    expect(judgeClock("the database's clock", { aheadMs: 61_000, unsureMs: 2_000 }).level).toBe("ok");
    expect(judgeClock("the database's clock", { aheadMs: 90_000, unsureMs: 2_000 }).text).toBe(
      "The database's clock is 90 s ahead of this machine's.",
    );
  });

  it("of a model that is not listed is a problem at OpenAI, and a warning elsewhere", () => {
    expect(judgeModel("gpt-4o", ["gpt-4o-mini"], "https://api.openai.com/v1").level).toBe("problem");
    expect(judgeModel("gpt-4o", ["gpt-4o-mini"], "http://127.0.0.1:1/v1").level).toBe("warning");
  });

  it.each([
    ["account", 401, "problem"],
    ["account", 403, "warning"],
    ["notFound", 404, "warning"],
    ["ambiguous", 503, "problem"],
  ] as const)("of a list of models that is refused with %s %d is a %s", (kind, status, level) => {
    expect(judgeRefusal(new ProviderError(kind, "no", { status }), "https://h/v1")).toMatchObject({
      about: "key",
      level,
    });
  });

  it.each([
    ["role", { role: "app", database: null }, 'alter role "app" reset session_replication_role;'],
    [
      "role and database",
      { role: "app", database: "db" },
      'alter role "app" in database "db" reset session_replication_role;',
    ],
    ["everybody", { role: null, database: null }, "alter role all reset session_replication_role;"],
  ])("of triggers that never fire for a %s says how to take it back", (_, setting, statement) => {
    expect(judgeReplicaRole({ here: true, settings: [setting] })[0]?.sql).toEqual([statement]);
  });

  it.each([
    ["net.http_post(url := 'u')", [], true],
    ["select content from http(('POST', 'u')::http_request)", [], true],
    ["-- http_post('u')\nreturn new;", [], false],
    [
      "perform a();",
      [
        { name: "a", body: "perform b();" },
        { name: "b", body: "perform net.http_post('u')" },
      ],
      true,
    ],
    ["perform a();", [{ name: "a", body: "perform a();" }], false],
    ["insert into https (a) values (1)", [], false],
  ])("of a trigger that runs %j", (body, functions, isPosting) => {
    expect(postingBody(body, functions) !== null).toBe(isPosting);
  });
});

describe("The doctor's list of checks", () => {
  it("has each check once, after all that it needs", () => {
    const ids = CHECKS.map((check) => check.id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [index, check] of CHECKS.entries())
      for (const need of check.needs) expect(ids.slice(0, index), `${check.id} needs ${need}`).toContain(need);
  });
});

describe("An error of the database", () => {
  const explain = (failure: Partial<Parameters<typeof explainFailure>[0]>, facts: ConnectionFacts | null = remote) =>
    explainFailure({ sqlState: null, errorCode: null, message: "", ...failure }, facts);

  it.each([
    [{ errorCode: "ENETUNREACH" }, /has no route to.*\n.*Supabase's direct host has only IPv6 addresses/],
    [{ errorCode: "ENOTFOUND" }, /check its name in DATABASE_URL/],
    [{ sqlState: "XX000", message: "Tenant or user not found" }, /postgres\.PROJECT_REF/],
    [
      {
        sqlState: "28000",
        message: 'no pg_hba.conf entry for host "h", user "u", database "d", no encryption',
      },
      /accepts only TLS from here/,
    ],
    [
      { message: "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string" },
      /DATABASE_URL has none for the user "postgres"/,
    ],
    [{ errorCode: "ERR_TLS_CERT_ALTNAME_INVALID" }, /sslmode=verify-ca/],
    [{ sqlState: "53300" }, /max_connections/],
    [{ sqlState: "25006" }, /primary/],
    [{ sqlState: "42501" }, /rowmill up --print-sql/],
    [{ message: "Query read timeout" }, /long transactions/],
    [{ sqlState: "57014" }, /a short statement_timeout, raise it for the user "postgres".*\n.*long transactions/],
    [{ sqlState: "57P01" }, /was restarted/],
  ])("that is %j comes with a fix", (failure, expected) => {
    expect(explain(failure).hints.join("\n")).toMatch(expected);
    expect(explain(failure, null).hints.join("\n")).not.toMatch(/undefined|null/);
  });

  it.each<[Partial<Parameters<typeof explainFailure>[0]>, boolean]>([
    [{ errorCode: "ECONNREFUSED" }, true],
    [{ errorCode: "ECONNRESET" }, true],
    [{ errorCode: "ENOENT", message: "connect ENOENT /run/postgresql/.s.PGSQL.5432" }, true],
    [{ errorCode: "EAI_AGAIN" }, true],
    [{ errorCode: "ETIMEDOUT" }, true],
    [{ message: "Connection terminated unexpectedly" }, true],
    [{ message: "Connection terminated due to connection timeout" }, true],
    [{ message: "Client has encountered a connection error and is not queryable" }, true],
    [{ message: "Query read timeout" }, true],
    ...["57P01", "57P02", "57P03", "53100", "53200", "53300", "08006"].map(
      (sqlState): [{ sqlState: string }, boolean] => [{ sqlState }, true],
    ),
    [{ sqlState: "08P01", message: "server login has been failing, try again later (server_login_retry)" }, true],
    [{ sqlState: "08P01", message: "no such user" }, false],
    [{ errorCode: "ENOTFOUND" }, false],
    [{ errorCode: "ENETUNREACH" }, false],
    [{ errorCode: "SELF_SIGNED_CERT_IN_CHAIN" }, false],
    [{ errorCode: "ERR_SSL_WRONG_VERSION_NUMBER" }, false],
    [{ message: "The server does not support SSL connections" }, false],
    [{ message: "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string" }, false],
    ...["28P01", "28000", "3D000", "42501", "25006", "57014", "XX000"].map(
      (sqlState): [{ sqlState: string }, boolean] => [{ sqlState }, false],
    ),
  ])("that is %j passes by itself: %s", (failure, passes) => {
    expect(passesByItself({ sqlState: null, errorCode: null, message: "", ...failure })).toBe(passes);
  });

  it("that is unknown comes without a fix", () => {
    expect(explain({ sqlState: "22P02", message: "invalid input syntax" })).toEqual({
      lead: null,
      hints: [],
    });
  });
});
