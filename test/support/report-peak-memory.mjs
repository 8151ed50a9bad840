/**
 * Loaded by `--import` into a process under test: at its end it adds its peak memory in kB, and what it was, to a
 * file.
 */
import { appendFileSync } from "node:fs";

const file = process.env.PEAK_MEMORY_FILE;
if (file !== undefined)
  process.on("exit", () =>
    appendFileSync(file, `${process.resourceUsage().maxRSS} ${process.argv.slice(1, 3).join(" ")}\n`),
  );
