/** Owns the SQL for a client's settings in the one session of the embedded database. Runs only between transactions. */
import type { Backend } from "./backend.js";
import type { Settings } from "./client-session.js";

/** Not in pg_settings, or not in RESET ALL; in the order in which they can be set. */
const IDENTITY = ["session_authorization", "role"];

/** Settings reported to every client at its start. Source: PostgreSQL's documentation, "Asynchronous Operations". */
const REPORTED = [
  "application_name",
  "client_encoding",
  "DateStyle",
  "default_transaction_read_only",
  "in_hot_standby",
  "integer_datetimes",
  "IntervalStyle",
  "is_superuser",
  "scram_iterations",
  "search_path",
  "server_encoding",
  "server_version",
  "session_authorization",
  "standard_conforming_strings",
  "TimeZone",
];

export async function readReported(backend: Backend): Promise<Settings> {
  const names = REPORTED.map((name) => `(${literal(name)})`).join(", ");
  const { rows } = await backend.query(`SELECT n, pg_catalog.current_setting(n) FROM (VALUES ${names}) AS v (n)`);
  return toSettings(rows);
}

/** All that differs from a fresh session. */
export async function readSettings(backend: Backend): Promise<Settings> {
  const { rows } = await backend.query(
    `SELECT name, setting FROM pg_catalog.pg_settings WHERE source = 'session'
     UNION ALL SELECT 'session_authorization', session_user WHERE session_user <> 'postgres'
     UNION ALL SELECT 'role', pg_catalog.current_setting('role') WHERE pg_catalog.current_setting('role') <> 'none'`,
  );
  return toSettings(rows);
}

/** RESET ALL leaves the role. By name, because PGlite's session has no authorization to reset to. */
export async function resetSettings(backend: Backend): Promise<void> {
  await backend.query("SET SESSION AUTHORIZATION postgres; RESET ROLE; RESET ALL");
}

/** @throws Error if the database refuses one, such as an unknown role */
export async function applySettings(backend: Backend, settings: Settings): Promise<void> {
  const names = [...settings.keys()].filter((name) => !IDENTITY.includes(name));
  // The identity comes last: another role may not be allowed to set the rest.
  const ordered = [...names, ...IDENTITY.filter((name) => settings.has(name))];
  const calls = ordered.map(
    (name) => `SELECT pg_catalog.set_config(${literal(name)}, ${literal(settings.get(name) ?? "")}, false)`,
  );
  await backend.query(calls.join("; "));
}

function toSettings(rows: readonly (string | null)[][]): Settings {
  return new Map(rows.map(([name, value]) => [name ?? "", value ?? ""]));
}

/** Safe with any `standard_conforming_strings`. */
function literal(text: string): string {
  return `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}
