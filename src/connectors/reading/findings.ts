/** What the doctor says of any table elsewhere: how long a reading takes, and what an error means. */
import { ConnectorError, type ConnectorFinding, type Page } from "../../model/connector.js";
import { asSentence } from "../../model/words/as-sentence.js";
import { counted } from "../../model/words/counted.js";

/** The first page has only some rows. */
const PAGES_TIMED = 2;
const DAY_SECONDS = 86_400;

export interface RowCount {
  readonly rows: number;
  /** False: the database's own estimate, which may be old. */
  readonly isExact: boolean;
}

/** By the way in which it is read, so that conditions and values are tried too. */
export async function judgeSize(
  name: string,
  pages: AsyncIterable<Page>,
  all: () => RowCount | Promise<RowCount>,
): Promise<ConnectorFinding> {
  const { rows, perSecond } = await timePages(pages);
  const can = `${name} can be read`;
  if (perSecond === null) return { level: "ok", text: `${can}: ${counted(rows, "row")}` };
  const found = await all();
  if (found.rows <= rows) return { level: "ok", text: `${can}: at least ${counted(rows, "row")}` };
  const seconds = found.rows / perSecond;
  const about = `${found.isExact ? "" : "about "}${counted(Math.round(found.rows), "row")}`;
  const text = `${can}: ${about}, so a reading of all takes at least ${inWords(seconds)}`;
  if (seconds < DAY_SECONDS) return { level: "ok", text };
  const fix = "Select fewer rows by `where`, or let fullEvery be longer than that.";
  return { level: "warning", text: `${text}.`, fixes: [fix] };
}

/** `perSecond`: null where that was all. */
async function timePages(
  read: AsyncIterable<Page>,
): Promise<{ readonly rows: number; readonly perSecond: number | null }> {
  let [rows, pages] = [0, 0];
  let fromMs = performance.now();
  for await (const page of read) {
    rows += page.rows.length;
    if (++pages === PAGES_TIMED) return { rows, perSecond: (page.rows.length * 1_000) / (performance.now() - fromMs) };
    fromMs = performance.now();
  }
  return { rows, perSecond: null };
}

function inWords(seconds: number): string {
  if (seconds < 60) return "some seconds";
  if (seconds < 3_600) return counted(Math.round(seconds / 60), "minute");
  return counted(Math.round(seconds / 3_600), "hour");
}

/** An error that says what is wrong is a finding. */
export async function orFinding(
  work: () => Promise<readonly ConnectorFinding[]>,
): Promise<readonly ConnectorFinding[]> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ConnectorError)) throw error;
    const [first = "", ...lines] = error.message.split("\n");
    const fixes = [...lines.map((line) => line.trim()), ...error.hints];
    return [{ level: "problem", text: asSentence(first), fixes }];
  }
}
