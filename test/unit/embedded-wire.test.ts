import fc from "fast-check";
import { expect, test } from "vitest";
import {
  errorFields,
  errorResponse,
  message,
  MessageCutter,
  messagesIn,
  queryMessage,
  readyForQuery,
} from "../../src/embedded/wire-messages.js";

test("a stream cut anywhere into chunks gives the messages that went in", () => {
  const type = fc.constantFrom("Q", "P", "B", "S");
  const messages = fc.array(fc.tuple(type, fc.uint8Array({ maxLength: 40 })), { maxLength: 20 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat({ max: 30 })), (list, sizes) => {
      const sent = list.map(([letter, body]) => message(letter, Buffer.from(body)));
      let rest = Buffer.concat(sent);
      const cutter = new MessageCutter(1_000);
      const got: Buffer[] = [];
      for (const size of [...sizes, rest.length]) {
        cutter.push(rest.subarray(0, size));
        rest = rest.subarray(size);
        for (let next = cutter.next(false); next !== null; next = cutter.next(false)) got.push(next.bytes);
      }
      expect(got).toEqual(sent);
    }),
  );
});

test("a length that no message can have is an error, not a wait for bytes that never come", () => {
  for (const header of ["Q\0\0\0\x03", "Q\xff\xff\xff\xff", "Q\0\x01\0\0"]) {
    const cutter = new MessageCutter(1_000);
    cutter.push(Buffer.from(header, "latin1"));
    expect(() => cutter.next(false)).toThrow(RangeError);
  }
});

test("the messages of an answer are found, also when the last one is cut short", () => {
  const answer = Buffer.concat([queryMessage("SELECT 1"), readyForQuery("T")]).subarray(0, -1);
  expect([...messagesIn(answer)]).toEqual([
    { type: "Q", start: 0, end: 14 },
    { type: "Z", start: 14, end: 19 },
  ]);
});

test("an error response carries its fields", () => {
  const bytes = errorResponse({ severity: "FATAL", code: "57P01", message: "tschüß", hint: "later" });
  expect(Object.fromEntries(errorFields(bytes))).toEqual({
    S: "FATAL",
    V: "FATAL",
    C: "57P01",
    M: "tschüß",
    H: "later",
  });
});
