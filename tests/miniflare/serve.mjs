// Serves one Miniflare (workerd with D1 and R2) over lines of JSON: a request on standard input,
// its answer on standard output, in order. The queries run inside workerd, in the worker below, so
// that nothing but the engine under test touches a value. Ends when standard input ends.
import { createInterface } from "node:readline";
import { Miniflare } from "miniflare";

const worker = `
const blobs = (params) => (params ?? []).map((p) => (Array.isArray(p) ? new Uint8Array(p) : p));

// The binding's raw() drops the counts of the statement, so they are asked through all().
async function d1(db, { batch }) {
  const statements = batch.map(({ sql, params }) => db.prepare(sql).bind(...blobs(params)));
  const answers = await db.batch(statements);
  return answers.map(({ results, meta }) => ({ results, meta }));
}

// Columns and rows of one statement, duplicate names and all.
async function d1Raw(db, { sql, params }) {
  const [columns, ...rows] = await db.prepare(sql).bind(...blobs(params)).raw({ columnNames: true });
  return { columns, rows: rows.map((row) => row.map((v) => (v instanceof ArrayBuffer ? [...new Uint8Array(v)] : v))) };
}

const described = (object) => object && { key: object.key, size: object.size, etag: object.etag };

async function r2(bucket, ask) {
  switch (ask.op) {
    case "r2_put":
      return described(await bucket.put(ask.key, new Uint8Array(ask.bytes)));
    case "r2_get": {
      const object = await bucket.get(ask.key);
      return object && { ...described(object), bytes: [...new Uint8Array(await object.arrayBuffer())] };
    }
    case "r2_list":
      return (await bucket.list({ prefix: ask.prefix })).objects.map(described);
    case "r2_delete":
      await bucket.delete(ask.key);
      return null;
  }
  throw new Error("no such operation: " + ask.op);
}

export default {
  async fetch(request, env) {
    const ask = await request.json();
    try {
      if (ask.op === "d1") return Response.json({ ok: await d1(env.DB, ask) });
      if (ask.op === "d1_raw") return Response.json({ ok: await d1Raw(env.DB, ask) });
      return Response.json({ ok: await r2(env.BUCKET, ask) });
    } catch (error) {
      return Response.json({ error: String(error?.message ?? error) });
    }
  },
};
`;

const miniflare = new Miniflare({
  modules: true,
  script: worker,
  compatibilityDate: "2026-07-30",
  d1Databases: { DB: "conformance" },
  r2Buckets: { BUCKET: "conformance" },
  d1Persist: false,
  r2Persist: false,
});

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

try {
  await miniflare.ready;
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const response = await miniflare.dispatchFetch("http://workerd/", { method: "POST", body: line });
    process.stdout.write((await response.text()) + "\n");
  }
} finally {
  await miniflare.dispose();
}
