/** Bounds how long the user's functions (`request`, `validate`) keep a transaction open. */
const USER_CODE_MS = 3_000;

/** Returns true once the time is over, but never at the first call: each transaction gets at least one row done. */
export function userCodeTimer(): () => boolean {
  const startedAt = performance.now();
  let calls = 0;
  return () => calls++ > 0 && performance.now() - startedAt > USER_CODE_MS;
}
