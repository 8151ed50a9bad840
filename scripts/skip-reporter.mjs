/**
 * A reporter of vitest that writes every test that did not run to a file, with the reason that it gave: the JSON
 * report leaves reasons out. CI names each of them, and fails when one has none.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export const skipsFile = "node_modules/.cache/rowmill/skips.json";

/** A group that cannot run says why in its title. */
const inTitle = /\(skipped: (.+?)\)(?: > |$)/;

export default class SkipReporter {
  #skips = [];

  onTestCaseResult(test) {
    const result = test.result();
    if (result.state !== "skipped") return;
    const reason = result.note ?? inTitle.exec(test.fullName)?.[1] ?? null;
    this.#skips.push({ test: `${test.module.relativeModuleId}: ${test.fullName}`, reason });
  }

  onTestRunEnd() {
    mkdirSync(dirname(skipsFile), { recursive: true });
    writeFileSync(skipsFile, JSON.stringify(this.#skips, null, 2));
  }
}
