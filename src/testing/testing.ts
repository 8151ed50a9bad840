/** `rowmill/testing`: the suites that Rowmill's own connectors pass, for yours. */
export { describeSource, type SourceKind, type SourceRow, type SourceUnderTest } from "./describe-source.js";
export { describeTarget, type TargetUnderTest } from "./describe-target.js";
export { describeWriteBack, type WriteBackUnderTest } from "./describe-write-back.js";
export type { TestRunner } from "./test-runner.js";
