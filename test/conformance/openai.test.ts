/** The suite of providers on OpenAI's adapter and the project's own gateway. */
import { makeOpenAIStandIn } from "./openai-suite-stand-in.js";
import { describeProvider } from "./provider-suite.js";

describeProvider("openai", makeOpenAIStandIn);
