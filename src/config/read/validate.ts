/**
 * Owns the way from what the user wrote to a complete `ProjectConfig`: every mistake at once, defaults filled in.
 * Pure: reads no file, and no variable but those given. Never calls the user's functions.
 */
import type { ProjectConfig } from "../../model/pipeline.js";
import { Problems, describe } from "./problems.js";
import type { ConfigLanguage } from "./read-answer.js";
import { readDatabase } from "./read-database.js";
import { ADDRESS_EXPECTED, parseAddress, type HttpAddress } from "../../model/http-address.js";
import { checkPipelineName } from "./read-names.js";
import { readPipeline } from "./read-pipeline.js";
import { entries, optional, refuse, section, type Place } from "./readers.js";

export interface ConfigOrigin {
  /** Absolute path of the config's file; stands in the result and in the error. */
  readonly file: string;
  /** JSON: templates only, and `answer` is a JSON Schema. */
  readonly language: ConfigLanguage;
  /** The variable `DATABASE_URL`; null when it is not set. */
  readonly databaseUrl: string | null;
}

/** `definition`: what `defineConfig` returned, or parsed JSON. @throws ConfigError (`config_invalid`) */
export function validateConfig(definition: unknown, origin: ConfigOrigin): ProjectConfig {
  const problems = new Problems();
  const root: Place = { path: "", value: definition, problems };
  const at = section(root, ["database", "http", "pipelines"]);
  const database = readDatabase(at.database, origin.databaseUrl);
  const http = optional(at.http, readAddress, null);
  const named = entries(at.pipelines, "an object with at least one pipeline by its name");
  if (named.length === 0 && at.pipelines.problems.clean(at.pipelines.path)) {
    at.pipelines.problems.add(at.pipelines.path, "at least one pipeline", { found: describe({}) });
  }
  const pipelines = named.map((place) => {
    checkPipelineName(place, place.key);
    return readPipeline(place, place.key, origin.language);
  });
  problems.throwIfAny(origin.file);
  return { file: origin.file, database, http, pipelines };
}

function readAddress(place: Place): HttpAddress | null {
  const address = typeof place.value === "string" ? parseAddress(place.value) : null;
  if (address === null) refuse(place, ADDRESS_EXPECTED);
  return address;
}
