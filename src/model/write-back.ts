/** Answers that go into the source's own rows, in a system elsewhere. Pure. */
import type { PipelineConfig } from "./pipeline.js";

/** Source and target say the same address. */
export function writesBack({ source, target }: Pick<PipelineConfig, "source" | "target">): boolean {
  const address = source.replica?.sync?.connector.address ?? null;
  return address !== null && address === target.elsewhere?.address;
}
