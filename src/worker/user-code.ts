/** Bounds how long a user's functions (`request`, `validate`) keep one transaction open: the lease is renewed between transactions. */
const USER_CODE_MS = 3_000;

/** Says true once the time is over, at least one call later: so each transaction gets one row further. */
export function userCodeTimer(): () => boolean {
  const startedAt = performance.now();
  let calls = 0;
  return () => calls++ > 0 && performance.now() - startedAt > USER_CODE_MS;
}
