/** `node films.mjs put` makes the table `films` with seven films; `node films.mjs show` prints it. */
import { DynamoDB, waitUntilTableExists } from "@aws-sdk/client-dynamodb";

const films = [
  ["1", "Nosferatu", "A clerk travels to a count in the mountains, who follows him home with the plague."],
  ["2", "Safety Last!", "To win a prize, a salesman climbs the wall of his department store."],
  ["3", "Metropolis", "In a city of machines, the ruler's son falls in love with the workers' prophet."],
  ["4", "The General", "An engine driver chases the spies who stole his locomotive."],
  ["5", "M", "A city hunts a murderer of children; the thieves hunt him too, for their own reasons."],
  ["6", "Duck Soup", "A small country's new president starts a war because he was called an upstart."],
  ["7", "King Kong", "A film crew brings a giant ape to New York, where he escapes."],
];

const client = new DynamoDB({});
const TableName = "films";

async function put() {
  await client.createTable({
    TableName,
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
  });
  await waitUntilTableExists({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 2 }, { TableName });
  const requests = films.map(([id, title, description]) => ({
    PutRequest: { Item: { id: { S: id }, title: { S: title }, description: { S: description } } },
  }));
  await client.batchWriteItem({ RequestItems: { [TableName]: requests } });
}

async function show() {
  const { Items = [] } = await client.scan({ TableName });
  for (const { title, summary } of Items) process.stdout.write(`${title.S}: ${summary?.S ?? "no answer yet"}\n`);
}

await { put, show }[process.argv[2]]();
