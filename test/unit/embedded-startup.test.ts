import { expect, test } from "vitest";
import { greeting, readFirstPacket } from "../../src/embedded/client-connection.js";
import { messagesIn } from "../../src/embedded/wire-messages.js";

function startup(parameters: Record<string, string>, version = 3 << 16): Buffer {
  const body = Buffer.from(`${Object.entries(parameters).flat().join("\0")}\0\0`);
  const header = Buffer.alloc(8);
  header.writeInt32BE(body.length + 8, 0);
  header.writeInt32BE(version, 4);
  return Buffer.concat([header, body]);
}

function settingsOf(parameters: Record<string, string>): unknown {
  const packet = readFirstPacket(startup({ user: "postgres", ...parameters }));
  return packet.kind === "start" ? Object.fromEntries(packet.settings) : packet;
}

test("parameters that are settings become the client's settings", () => {
  expect(settingsOf({ client_encoding: "UTF8", application_name: "psql", DateStyle: "German" })).toEqual({
    DateStyle: "German",
  });
});

test("options are read as PostgreSQL reads them, with blanks kept by a backslash", () => {
  const options = String.raw`-c search_path= -cwork_mem=7MB --lock_timeout=5s -c a.b=two\ words\\`;
  expect(settingsOf({ options })).toEqual({
    search_path: "",
    work_mem: "7MB",
    lock_timeout: "5s",
    "a.b": "two words\\",
  });
});

test.each([["-x"], ["-c"], ["-c work_mem"], ["--=1"]])("options that are not settings are refused: %s", (options) => {
  expect(settingsOf({ options })).toMatchObject({ kind: "refused", error: { code: "22023" } });
});

test("another user is a setting too", () => {
  const packet = readFirstPacket(startup({ user: "anon", database: "postgres" }));
  expect(packet).toMatchObject({ kind: "start", settings: new Map([["session_authorization", "anon"]]) });
});

test("a database is taken by its name only, and the user's name is its default", () => {
  expect(readFirstPacket(startup({ user: "anon" }))).toMatchObject({
    kind: "refused",
    error: { code: "3D000" },
  });
});

test.each([
  [80877103, "encryption"],
  [80877104, "encryption"],
  [80877102, "cancel"],
  [2 << 16, "refused"],
])("the first packet with code %i is of kind %s", (code, kind) => {
  expect(readFirstPacket(startup({ user: "postgres" }, code)).kind).toBe(kind);
});

test("a packet too short to have a code is refused", () => {
  expect(readFirstPacket(Buffer.from([0, 0, 0, 4])).kind).toBe("refused");
});

test("the greeting tells a newer client the older protocol, and each client its own settings", () => {
  const bytes = greeting(new Map([["DateStyle", "ISO"]]), new Map([["datestyle", "German"]]), true);
  expect([...messagesIn(bytes)].map((one) => one.type).join("")).toBe("vRSKZ");
  expect(bytes.toString("latin1")).toContain("DateStyle\0German\0");
});
