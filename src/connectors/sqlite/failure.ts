/** Errors of the driver, in words of ours. No message repeats a URL or a token. */
import { ConnectorError } from "../../model/connector.js";
import type { Place } from "./place.js";

/** As the driver's process reports it. */
export interface DriverFailure {
  readonly message: string;
  readonly code?: string | number;
  readonly rawCode?: number;
  readonly extendedCode?: string;
}

export class DriverError extends Error {
  override readonly name = "DriverError";
  /** Such as `SQLITE_BUSY`. */
  readonly code: string;

  constructor({ message, code = "" }: DriverFailure) {
    super(message.replace(/^(?:SQLITE_[A-Z_]+: )+/, ""));
    this.code = String(code);
  }
}

/** Another program holds a lock. */
export function isBusy(error: unknown): boolean {
  return error instanceof DriverError && /^SQLITE_(?:BUSY|LOCKED|PROTOCOL)/.test(error.code);
}

/** The table was dropped or changed after it was looked at: the next look refuses what lasts. */
export function isChangedTable(error: unknown): boolean {
  return (
    error instanceof DriverError && /^no such (?:table|column)|has no column|does not match any/.test(error.message)
  );
}

/** The row is at fault: a constraint, a type of a STRICT table, or its size. */
export function isOfRow({ code = "" }: DriverFailure): boolean {
  return /^SQLITE_(?:CONSTRAINT|MISMATCH|TOOBIG)/.test(String(code));
}

const BUSY_HINT = "Rowmill continues when the other program commits or ends.";

/** Any error, as a ConnectorError where it is one of the database. `isReading`: Rowmill opened it only to read. */
export function explain(error: unknown, place: Place, { isReading = false } = {}): unknown {
  if (!(error instanceof DriverError)) return error;
  const { code, message } = error;
  const failure = (kind: "again" | "stop", words: string, hints: readonly string[] = []) =>
    new ConnectorError(kind, `${place.shown}: ${words}`, { cause: error, hints });
  if (isBusy(error)) return failure("again", "another program has locked the database.", [BUSY_HINT]);
  if (place.kind === "server") return explainServer(error, failure);
  // Its writer crashed: only one that may write can repair that.
  if (isReading && code.startsWith("SQLITE_READONLY"))
    return failure("again", "a program that wrote to it has crashed, and Rowmill only reads it.", [
      "Open the file once with the program that writes it: that repairs it.",
    ]);
  if (/^SQLITE_(?:NOTADB|CORRUPT)/.test(code))
    return failure("stop", `it is not a complete SQLite database (${message}).`, [
      "Replace such a file by renaming a complete one. Do not copy over it while it is used.",
    ]);
  if (/^SQLITE_(?:READONLY|PERM|AUTH)/.test(code))
    return failure("stop", `Rowmill may not write there (${message}).`, [
      "The user that runs Rowmill needs the right to write to the file and to its folder.",
    ]);
  if (code.startsWith("SQLITE_CANTOPEN") || /Unable to open connection|ConnectionFailed/.test(message))
    return failure("again", "the file cannot be opened.", [
      "The user that runs Rowmill needs the right to read the file. In WAL mode it needs to write to the folder too.",
    ]);
  if (code.startsWith("SQLITE_ERROR")) return failure("stop", `${message}.`);
  return failure("again", `${message}.`);
}

function explainServer(
  { code, message }: DriverError,
  failure: (kind: "again" | "stop", words: string, hints?: readonly string[]) => ConnectorError,
): ConnectorError {
  const [, status = ""] = /HTTP status (\d+)/.exec(message) ?? [];
  if (/^40[13]$/.test(status) || /^SQLITE_AUTH|unauthorized|jwt/i.test(`${code} ${message}`))
    return failure("stop", "the server refused the token.", ["Set `authToken` from a variable of the environment."]);
  if (status === "404") return failure("stop", "the server does not have this database.");
  if (/^(?:SQLITE_(?:ERROR|READONLY)|SQL_PARSE_ERROR)/.test(code)) return failure("stop", `${message}.`);
  // A failed fetch may repeat the address.
  if (code === "" || status !== "") return failure("again", `the server cannot be reached${status && ` (${status})`}.`);
  return failure("again", `${message}.`);
}
