import { expect, it } from "vitest";
import { loadPeer } from "../../src/connectors/load-peer.js";
import { mysql } from "../../src/connectors/mysql/mysql.js";

const addressOf = (url: string, table: string) => mysql({ url, table }).address;

it.each<[string, string, string, boolean]>([
  ["the port that is the default", "mysql://a:b@db.example.com:3306/shop", "films", true],
  ["another user, and the name of the other product", "mariadb://c:d@db.example.com/shop", "films", true],
  ["the database with the table's name", "mysql://a:b@db.example.com/other", "shop.films", true],
  ["another port", "mysql://a:b@db.example.com:3307/shop", "films", false],
  ["another database", "mysql://a:b@db.example.com/other", "films", false],
  ["another table", "mysql://a:b@db.example.com/shop", "books", false],
])("A source and a target of MySQL are the same table or not by their URLs: %s", (_title, url, table, isSame) => {
  const one = addressOf("mysql://a:b@db.example.com/shop", "films");
  expect(addressOf(url, table) === one).toBe(isSame);
});

it("A driver that is not installed is named with the command that installs it", async () => {
  const missing: string = "rowmill-has-no-such-driver";
  const loading = loadPeer(missing, () => import(missing));
  await expect(loading).rejects.toMatchObject({
    kind: "stop",
    message: `The package ${missing} is not installed.`,
    hints: [`Install it next to rowmill: npm install ${missing}`],
  });
});
