/** The config with all its mistakes, and the variables. */
import { adaptersIn, readEnvironment } from "../../config/load/environment.js";
import { loadConfig } from "../../config/load/load.js";
import { counted } from "../../model/words/counted.js";
import { ok, warning, type Finding } from "../../model/words/finding.js";
import { findingOf, type Check, type Look } from "./look.js";

const CONFIG = { group: "Config", needs: [] } as const;

export const CONFIG_CHECKS: readonly Check[] = [
  { ...CONFIG, id: "config", title: "Config", otherwise: "the config has mistakes", run: checkConfig },
  {
    ...CONFIG,
    id: "variables",
    title: "Variables",
    otherwise: "an environment variable is invalid",
    run: checkVariables,
  },
];

async function checkConfig(look: Look): Promise<readonly Finding[]> {
  const { configFile, cwd, variables } = look;
  try {
    const file = configFile === undefined ? {} : { file: configFile };
    const config = await loadConfig({ ...file, cwd, env: variables });
    look.config = config;
    return [ok(`${config.file}: ${counted(config.pipelines.length, "pipeline")}`)];
  } catch (error) {
    return [findingOf(error)];
  }
}

function checkVariables(look: Look): readonly Finding[] {
  try {
    look.environment = readEnvironment(look.variables, look.config);
  } catch (error) {
    return [findingOf(error)];
  }
  const misnamed = judgeNames(look.variables, look.config);
  return misnamed.length > 0 ? misnamed : [ok("all of them are valid")];
}

/** Set under a name that is not read, while the one that is read is not set. */
export function judgeNames(
  variables: Look["variables"],
  config: Parameters<typeof adaptersIn>[0] = null,
): readonly Finding[] {
  return adaptersIn(config)
    .flatMap(({ otherNames }) => otherNames)
    .filter(([other, ours]) => (variables[other] ?? "") !== "" && (variables[ours] ?? "") === "")
    .map(([other, ours]) =>
      warning(`${other} is set, but Rowmill reads ${ours}, which is not set.`, {
        fixes: [`If the value is meant for Rowmill, rename the variable to ${ours}.`],
      }),
    );
}
