/** The suite for targets, on a web hook whose receiver keeps the greatest fence of each row. */
import { describe, expect, it } from "vitest";
import { webhook } from "../../src/connectors/webhook/webhook.js";
import { describeTarget } from "../../src/testing/testing.js";
import { startReceiver } from "../support/hook-receiver.js";

const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

describeTarget(
  "web hook",
  async () => {
    const receiver = await startReceiver(secret, { refused: "not allowed" });
    return {
      connect: () => webhook({ url: receiver.url, secret, allowPrivate: true }),
      held: (pipeline) => Promise.resolve(receiver.held(pipeline)),
      refused: { label: "not allowed", score: 1 },
      goDown: receiver.goDown,
      comeBack: receiver.comeBack,
      close: receiver.goDown,
    };
  },
  { describe, it, expect },
);
