import { describe, expect, it } from "vitest";
import { roomFor, type RoomFacts } from "../../src/model/batch/room.js";

const endless: RoomFacts = {
  least: 1,
  ready: 100,
  inFile: 50,
  fresh: Infinity,
  again: 0,
  tokens: { left: Infinity, each: 10 },
  money: { left: Infinity, each: 3, inFlight: false },
};

describe("The room of the next batch", () => {
  it.each<[string, Partial<RoomFacts>, ReturnType<typeof roomFor>]>([
    ["is its file's where nothing else bounds it", {}, { requests: 50 }],
    ["is what the tokens allow", { tokens: { left: 399, each: 10 } }, { requests: 39 }],
    ["is what the money allows", { money: { left: 20, each: 3, inFlight: false } }, { requests: 6 }],
    [
      "is not bounded by money where a request costs none",
      { money: { left: 0, each: 0, inFlight: false } },
      { requests: 50 },
    ],
    ["is none where a file holds fewer than the least", { least: 60 }, { because: "tooFew" }],
    ["is none at the limit", { fresh: 0 }, { because: "limit" }],
    ["counts rows that were asked before in addition to the limit", { fresh: 2, again: 3, least: 5 }, { requests: 50 }],
    ["is none where both together are fewer than the least", { fresh: 2, again: 2, least: 5 }, { because: "limit" }],
    ["is none without tokens for the least", { least: 5, tokens: { left: 49, each: 10 } }, { because: "noTokens" }],
    [
      "is none where more tokens are reserved than there are",
      { tokens: { left: -1, each: 0 } },
      { because: "noTokens" },
    ],
    [
      "is none without money for the least",
      { least: 5, money: { left: 14, each: 3, inFlight: false } },
      { because: "noMoney" },
    ],
    [
      "waits for money that comes back, where it is not enough for all that is ready",
      { money: { left: 299, each: 3, inFlight: true } },
      { because: "noMoney" },
    ],
    [
      "does not wait where it is enough for all that is ready",
      { money: { left: 300, each: 3, inFlight: true } },
      { requests: 50 },
    ],
  ])("%s", (_, facts, expected) => {
    expect(roomFor({ ...endless, ...facts })).toEqual(expected);
  });
});
