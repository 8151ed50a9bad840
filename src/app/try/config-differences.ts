/** What a try asked differently from the config of now, in words. */
import { definitionHash } from "../../config/definition.js";
import type { MessageSource, PipelineConfig } from "../../model/pipeline.js";
import type { Try } from "../../store/tries/tries.js";

/** Empty: the same. */
export function differencesFrom(config: PipelineConfig, tried: Try): readonly string[] {
  if (definitionHash(config, config.provider.dialect) === tried.definitionHash) return [];
  const { request } = config;
  const named = [
    ...(tried.model === request.model ? [] : ["model"]),
    ...(tried.prompt === textOf(request.user) ? [] : [tried.overridden.prompt ?? "prompt"]),
    ...(tried.system === (request.system === null ? null : textOf(request.system)) ? [] : ["system"]),
  ];
  return named.length > 0 ? named : ["answer, columns or parameters"];
}

/** As it is kept with a try. */
export function textOf(message: MessageSource): string {
  return message.kind === "template" ? message.text : message.render.toString();
}
