/**
 * Owns fresh databases for tests, one kind as another: PostgreSQL 14 and 18 (servers of the run) and the embedded
 * database. What a test creates it drops; what it forgets goes with the run's servers.
 */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import pg from "pg";
import { describe, inject } from "vitest";
import { stopEmbedded } from "../../src/embedded/embedded.js";
import { openEmbedded } from "./built.js";
import { embeddedDataDir } from "./embedded-template.js";
import type { PostgresVersion } from "./postgres-binaries.js";
import type {} from "./global-setup.js";

export type DatabaseKind = "pg14" | "pg18" | "embedded";

export interface TestDatabase {
  readonly kind: DatabaseKind;
  /** A superuser's connection string, for `pg` and for Rowmill. */
  readonly url: string;
  /** Ends the connections that are left, and removes the database. */
  drop(): Promise<void>;
}

export const testsAll = process.env["ROWMILL_TEST_DATABASES"] === "all";

const versions = { pg14: "14", pg18: "18" } as const satisfies Record<string, PostgresVersion>;
/** Copying files takes half the processor time of writing them to the log, which is PostgreSQL's default since 15. */
const copying = { pg14: "", pg18: " STRATEGY file_copy" } as const;
const allKinds: readonly DatabaseKind[] = ["pg14", "pg18", "embedded"];

/**
 * For tests in which the database only keeps the books (what a provider, a target or a caller does, money, leases),
 * and for long suites: the newest server alone, since the third time tells nothing that the first did not. All three
 * where ROWMILL_TEST_DATABASES is "all", as one of CI's two runs has it.
 */
export const bookKeepers: readonly DatabaseKind[] = unlessAll(["pg18"]);

/** For everything else: the newest server and the embedded database. All three in the same place. */
export const newestKinds: readonly DatabaseKind[] = unlessAll(["pg18", "embedded"]);

/** Every member of a list where all databases are tested; otherwise only the first ones, since others say the same. */
export function variants<T>(all: readonly T[], first = 1): readonly T[] {
  return testsAll ? all : all.slice(0, first);
}

/** The kinds that this machine can run, for `describe.each(databaseKinds)("… on %s", (kind) => …)`. */
export const databaseKinds: readonly DatabaseKind[] = allKinds.filter((kind) => missingBecause(kind) === null);

/** One `describe` a kind; a kind that cannot run here appears as skipped, with the reason in its title. */
export function describeDatabases(
  title: string,
  body: (kind: DatabaseKind) => void,
  kinds: readonly DatabaseKind[] = newestKinds,
): void {
  for (const kind of kinds) {
    const reason = missingBecause(kind);
    if (reason === null) describe(`${title} on ${kind}`, () => body(kind));
    else describe.skip(`${title} on ${kind} (skipped: ${reason})`, () => body(kind));
  }
}

/**
 * A new database of that kind, empty unless a template is named. Nothing is shared with other databases but the
 * server.
 */
export async function createDatabase(kind: DatabaseKind, template = "template1"): Promise<TestDatabase> {
  if (kind === "embedded") return createEmbedded();
  const { url: serverUrl, missingBecause: reason } = inject("postgresServers")[versions[kind]];
  if (serverUrl === null) throw new Error(`${kind} cannot run here: ${reason}`);
  const name = `test_${randomBytes(6).toString("hex")}`;
  await runOnServer(serverUrl, `CREATE DATABASE ${name} TEMPLATE ${template}${copying[kind]}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return {
    kind,
    url: url.href,
    drop: () => runOnServer(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

async function createEmbedded(): Promise<TestDatabase> {
  const dataDir = await embeddedDataDir();
  const database = await openEmbedded({ dataDir });
  return {
    kind: "embedded",
    url: database.url,
    drop: async () => {
      await database.close();
      await stopEmbedded({ dataDir });
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/**
 * For tests in which the server's version matters and each costs much: the older one alone, both where all are asked
 * for.
 */
export const serverVersions: readonly PostgresVersion[] =
  process.env["ROWMILL_TEST_DATABASES"] === "all" ? ["14", "18"] : ["14"];

function unlessAll(kinds: readonly DatabaseKind[]): readonly DatabaseKind[] {
  return testsAll || missingBecause("pg18") !== null ? allKinds : kinds;
}

function missingBecause(kind: DatabaseKind): string | null {
  return kind === "embedded" ? null : inject("postgresServers")[versions[kind]].missingBecause;
}

async function runOnServer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
