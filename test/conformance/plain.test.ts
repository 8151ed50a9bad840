/** The suite of providers on the second shape. */
import { makePlainStandIn } from "./plain-suite-stand-in.js";
import { describeProvider } from "./provider-suite.js";

describeProvider("plain", makePlainStandIn);
