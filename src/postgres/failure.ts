/**
 * What an error of the database means and what to do about it: by SQLSTATE, or the code of the operating system or TLS.
 * Pure. Repeats nothing of a URL but host, port, user and database.
 */

/** Where a connection goes, and who said so. Never the password. */
export interface ConnectionFacts {
  /** `DATABASE_URL`, or `database` in the config. */
  readonly addressFrom: string;
  readonly host: string;
  readonly port: number;
  /** Null: the URL names none; the driver takes PGUSER, or the user of the operating system. */
  readonly user: string | null;
  readonly database: string | null;
  readonly sslMode: string;
  /** `PGSSLMODE`, `sslmode in DATABASE_URL`, …; null: it is not set, and `prefer` holds. */
  readonly sslModeFrom: string | null;
  readonly rootCertFile: string | null;
  readonly rootCertFrom: string | null;
}

export interface DatabaseFailure {
  /** Five characters; null when the server never answered. */
  readonly sqlState: string | null;
  /** `ECONNREFUSED`, `SELF_SIGNED_CERT_IN_CHAIN`, …; null when there is none. */
  readonly errorCode: string | null;
  readonly message: string;
}

export interface Explanation {
  /** Begins the sentence that the failure's message completes; null: the caller's own words do. */
  readonly lead: string | null;
  /** One sentence each. */
  readonly hints: readonly string[];
}

interface Rule {
  applies(failure: DatabaseFailure): boolean;
  readonly lead?: string;
  hints(at: Words, failure: DatabaseFailure): readonly string[];
}

/** The facts as parts of a sentence, with a substitute where one is unknown. */
interface Words {
  readonly address: string;
  readonly host: string;
  readonly place: string;
  readonly user: string;
  readonly database: string;
  readonly tls: string;
  readonly rootCert: string | null;
}

export function explainFailure(failure: DatabaseFailure, facts: ConnectionFacts | null): Explanation {
  const rule = RULES.find((candidate) => candidate.applies(failure));
  if (rule === undefined) return { lead: null, hints: [] };
  return { lead: rule.lead ?? null, hints: rule.hints(wordsOf(facts), failure) };
}

/** A connection that failed (08), no room for one (53), a server that starts or stops (57P01 to 57P03). */
const PASSING_STATES = /^(?:08(?:000|00[136])|53\d{3}|57P0[123])$/;
/** `ENOENT`: the socket of a server that does not run. Not `ENOTFOUND`: an unknown name is misspelled. */
const PASSING_CODES = ["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EAI_AGAIN", "ENOENT"];
/** The driver's errors have no code; PgBouncer's about the server behind it all have 08P01. */
const PASSING_WORDS = /Connection terminated|connection error and is not queryable|timeout/;
const PASSING_BEHIND_POOLER = /cannot connect to server|server_login_retry|server conn crashed|query_wait_timeout/;

/** Whether to try again with nothing changed: not after a refused login, missing TLS or an unknown name. */
export function passesByItself({ sqlState, errorCode, message }: DatabaseFailure): boolean {
  if (sqlState === "08P01") return PASSING_BEHIND_POOLER.test(message);
  if (sqlState !== null) return PASSING_STATES.test(sqlState);
  return errorCode === null ? PASSING_WORDS.test(message) : PASSING_CODES.includes(errorCode);
}

function wordsOf(facts: ConnectionFacts | null): Words {
  const address = facts?.addressFrom ?? "the database's URL";
  return {
    address,
    host: facts?.host ?? "",
    place: facts === null ? "that address" : `${facts.host}:${facts.port}`,
    user: facts?.user == null ? "the user" : `the user "${facts.user}"`,
    database: facts?.database ?? "",
    tls:
      facts === null || facts.sslModeFrom === null
        ? "sslmode"
        : `${facts.sslModeFrom} (${JSON.stringify(facts.sslMode)})`,
    rootCert: facts?.rootCertFile == null ? null : `${facts.rootCertFrom ?? "sslrootcert"} (${facts.rootCertFile})`,
  };
}

const ENCODINGS = "its characters : / ? # [ ] @ % are written as %3A %2F %3F %23 %5B %5D %40 %25";
const UNTRUSTED = /^(SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_(VERIFY|GET_ISSUER)|CERT_(UNTRUSTED|SIGNATURE))/;
const SUPABASE_DIRECT = /^db\.[a-z0-9]+\.supabase\.co$/;
const LOOPBACK = /^(localhost|127\.|::1$)/;

function byCode(...codes: string[]): Rule["applies"] {
  return (failure) => failure.sqlState === null && codes.includes(failure.errorCode ?? "");
}

function byState(...states: string[]): Rule["applies"] {
  return (failure) => failure.sqlState !== null && states.includes(failure.sqlState);
}

function byWords(pattern: RegExp): Rule["applies"] {
  return (failure) => pattern.test(failure.message);
}

const NETWORK_RULES: readonly Rule[] = [
  {
    applies: byCode("ECONNREFUSED", "ENOENT"),
    hints: (at) => [
      `Nothing listens at ${at.place}: check host and port in ${at.address}, and that the server runs.`,
      ...(LOOPBACK.test(at.host)
        ? ["Inside a container this host is the container itself: name the database's own host."]
        : []),
    ],
  },
  {
    applies: byCode("ENOTFOUND", "EAI_AGAIN"),
    hints: (at) => [`That host has no address: check its name in ${at.address}.`, ...supabaseHint(at)],
  },
  {
    applies: byCode("ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL"),
    hints: (at) => [
      `This machine has no route to ${at.place}: check the host in ${at.address}, the network and the VPN.`,
      ...supabaseHint(at),
    ],
  },
  {
    applies: (failure) =>
      failure.errorCode === "ETIMEDOUT" ||
      (failure.sqlState === null && /connect.*timeout|timeout.*connect/i.test(failure.message)),
    hints: (at) => [
      `No answer from ${at.place}: check host and port in ${at.address}. ` +
        "A firewall or a list of allowed addresses may block this machine.",
    ],
  },
];

function supabaseHint(at: Words): string[] {
  return SUPABASE_DIRECT.test(at.host)
    ? [
        "Supabase's direct host has only IPv6 addresses. On a network without IPv6, use the URL of its " +
          "session pooler (Connect, Session pooler).",
      ]
    : [];
}

const TLS_RULES: readonly Rule[] = [
  {
    applies: byWords(/server does not support SSL connections/),
    lead: "The database offers no TLS",
    hints: (at) => [
      `${at.tls} asks for TLS: turn TLS on at the server, or set sslmode=disable on a network that you trust.`,
    ],
  },
  {
    applies: byWords(/request for TLS as PostgreSQL does/),
    lead: "This is not PostgreSQL",
    hints: (at) => [`Something else listens at ${at.place}: check host and port in ${at.address}.`],
  },
  {
    applies: (failure) => UNTRUSTED.test(failure.errorCode ?? ""),
    lead: "The server's certificate is not trusted",
    hints: (at) => [
      at.rootCert === null
        ? "Name the file of the authority that signed it: PGSSLROOTCERT=/path/to/ca.crt, or sslrootcert in the URL. " +
          "Supabase has it under Database Settings, SSL Configuration."
        : `The authority in ${at.rootCert} did not sign it: name the right file there.`,
    ],
  },
  {
    applies: byCode("CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"),
    lead: "The server's certificate is not valid today",
    hints: () => ["Renew it at the server. If it is still valid, this machine's clock is wrong."],
  },
  {
    applies: byCode("ERR_TLS_CERT_ALTNAME_INVALID"),
    lead: "The server's certificate is for another name",
    hints: (at) => [
      `Write the host in ${at.address} as in the certificate, or check only who signed it: sslmode=verify-ca.`,
    ],
  },
  {
    applies: (failure) => failure.sqlState === null && /^(EPROTO|ERR_SSL_|ERR_OSSL_)/.test(failure.errorCode ?? ""),
    lead: "The TLS handshake failed",
    hints: (at) => [`Check ${at.tls}, the certificates that it names, and the TLS versions of the server.`],
  },
];

const LOGIN_RULES: readonly Rule[] = [
  {
    applies: byWords(/no pg_hba\.conf entry.*no encryption/s),
    hints: (at) => [`The server accepts only TLS from here: ${at.tls} must be require or stricter.`],
  },
  {
    applies: byWords(/no pg_hba\.conf entry/),
    hints: (at) => [
      `The server's pg_hba.conf has no line for ${at.user} from this machine: add one, ` +
        `or check user and database in ${at.address}.`,
    ],
  },
  {
    applies: byWords(/SSL connection is required/i),
    hints: (at) => [`The server demands TLS: ${at.tls} must be require or stricter.`],
  },
  {
    applies: byWords(/tenant or user not found/i),
    hints: (at) => [
      "On Supabase's pooler a user is called postgres.PROJECT_REF: " +
        `copy the whole URL into ${at.address} (Connect, Session pooler).`,
    ],
  },
  {
    applies: byWords(/password must be a string|no password supplied/i),
    lead: "The database asks for a password",
    hints: (at) => [`${at.address} has none for ${at.user}: write postgres://user:password@host:5432/database.`],
  },
  {
    applies: byState("28P01"),
    hints: (at) => [`Check the password of ${at.user} in ${at.address}; ${ENCODINGS}.`],
  },
  {
    applies: byState("28000"),
    hints: (at) => [`Check ${at.user} in ${at.address}: the server has no such role, or it may not log in.`],
  },
  {
    applies: byState("3D000"),
    hints: (at) => [
      `Check the name after the last / in ${at.address}, or create the database: ` +
        `create database "${at.database.replaceAll('"', '""')}";`,
    ],
  },
];

export const LONG_TRANSACTIONS =
  "Look for long transactions: select pid, state, xact_start, query from pg_stat_activity order by xact_start;";

const SERVER_RULES: readonly Rule[] = [
  {
    applies: byState("53300"),
    hints: () => [
      "The server has no free connection: close others, raise max_connections, or connect through a pooler.",
    ],
  },
  {
    applies: byState("57P01", "57P02", "57P03"),
    lead: "The database is not available",
    hints: () => ["The server is starting, stopping or was restarted: try again in a moment."],
  },
  {
    applies: byState("53100"),
    hints: () => ["The database's disk is full: free some space. Nothing is lost, and Rowmill resumes automatically."],
  },
  {
    applies: byState("25006"),
    hints: (at) => [
      `This server is read-only: name the primary, not a replica, in ${at.address}. ` +
        "Supabase makes a project read-only when its disk is full.",
    ],
  },
  {
    applies: byState("42501"),
    hints: () => [
      "See which rights are missing: rowmill doctor",
      "Print the statements for an administrator: rowmill up --print-sql",
    ],
  },
  {
    applies: byState("57014"),
    hints: (at) => [
      `If the role or the database has a short statement_timeout, raise it for ${at.user}: ` +
        "alter role … set statement_timeout = '60s';",
      LONG_TRANSACTIONS,
    ],
  },
  {
    applies: (failure) => failure.sqlState === "55P03" || failure.message === "Query read timeout",
    hints: () => [LONG_TRANSACTIONS],
  },
];

const droppedRule: Rule = {
  applies: (failure) =>
    failure.sqlState === null &&
    (["ECONNRESET", "EPIPE"].includes(failure.errorCode ?? "") || /terminated unexpectedly/.test(failure.message)),
  hints: (at) => [
    `The server at ${at.place} closed the connection: it may demand TLS (sslmode=require), or may not be PostgreSQL. ` +
      "Look into its log.",
  ],
};

/** The first that applies wins. */
const RULES: readonly Rule[] = [...TLS_RULES, ...LOGIN_RULES, ...NETWORK_RULES, ...SERVER_RULES, droppedRule];
