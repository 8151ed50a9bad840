import { describe, expect, it } from "vitest";
import { refusedPushText } from "../../src/model/words/refused-push-text.js";

const refusal = { pipeline: "movies", pushes: 1, rows: 0, example: null, isRead: false };

describe("A refused push", () => {
  it("is described with its status, and with what its sender can do", () => {
    expect(refusedPushText({ ...refusal, pushes: 3, reason: "429: Too many pushes are being taken." })).toEqual({
      wrong: "3 pushes refused with status 429: Too many pushes are being taken",
      fix: "Send these rows again; rows that arrived count once",
    });
  });

  it("is described by its rows where only these were refused", () => {
    const rows = { ...refusal, pushes: 2, rows: 1_200, example: "a\nb", reason: "its key is missing or null" };
    expect(refusedPushText(rows)).toEqual({
      wrong: '1,200 rows of 2 pushes refused, such as "a\\nb": its key is missing or null',
      fix: "Fix these rows at the sender, and send them again",
    });
  });

  it("is no push where Rowmill reads the source itself", () => {
    const lines = { ...refusal, rows: 2, example: "a.csv, line 4: 2 cells, not 3", isRead: true };
    expect(refusedPushText({ ...lines, reason: "a line cannot be read" })).toEqual({
      wrong: '2 rows of its source refused, such as "a.csv, line 4: 2 cells, not 3": a line cannot be read',
      fix: "Fix these rows there; the next reading of them takes them in",
    });
  });

  it("leads to the list of tokens where the caller is not known", () => {
    const unknown = { ...refusal, pipeline: null, example: "rwm_012345", reason: "the token is unknown or revoked" };
    expect(refusedPushText(unknown)).toEqual({
      wrong: '1 push refused, such as "rwm_012345": the token is unknown or revoked',
      fix: "Compare the sender's token with the valid ones: rowmill tokens",
    });
  });
});
