/** The embedded database of the built package: its server is started from there. The set-up of every run builds it. */
import type * as Embedded from "../../src/embedded/embedded.js";

const script = new URL("../../dist/embedded/embedded.js", import.meta.url);
// By its address: the compiler would look for it before it is built.
export const { openEmbedded } = (await import(/* @vite-ignore */ script.href)) as typeof Embedded;
