/** What the doctor finds about another PostgreSQL as such, and errors as findings. */
import { ConnectorError, type ConnectorFinding } from "../../model/connector.js";
import { asSentence } from "../../model/words/as-sentence.js";
import { sql, type Database } from "../../postgres/database.js";

/** Those that Rowmill is tested with. */
const VERSION_MIN = 140_000;
/** Less does no harm: what has to be exact goes by the clock there alone. */
const CLOCKS_APART_MS_MAX = 60_000;

/** An error that says what is wrong is a finding. */
export async function explained(
  work: () => Promise<readonly ConnectorFinding[]>,
): Promise<readonly ConnectorFinding[]> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    const [first = "", ...lines] = error.message.split("\n");
    return [
      { level: "problem", text: asSentence(first), fixes: [...lines.map((line) => line.trim()), ...error.hints] },
    ];
  }
}

/** `place`: where it is. @throws DatabaseError where it cannot be reached */
export async function diagnoseServer(database: Database, place: string): Promise<ConnectorFinding> {
  const beforeMs = Date.now();
  const row = await database.first<{ number: number; version: string; ms: number }>(sql`
    select current_setting('server_version_num')::int as number, current_setting('server_version') as version,
      extract(epoch from clock_timestamp())::float8 * 1000 as ms`);
  const { number, version, ms } = row ?? { number: 0, version: "unknown", ms: beforeMs };
  const is = `${place} is PostgreSQL ${version}`;
  if (number < VERSION_MIN)
    return {
      level: "warning",
      text: `${is}, which Rowmill is not tested with.`,
      fixes: [`It is tested with PostgreSQL ${VERSION_MIN / 10_000} and later.`],
    };
  const aheadMs = ms - Date.now();
  // The answer came between the two moments.
  if (ms >= beforeMs - CLOCKS_APART_MS_MAX && aheadMs <= CLOCKS_APART_MS_MAX)
    return { level: "ok", text: `${is}, and its clock agrees with this machine's` };
  const way = aheadMs > 0 ? "ahead of" : "behind";
  return {
    level: "warning",
    text: `${is}. Its clock is ${Math.round(Math.abs(aheadMs) / 1_000)} s ${way} this machine's.`,
    fixes: ["Synchronize both with a time server. Otherwise changes may be read late, because the cursor holds times."],
  };
}
