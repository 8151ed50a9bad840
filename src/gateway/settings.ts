/** Owns the settings of a gateway and their defaults. Pure: refuses wrong settings before anything is opened. */
import { RowmillError } from "../model/errors.js";
import { knownKey, type ApiKey, type KnownKey } from "./storage/api-keys.js";
import { oneLine } from "../model/words/one-line.js";
import { noFaults, type GatewayFaults } from "./engine/faults.js";

export interface Clock {
  /** Milliseconds since the epoch. All timestamps, expiries and Date headers come from here. */
  nowMs(): number;
}

export interface GatewayLimits {
  /** Lines in one input file. */
  readonly requestsMax: number;
  /** Bytes of an input file; larger ones are refused at upload. */
  readonly bytesMax: number;
  /** Larger input files are refused at validation ("larger than the … maximum for the … model"). */
  readonly modelBytesMax: number;
  /** Prompt tokens of one model's unfinished batches; one number for all models, or one each. */
  readonly enqueuedTokensPerModel: number | Readonly<Record<string, number>> | null;
  readonly creationsPerHour: number;
  /** Calls of one key, or of all callers where there are no keys; above it, 429. */
  readonly callsPerMinute: number;
  /** Bytes of all files together, above which no upload is accepted; outputs still are. */
  readonly storedBytesMax: number;
}

/** So that a gateway that runs for years does not fill its disk. */
export interface GatewayRetention {
  /** Ended batches, with their output files, from their end. At least an hour. Default 30 days. */
  readonly batchSeconds: number;
  /** The journal, without its oldest entries. Default 1 GB. */
  readonly journalBytesMax: number;
}

export interface GatewayOptions {
  /** Default 127.0.0.1. Any other address needs `apiKeys`. */
  readonly host?: string;
  /** Default 0: a free port. */
  readonly port?: number;
  /** Files, batches and the journal; created if missing. One gateway at a time. */
  readonly dataDir: string;
  /** The built-in model, which is not a language model. There is no other yet. */
  readonly demoModel: true;
  /** Accepted bearer keys; each sees its own files and batches. Absent: any key, and all see everything. */
  readonly apiKeys?: readonly (string | ApiKey)[];
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer };
  readonly clock?: Clock;
  /** Pause after each hundred executed lines, milliseconds. Default 0. */
  readonly latencyMs?: number;
  /** The least time in each passing status, milliseconds. Default 5. */
  readonly batchDelayMs?: number;
  readonly limits?: Partial<GatewayLimits>;
  readonly retention?: Partial<GatewayRetention>;
  /** Lifetime of uploaded batch files, and default of output files. Default 30 days, as at OpenAI. */
  readonly fileTtlSeconds?: number;
  /** Shuffles the lines of output files; null keeps the input's order. Default 1. */
  readonly shuffleSeed?: number | null;
  /** How an absent file id is written: null, no field, or "". Default null. */
  readonly absentFileIds?: null | "absent" | "";
  /** The answer to a missing input file: a `failed` batch (default), or a 400. OpenAI gave both. */
  readonly missingInput?: "failed" | "refused";
  /** Accepted model names; others are `model_not_found`. Default null: any name. */
  readonly models?: readonly string[] | null;
  /** Named in `token_limit_exceeded`. Default `org-demo`. */
  readonly organization?: string;
  readonly faults?: Partial<GatewayFaults>;
  /** Gets internal errors; default: standard error. */
  readonly log?: (message: string) => void;
}

/** All of them, with their defaults. */
export interface GatewaySettings extends Required<Omit<GatewayOptions, "apiKeys" | "demoModel" | "tls">> {
  /** Null: any non-empty key. */
  readonly keys: readonly KnownKey[] | null;
  readonly tls: NonNullable<GatewayOptions["tls"]> | null;
  readonly limits: GatewayLimits;
  readonly retention: GatewayRetention;
  readonly faults: GatewayFaults;
}

const LIMITS_DEFAULT: GatewayLimits = {
  requestsMax: 50_000,
  bytesMax: 209_715_200,
  modelBytesMax: 209_715_200,
  enqueuedTokensPerModel: null,
  creationsPerHour: 2_000,
  callsPerMinute: 60_000,
  storedBytesMax: 100_000_000_000,
};

const RETENTION_DEFAULT: GatewayRetention = { batchSeconds: 30 * 86_400, journalBytesMax: 1_000_000_000 };
/** The limit of creations per hour counts stored batches. */
const BATCH_SECONDS_MIN = 3_600;

const FILE_TTL_SECONDS_DEFAULT = 30 * 86_400;
const LOOPBACK_HOSTS = ["127.0.0.1", "::1", "localhost"];

/** Fills in defaults. @throws RowmillError `usage` for an address that others can reach, without keys */
export function settingsOf(options: GatewayOptions): GatewaySettings {
  const host = options.host ?? "127.0.0.1";
  const keys = options.apiKeys?.map(knownKey) ?? null;
  if (keys === null && !LOOPBACK_HOSTS.includes(host)) {
    throw new RowmillError(
      "usage",
      `The gateway would listen on ${host}, which other machines can reach, and accept any key.`,
      { hints: ["Set API keys (apiKeys), or listen on 127.0.0.1."] },
    );
  }
  const retention = { ...RETENTION_DEFAULT, ...options.retention };
  if (retention.batchSeconds < BATCH_SECONDS_MIN)
    throw new RowmillError("usage", `The gateway keeps ended batches for at least ${BATCH_SECONDS_MIN} seconds.`);
  return {
    host,
    port: options.port ?? 0,
    dataDir: options.dataDir,
    keys,
    tls: options.tls ?? null,
    clock: options.clock ?? { nowMs: () => Date.now() },
    latencyMs: options.latencyMs ?? 0,
    batchDelayMs: options.batchDelayMs ?? 5,
    limits: { ...LIMITS_DEFAULT, ...options.limits },
    retention,
    fileTtlSeconds: options.fileTtlSeconds ?? FILE_TTL_SECONDS_DEFAULT,
    shuffleSeed: options.shuffleSeed === undefined ? 1 : options.shuffleSeed,
    absentFileIds: options.absentFileIds ?? null,
    missingInput: options.missingInput ?? "failed",
    models: options.models ?? null,
    organization: options.organization ?? "org-demo",
    faults: { ...noFaults, ...options.faults },
    log: options.log ?? writeLog,
  };
}

/** More lines, such as a stack, are indented, so that none looks like another message. */
function writeLog(message: string): void {
  process.stderr.write(`gateway: ${message.split("\n").map(oneLine).join("\n  ")}\n`);
}

export function nowSeconds(clock: Clock): number {
  return Math.floor(clock.nowMs() / 1000);
}
