/** A small REST API: `GET /films?changed_since=MS&after=TOKEN`, three films a page, in the order of their changes. */
import http from "node:http";

const changed = Date.now();
const films = [
  [
    "Metropolis",
    "The son of a city's ruler falls in love with a teacher from the halls below it, where machines eat men.",
  ],
  ["Nosferatu", "A clerk sells a house to a count who sleeps in earth, and brings the plague to his own town."],
  ["The General", "A railwayman follows his stolen engine through the lines of a war, and saves his love as well."],
  ["Safety Last!", "A clerk who wants to impress his bride climbs the front of the store in which he works."],
  ["The Kid", "A tramp brings up a child that he found, until the mother, now famous, looks for her son."],
  ["Sunrise", "A farmer who meant to drown his wife finds his love for her again on a day in the city."],
  ["Faust", "A scholar sells his soul to end a plague, and learns what his youth costs those whom he loves."],
].map(([title, description], index) => ({ id: index + 1, title, description, changed }));

const tokenOf = ({ changed, id }) => `${changed}-${String(id).padStart(9, "0")}`;

const server = http.createServer(({ url }, reply) => {
  const { searchParams } = new URL(url, "http://films");
  const since = Number(searchParams.get("changed_since"));
  const after = searchParams.get("after") ?? "";
  const left = films.filter((film) => film.changed >= since && tokenOf(film) > after);
  const page = left.slice(0, 3);
  const next = left.length > 3 ? `/films?changed_since=${since}&after=${tokenOf(page[2])}` : null;
  reply.setHeader("content-type", "application/json");
  reply.end(JSON.stringify({ films: page, next, now: Date.now() }));
});
server.listen(Number(process.env.PORT ?? 8090), "127.0.0.1", () => {
  process.stdout.write(`export FILMS_API=http://127.0.0.1:${server.address().port}\n`);
});
