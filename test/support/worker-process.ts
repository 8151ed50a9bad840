/** One worker in a process of its own, to be killed by a test. Reports over IPC that it works. */
import { join } from "node:path";
import { pino } from "pino";
import { openProject } from "../../src/app/open/open-project.js";
import { connectionOptions } from "../../src/config/database/connection.js";
import { readEnvironment } from "../../src/config/load/environment.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { defineConfig } from "../../src/index.js";
import { openDatabase } from "../../src/postgres/database.js";
import { startWorker } from "../../src/worker/process/worker.js";
import { moviesPipeline } from "./movies-pipeline.js";

const url = process.env["DATABASE_URL"] ?? "";
const environment = readEnvironment(process.env);
const config = validateConfig(defineConfig({ database: url, pipelines: { movies: moviesPipeline() } }), {
  file: join(process.env["TEST_FOLDER"] ?? "", "rowmill.config.ts"),
  language: "script",
  databaseUrl: null,
});
const database = openDatabase(connectionOptions({ kind: "server", url }, environment));
const context = await openProject({ config, environment, database, log: pino({ level: "silent" }) });
await startWorker(context, { flush: true });
process.send?.("working");
