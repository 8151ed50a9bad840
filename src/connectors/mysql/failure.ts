/** What an error of MySQL or MariaDB means, by its number. */
import { ConnectorError } from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";

interface ServerError extends Error {
  readonly code: string;
  /** Absent: it did not come from the server. */
  readonly errno?: number;
  readonly sqlState?: string;
  readonly sqlMessage?: string;
}

/**
 * It passes, or the next look says what is wrong: a login (1045, 1698), too many connections (1040, 1203, 1226), a
 * shutdown (1053, 1077), a broken packet (1158 to 1161), a lock (1205, 1213), a stopped query (1317, 1969, 3024), a
 * server that only reads (1290, 1792, 1836), a table that changed or that two workers changed (1050, 1051, 1054, 1060,
 * 1146, 1412, 1615, 1684).
 */
const PASSING = new Set([
  1040, 1045, 1050, 1051, 1053, 1054, 1060, 1077, 1146, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 1290, 1317,
  1412, 1615, 1684, 1698, 1792, 1836, 1927, 1969, 3024,
]);
const LOCKS = new Set([1205, 1213]);
/** Of one row: null, type, length, characters, JSON, CHECK, foreign key, another unique index, a trigger's SIGNAL. */
const OF_ROWS = new Set([1265, 1292, 1364, 1366, 1367, 1411, 1525, 1644, 3140, 3156, 3819, 4025, 4078]);
const RIGHTS = new Set([1044, 1045, 1142, 1143, 1227, 1698]);
const NO_TLS = "HANDSHAKE_NO_SSL_SUPPORT";

function isServerError(error: unknown): error is ServerError {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}

function errnoOf(error: unknown): number {
  return isServerError(error) && error.sqlState !== undefined ? (error.errno ?? 0) : 0;
}

/** A lock, for which someone else waits or which someone else holds. */
export function isLocked(error: unknown): boolean {
  return LOCKS.has(errnoOf(error));
}

/** A deadlock says nothing of one row. */
export function isDeadlock(error: unknown): boolean {
  return errnoOf(error) === 1213;
}

export function isRefusedRight(error: unknown): boolean {
  return RIGHTS.has(errnoOf(error));
}

export function isDuplicateColumn(error: unknown): boolean {
  return errnoOf(error) === 1060;
}

/** Why a row cannot be written; null: the error is not one of single rows. */
export function reasonOf(error: unknown): string | null {
  if (!isServerError(error) || error.sqlMessage === undefined) return null;
  const isOfRow = OF_ROWS.has(error.errno ?? 0) || /^(?:22|23|45)/.test(error.sqlState ?? "");
  return isOfRow ? error.sqlMessage : null;
}

/** Any error, as a ConnectorError where it is one of the server or of its table. */
export function connectorError(error: unknown, place: string): unknown {
  if (error instanceof RowmillError || !isServerError(error)) return error;
  const isOfServer = error.sqlState !== undefined;
  if (isOfServer) {
    const kind = PASSING.has(error.errno ?? 0) ? "again" : "stop";
    return new ConnectorError(kind, `${place}: ${error.sqlMessage ?? error.message}`, {
      cause: error,
      hints: RIGHTS.has(error.errno ?? 0) ? ["Check the user and its rights: rowmill doctor"] : [],
    });
  }
  if (error.code === NO_TLS)
    return new ConnectorError("stop", `${place}: the server offers no TLS.`, {
      cause: error,
      hints: ["If the network between is yours alone, add ?ssl-mode=DISABLED to the url."],
    });
  if (isOfCertificate(error))
    return new ConnectorError("stop", `${place}: the server's certificate cannot be trusted: ${error.message}.`, {
      cause: error,
      hints: [
        "Name the file of its authority in the url: ?ssl-ca=/path/to/ca.pem",
        "If its name differs from the host's: ?ssl-mode=VERIFY_CA",
      ],
    });
  const text = error.message === "" ? error.code : error.message;
  return new ConnectorError("again", `${place}: ${text}`, { cause: error });
}

function isOfCertificate({ code, message }: ServerError): boolean {
  return (
    /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS/.test(code) ||
    (code === "HANDSHAKE_SSL_ERROR" && /certificate|altnames/i.test(message))
  );
}
