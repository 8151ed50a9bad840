import { Long, MongoClient, ObjectId } from "mongodb";
import { defineConfig, defineSource, defineTarget, pipeline, z } from "rowmill";

interface Film {
  readonly title: string;
  readonly description: string;
}
interface Label {
  readonly _id: string;
  readonly fence: Long;
  readonly genre?: string;
}

const url = process.env["MONGODB_URL"] ?? "mongodb://127.0.0.1:27017/shop";
const database = new MongoClient(url, { connectTimeoutMS: 10_000, socketTimeoutMS: 60_000 }).db();
const pageRows = 1_000;

const films = defineSource({
  name: "mongodb",
  key: "_id",
  columns: ["title", "description"],
  async *rows({ place, signal }) {
    for (let after = place; ;) {
      const later = after === null ? {} : { _id: { $gt: new ObjectId(String(after)) } };
      const found = await database
        .collection<Film>("films")
        .find(later, { signal })
        .sort({ _id: 1 })
        .limit(pageRows)
        .toArray();
      if (found.length === 0) return;
      after = String(found.at(-1)?._id);
      yield { rows: found.map((film) => ({ ...film, _id: String(film._id) })), place: after };
    }
  },
});

const labels = defineTarget<{ genre: string }>({
  name: "mongodb",
  promise: "onceInEffect",
  async write(changes) {
    const writes = changes.map((change) => {
      const fence = Long.fromString(change.fence);
      const label = { _id: change.key, fence, ...("cells" in change ? change.cells : {}) };
      // In one step: the document stays if its fence is newer. `$literal`: an answer is data, also if it begins with $.
      const newest = { $cond: [{ $gt: ["$fence", fence] }, "$$ROOT", { $literal: label }] };
      return { updateOne: { filter: { _id: change.key }, update: [{ $replaceWith: newest }], upsert: true } };
    });
    const collection = database.collection<Label>("labels");
    if (writes.length > 0) await collection.bulkWrite(writes, { ordered: false });
    const held = await collection.find({ _id: { $in: changes.map(({ key }) => key) } }).toArray();
    const fences = new Map(held.map(({ _id, fence }) => [_id, String(fence)]));
    const stale = changes.flatMap(({ key, fence }) => {
      const there = fences.get(key) ?? fence;
      return BigInt(there) > BigInt(fence) ? [{ key, fence: there }] : [];
    });
    return { stale };
  },
});

export default defineConfig({
  database: process.env["DATABASE_URL"],
  pipelines: {
    films: pipeline({
      source: films,
      request: { model: "gpt-4o-mini", user: "What genre is {{ title }}? {{ description }}" },
      answer: z.object({ genre: z.string() }),
      target: labels,
    }),
  },
});
