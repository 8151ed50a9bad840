/** `rowmill try --list` and `--compare A B`: earlier tries. Reads only. */
import { compareTries } from "../../app/try/compare-tries.js";
import { differencesFrom } from "../../app/try/config-differences.js";
import { RowmillError } from "../../model/errors.js";
import type { Reader } from "../../postgres/database.js";
import * as tries from "../../store/tries/tries.js";
import type { Try } from "../../store/tries/tries.js";
import { configOf, withExistingLedger, type Project } from "../project.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { shownColumns } from "./cell-lines.js";
import { comparedLines, listLines, rowLinesOf, rowTitleOf, type Listed } from "./history-text.js";
import { answerJson, listedJson, usd } from "./try-json.js";

const TRIES_SHOWN_MAX = 100;

export async function listTries(project: Project, name: string | null, json: boolean): Promise<number> {
  const { terminal } = project;
  return withExistingLedger(project, async ({ database }) => {
    const found = await tries.list(database, {
      pipelines: name === null ? null : [name],
      // One more tells that there are more.
      max: TRIES_SHOWN_MAX + 1,
    });
    const shown = found.slice(0, TRIES_SHOWN_MAX).map((listed): Listed => {
      const config = configOf(project, listed.pipeline);
      return { listed, differs: config === undefined ? null : differencesFrom(config, listed) };
    });
    const more = found.length > shown.length;
    if (json) terminal.data(JSON.stringify({ tries: shown.map((one) => listedJson(one.listed, one.differs)), more }));
    else if (shown.length === 0)
      terminal.print(`There is no try yet. Make one: rowmill try${name === null ? "" : ` ${name}`}`);
    else for (const line of listLines(shown, terminal.columns())) terminal.quote(line);
    if (more && !json) terminal.print(`… and older ones`);
    return EXIT_STATUS.ok;
  });
}

export async function showComparison(
  project: Project,
  [first, second]: readonly [number, number],
  json: boolean,
): Promise<number> {
  const { terminal } = project;
  return withExistingLedger(project, async ({ database }) => {
    const [a, b] = [await knownTry(database, first), await knownTry(database, second)];
    if (a.pipeline !== b.pipeline)
      throw new RowmillError("usage", `Try ${a.no} is of ${a.pipeline}, and try ${b.no} of ${b.pipeline}.`, {
        hints: ["See all tries: rowmill try --list"],
      });
    const compared = compareTries(await tries.answersOf(database, a.no), await tries.answersOf(database, b.no));
    if (compared.rows.length === 0)
      throw new RowmillError("refused", `Try ${a.no} and try ${b.no} have no row in common.`, {
        hints: ["Ask the same rows again by their keys: rowmill try PIPELINE --key KEY"],
      });
    if (json) {
      terminal.data(JSON.stringify(comparedJson(compared, { a, b })));
      return EXIT_STATUS.ok;
    }
    for (const row of compared.rows) {
      terminal.quote(terminal.bold(rowTitleOf(row)));
      for (const line of rowLinesOf(row, shownColumns(terminal.columns()))) terminal.quote(line);
      terminal.quote("");
    }
    for (const line of comparedLines(compared, { a, b })) terminal.quote(line);
    return EXIT_STATUS.ok;
  });
}

export async function knownTry(client: Reader, no: number): Promise<Try> {
  const found = await tries.byNumber(client, no);
  if (found !== null) return found;
  throw new RowmillError("not_found", `There is no try ${no}.`, { hints: ["See them all: rowmill try --list"] });
}

function comparedJson(
  compared: ReturnType<typeof compareTries>,
  { a, b }: { readonly a: Try; readonly b: Try },
): object {
  const totals = ({ costNanoUsd, ...rest }: (typeof compared)["a"], { no, model, overridden, price }: Try) => ({
    try: no,
    model,
    overridden,
    ...rest,
    costUsd: price === null ? null : usd(costNanoUsd),
  });
  return {
    a: totals(compared.a, a),
    b: totals(compared.b, b),
    same: compared.same,
    onlyA: compared.onlyA,
    onlyB: compared.onlyB,
    rows: compared.rows.map((row) => ({
      key: row.key,
      a: answerJson(row.a),
      b: answerJson(row.b),
      differences: row.differences,
    })),
  };
}
