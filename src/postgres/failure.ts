/**
 * What an error of the database means and what to do about it: by SQLSTATE, the operating system's code, or the code of TLS.
 * Pure. Repeats nothing of a URL but host, port, user and database.
 */

/** Where a connection goes, and who said so. Never the password. */
export interface ConnectionFacts {
  /** `DATABASE_URL`, or `database` in the config. */
  readonly addressFrom: string;
  readonly host: string;
  readonly port: number;
  /** Null: the URL does not say; the driver takes PGUSER, or the user of the operating system. */
  readonly user: string | null;
  readonly database: string | null;
  readonly sslMode: string;
  /** `PGSSLMODE`, `sslmode in DATABASE_URL`, …; null: nobody said anything, and `prefer` is taken. */
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
  /** The beginning of a sentence that the failure's own message completes; null: the caller's own is right. */
  readonly lead: string | null;
  /** One sentence each. */
  readonly mends: readonly string[];
}

interface Rule {
  applies(failure: DatabaseFailure): boolean;
  readonly lead?: string;
  mends(at: Words, failure: DatabaseFailure): readonly string[];
}

/** The facts as parts of a sentence, with words of their own where nothing is known. */
interface Words {
  readonly address: string;
  readonly host: string;
  readonly place: string;
  readonly user: string;
  readonly database: string;
  readonly tls: string;
  readonly rootCert: string | null;
}

/** What to do about it; nothing for a failure that is not known. */
export function explainFailure(failure: DatabaseFailure, facts: ConnectionFacts | null): Explanation {
  const rule = RULES.find((candidate) => candidate.applies(failure));
  if (rule === undefined) return { lead: null, mends: [] };
  return { lead: rule.lead ?? null, mends: rule.mends(wordsOf(facts), failure) };
}

/** No connection as yet or any more, no room for one (53), a server that starts or stops (57P01 to 57P03), a connection that failed (08). */
const PASSING_STATES = /^(?:08(?:000|00[136])|53\d{3}|57P0[123])$/;
/** `ENOENT`: the socket of a server that does not run. Not `ENOTFOUND`: a name that nobody knows is misspelt. */
const PASSING_CODES = ["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EAI_AGAIN", "ENOENT"];
/** The driver's own, which have no code; and PgBouncer's of the server behind it, which have that of any trouble (08P01). */
const PASSING_WORDS = /Connection terminated|connection error and is not queryable|timeout/;
const PASSING_BEHIND_POOLER =
  /cannot connect to server|server_login_retry|server conn crashed|query_wait_timeout/;

/** May the same be tried again later, with nothing changed? Not after a refused login, TLS that cannot be had, or a name that is not known. */
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
    rootCert:
      facts?.rootCertFile == null ? null : `${facts.rootCertFrom ?? "sslrootcert"} (${facts.rootCertFile})`,
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
    mends: (at) => [
      `Nothing listens at ${at.place}: check host and port in ${at.address}, and that the server runs.`,
      ...(LOOPBACK.test(at.host)
        ? ["Inside a container this host is the container itself: name the database's own host."]
        : []),
    ],
  },
  {
    applies: byCode("ENOTFOUND", "EAI_AGAIN"),
    mends: (at) => [`No address is known for that host: check it in ${at.address}.`, ...supabaseHint(at)],
  },
  {
    applies: byCode("ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL"),
    mends: (at) => [
      `No way leads from this machine to ${at.place}: check the host in ${at.address}, the network and the VPN.`,
      ...supabaseHint(at),
    ],
  },
  {
    applies: (failure) =>
      failure.errorCode === "ETIMEDOUT" ||
      (failure.sqlState === null && /connect.*timeout|timeout.*connect/i.test(failure.message)),
    mends: (at) => [
      `Nothing came back from ${at.place}: check host and port in ${at.address}; a firewall, or a list of allowed addresses, may keep this machine out.`,
    ],
  },
];

function supabaseHint(at: Words): string[] {
  return SUPABASE_DIRECT.test(at.host)
    ? [
        "Supabase's direct host has IPv6 addresses only: on a network without IPv6 take the URL of its session pooler (Connect, Session pooler).",
      ]
    : [];
}

const TLS_RULES: readonly Rule[] = [
  {
    applies: byWords(/server does not support SSL connections/),
    lead: "The database offers no TLS",
    mends: (at) => [
      `${at.tls} asks for TLS: turn it on at the server, or write sslmode=disable where the network between is yours.`,
    ],
  },
  {
    applies: byWords(/request for TLS as PostgreSQL does/),
    lead: "This is no PostgreSQL",
    mends: (at) => [`Something else listens at ${at.place}: check host and port in ${at.address}.`],
  },
  {
    applies: (failure) => UNTRUSTED.test(failure.errorCode ?? ""),
    lead: "The server's certificate is not trusted",
    mends: (at) => [
      at.rootCert === null
        ? "Name the file of the authority that signed it: PGSSLROOTCERT=/path/to/ca.crt, or sslrootcert in the URL. Supabase has it under Database Settings, SSL Configuration."
        : `It was not signed by the authority in ${at.rootCert}: name the right file there.`,
    ],
  },
  {
    applies: byCode("CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"),
    lead: "The server's certificate is not valid today",
    mends: () => ["Renew it at the server; if it is right there, this machine's clock is wrong."],
  },
  {
    applies: byCode("ERR_TLS_CERT_ALTNAME_INVALID"),
    lead: "The server's certificate is for another name",
    mends: (at) => [
      `Name the host in ${at.address} as the certificate does, or check only who signed it: sslmode=verify-ca.`,
    ],
  },
  {
    applies: (failure) =>
      failure.sqlState === null && /^(EPROTO|ERR_SSL_|ERR_OSSL_)/.test(failure.errorCode ?? ""),
    lead: "TLS could not be agreed upon",
    mends: (at) => [
      `Check ${at.tls} and the certificates that are named, and the versions of TLS that the server has.`,
    ],
  },
];

const LOGIN_RULES: readonly Rule[] = [
  {
    applies: byWords(/no pg_hba\.conf entry.*no encryption/s),
    mends: (at) => [
      `The server lets nobody in without TLS from here: ${at.tls} must be require or stricter.`,
    ],
  },
  {
    applies: byWords(/no pg_hba\.conf entry/),
    mends: (at) => [
      `The server's pg_hba.conf has no line for ${at.user} from this machine: add one there, or check user and database in ${at.address}.`,
    ],
  },
  {
    applies: byWords(/SSL connection is required/i),
    mends: (at) => [`The server demands TLS: ${at.tls} must be require or stricter.`],
  },
  {
    applies: byWords(/tenant or user not found/i),
    mends: (at) => [
      `Supabase's pooler knows users as postgres.PROJECT_REF: copy the whole URL into ${at.address} (Connect, Session pooler).`,
    ],
  },
  {
    applies: byWords(/password must be a string|no password supplied/i),
    lead: "The database wants a password",
    mends: (at) => [
      `${at.address} has none for ${at.user}: write postgres://user:password@host:5432/database.`,
    ],
  },
  {
    applies: byState("28P01"),
    mends: (at) => [`Check the password of ${at.user} in ${at.address}; ${ENCODINGS}.`],
  },
  {
    applies: byState("28000"),
    mends: (at) => [`Check ${at.user} in ${at.address}: the server has no such role, or it may not log in.`],
  },
  {
    applies: byState("3D000"),
    mends: (at) => [
      `Check the name after the last / in ${at.address}, or create it: create database "${at.database.replaceAll('"', '""')}";`,
    ],
  },
];

const LONG_TRANSACTIONS =
  "Look for long transactions: select pid, state, xact_start, query from pg_stat_activity order by xact_start;";

const SERVER_RULES: readonly Rule[] = [
  {
    applies: byState("53300"),
    mends: () => [
      "The server has no connection left: end others, raise max_connections, or connect through a pooler.",
    ],
  },
  {
    applies: byState("57P01", "57P02", "57P03"),
    lead: "The database is not there",
    mends: () => ["The server is starting, stopping or was restarted: try again in a moment."],
  },
  {
    applies: byState("53100"),
    mends: () => [
      "The disk of the database is full: make room there. Nothing is lost; it goes on by itself.",
    ],
  },
  {
    applies: byState("25006"),
    mends: (at) => [
      `This server takes no writes: name the primary, not a replica, in ${at.address}; Supabase turns a project read-only when its disk is full.`,
    ],
  },
  {
    applies: byState("42501"),
    mends: () => [
      "rowmill doctor says which rights are missing; rowmill up --print-sql prints the statements for an administrator.",
    ],
  },
  {
    applies: byState("57014"),
    mends: (at) => [
      `If the role or the database has a short statement_timeout, raise it for ${at.user}: alter role … set statement_timeout = '60s';`,
      LONG_TRANSACTIONS,
    ],
  },
  {
    applies: (failure) => failure.sqlState === "55P03" || failure.message === "Query read timeout",
    mends: () => [LONG_TRANSACTIONS],
  },
];

const droppedRule: Rule = {
  applies: (failure) =>
    failure.sqlState === null &&
    (["ECONNRESET", "EPIPE"].includes(failure.errorCode ?? "") ||
      /terminated unexpectedly/.test(failure.message)),
  mends: (at) => [
    `What listens at ${at.place} hung up: it may demand TLS (sslmode=require), or be no PostgreSQL; its log says more.`,
  ],
};

/** The first that applies counts. */
const RULES: readonly Rule[] = [...TLS_RULES, ...LOGIN_RULES, ...NETWORK_RULES, ...SERVER_RULES, droppedRule];
