/**
 * Sums the report of the last `npm test`, or of the run whose report is named, for CI: names each test that failed or
 * did not run on stderr, and prints
 * `PASSED FAILED SKIPPED` on stdout. Fails when there is no report, when nothing ran, or when a skip has no reason.
 */
import { readFileSync } from "node:fs";
import { skipsFile } from "./skip-reporter.mjs";

const reportFile = process.argv[2] ?? "node_modules/.cache/rowmill/tests.json";

const report = JSON.parse(readFileSync(reportFile, "utf8"));
const skips = JSON.parse(readFileSync(skipsFile, "utf8"));
const tests = report.testResults.flatMap((file) => file.assertionResults);
const count = (...states) => tests.filter((test) => states.includes(test.status)).length;
const passed = count("passed");
const notRun = count("skipped", "pending", "todo", "disabled");
// A file that could not be loaded fails without a test of its own.
const brokenFiles = report.testResults.filter(
  (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
);
const failed = count("failed") + brokenFiles.length;

for (const test of tests.filter((one) => one.status === "failed"))
  console.error(`failed: ${test.fullName}\n  ${(test.failureMessages?.[0] ?? "").split("\n")[0]}`);
for (const file of brokenFiles) console.error(`failed: ${file.name}: ${file.message}`);
for (const { test, reason } of skips) console.error(`skipped: ${test}: ${reason ?? "NO REASON GIVEN"}`);
console.log(passed, failed, notRun);
if (passed === 0) throw new Error("No test passed: nothing ran.");
if (skips.length !== notRun || skips.some((skip) => skip.reason === null))
  throw new Error(`${notRun} tests did not run, and not every one says why.`);
