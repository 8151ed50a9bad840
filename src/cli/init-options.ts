/** What `rowmill init` takes on its command line. */
import type { LogOptions } from "./cli.js";

export interface InitOptions extends LogOptions {
  readonly table?: string;
  readonly key?: string;
  readonly columns?: string;
  readonly model?: string;
  readonly prompt?: string;
  readonly function?: true;
  readonly answer?: string;
  readonly target?: string;
  readonly name?: string;
  readonly embedded?: true;
  readonly sql?: string;
  readonly force?: true;
}
