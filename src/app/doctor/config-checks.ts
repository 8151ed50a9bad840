/** The config with all its mistakes, and the variables. */
import { loadConfig } from "../../config/load/load.js";
import { adaptersIn, readEnvironment } from "../../config/load/environment.js";
import { RowmillError } from "../../model/errors.js";
import { counted, ok, problem, sentence, warning, type Check, type Finding } from "./check.js";
import type { Look } from "./look.js";

export const CONFIG_CHECKS: readonly Check[] = [
  {
    id: "config",
    group: "Config",
    title: "Config",
    needs: [],
    otherwise: "the config has mistakes",
    run: lookAtConfig,
  },
  {
    id: "variables",
    group: "Config",
    title: "Variables",
    needs: [],
    otherwise: "a variable cannot be used",
    run: lookAtVariables,
  },
];

async function lookAtConfig(look: Look): Promise<readonly Finding[]> {
  const { configFile, cwd, variables } = look;
  try {
    const file = configFile === undefined ? {} : { file: configFile };
    const config = await loadConfig({ ...file, cwd, env: variables });
    look.config = config;
    return [ok(`${config.file}: ${counted(config.pipelines.length, "pipeline")}`)];
  } catch (error) {
    return [mistakesOf(error)];
  }
}

function lookAtVariables(look: Look): Promise<readonly Finding[]> {
  try {
    look.environment = readEnvironment(look.variables, look.config);
  } catch (error) {
    return Promise.resolve([mistakesOf(error)]);
  }
  const misnamed = judgeNames(look.variables, look.config);
  return Promise.resolve(misnamed.length > 0 ? misnamed : [ok("all of them can be used")]);
}

/** Its first line is about the whole, each further one is a mistake. */
function mistakesOf(error: unknown): Finding {
  if (!(error instanceof RowmillError)) throw error;
  const [first = "", ...mistakes] = error.message.split("\n");
  return problem(sentence(first), { mends: [...mistakes.map((line) => line.trim()), ...error.hints] });
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
      warning(`${other} is set, but Rowmill reads ${ours}, which is not.`, {
        mends: [`If it is meant for the provider, name it ${ours}.`],
      }),
    );
}
