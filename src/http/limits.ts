/** Owns what one client may take of a server: connections, heads, time, and the rate of its bytes. */

export interface HttpLimits {
  /** A connection above it takes the place of the one that has longest had no call; without one it is closed. */
  readonly connectionsMax: number;
  /** Of the request line and all headers; longer ones are answered with 431. */
  readonly headBytesMax: number;
  /** For the TLS handshake, and again for each head. */
  readonly headMs: number;
  /** Between two requests of one connection. */
  readonly keepAliveMs: number;
  /** Without a byte in either direction while the client owes the next one; waiting for an answer is not idle. */
  readonly idleMs: number;
  /** How far a body may fall behind `bodyBytesPerSecondMin`; only time in which the server waits for it counts. */
  readonly bodyGraceMs: number;
  readonly bodyBytesPerSecondMin: number;
  /** How often the times above are checked. */
  readonly checkMs: number;
}

export const HTTP_LIMITS_DEFAULT: HttpLimits = {
  connectionsMax: 1_000,
  headBytesMax: 16 * 1024,
  headMs: 10_000,
  keepAliveMs: 72_000,
  idleMs: 60_000,
  bodyGraceMs: 20_000,
  bodyBytesPerSecondMin: 1_000,
  checkMs: 1_000,
};
