import { describe, expect, it } from "vitest";
import { differenceOf, type DeploymentIdentity } from "../../src/model/deployment-identity.js";

const recorded: DeploymentIdentity = {
  systemIdentifier: "71",
  databaseOid: "16384",
  databaseName: "app",
  folder: "/srv/films/.rowmill/database",
  folderInode: "5",
};

describe("The place of a ledger", () => {
  it.each<[string, Partial<DeploymentIdentity>]>([
    ["nothing changed", {}],
    ["the database was renamed", { databaseName: "shop" }],
    ["the user may not ask for the identifier any more", { systemIdentifier: null }],
    ["the folder is mounted under another path", { folder: "/app/.rowmill/database" }],
    ["the file system renumbers", { folderInode: "6" }],
    ["it is no embedded database any more", { folder: null, folderInode: null }],
  ])("is the same when %s", (_, change) => {
    expect(differenceOf(recorded, { ...recorded, ...change })).toBeNull();
  });

  it.each<[string, Partial<DeploymentIdentity>, string]>([
    [
      "on another server",
      { systemIdentifier: "72" },
      'This ledger was in the database "app" of another server (its identifier was 71, and is 72).',
    ],
    [
      "in another database of the server",
      { databaseOid: "16999", databaseName: "copy" },
      'This ledger was in the database "app" (oid 16384), and is in "copy" (oid 16999).',
    ],
    [
      "in a copied folder",
      { folder: "/srv/films/copy/.rowmill/database", folderInode: "9" },
      "This ledger was in the folder /srv/films/.rowmill/database, and is in /srv/films/copy/.rowmill/database.",
    ],
  ])("is another one %s", (_, change, said) => {
    expect(differenceOf(recorded, { ...recorded, ...change })).toBe(said);
  });

  it("is not compared before it was recorded", () => {
    const unknown = { systemIdentifier: null, databaseOid: null, folder: null, folderInode: null };
    expect(differenceOf({ ...recorded, ...unknown }, recorded)).toBeNull();
  });
});
