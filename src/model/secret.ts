/** A text that must not be seen. Printing, inspecting, JSON, templates and string concatenation show `[secret]`. */
import { inspect } from "node:util";

const SHOWN = "[secret]";

export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself; call it where it is used, and keep the result in no record that lives longer. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}
