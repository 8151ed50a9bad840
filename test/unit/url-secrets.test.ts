import { describe, expect, it } from "vitest";
import { urlSecrets } from "../../src/cli/project.js";

describe("The secrets of a database's URL", () => {
  it.each([
    ["postgres://user:a-long-password@host:5432/app", [":a-long-password@", "a-long-password"]],
    ["postgres://user:short@host/app", [":short@"]],
    ["postgres://user:secret@/app", [":secret@"]],
    ["postgres://user:secret@?host=/tmp", [":secret@"]],
    ["postgres://user@host/app?sslmode=require&password=short", ["password=short"]],
    [
      "postgres:///app?password=a%20long+password&x=1",
      ["password=a%20long+password", "a%20long+password", "a long password"],
    ],
    ["postgres://user:a%2Flong%2Fone%21@host/app", [":a%2Flong%2Fone%21@", "a%2Flong%2Fone%21"]],
    ["postgres://user:not/encoded@host:bad/app", [":not/encoded@"]],
    ["postgres://user:12/3@host/app", [":12/3@"]],
    ["postgres://user:50%off-everything@host/app", [":50%off-everything@", "50%off-everything"]],
  ])("of %s are itself and its password", (url, secrets) => {
    expect(urlSecrets(url)).toEqual(expect.arrayContaining([url, ...secrets]));
    expect(urlSecrets(url)).not.toContain("user");
    expect(urlSecrets(url)).not.toContain(":@");
  });

  it.each(["", "postgres://user@host/app", "postgres:///app?password=", "embedded", "postgres://user:@host/app"])(
    "of %j are none",
    (url) => {
      expect(urlSecrets(url)).toEqual([]);
    },
  );
});
