"""Drives the storage classes of mcp-memory-service: one JSON request a line in, one JSON answer a line out.

Requests:
  {"op": "open", "path": P, "embedding": "words" | "hash", "dims": N}
      opens (and creates) the local database P with the package's own class. "words" gives every text a unit
      vector that depends on its words only; "hash" is the package's own fallback, the pseudo-vectors.
  {"op": "open_cloud", "token": T, "account": A, "index": I, "database": D, "bucket": B, "api": URL}
      opens the package's own Cloudflare class, its addresses turned to URL.
  {"op": "teach", "vectors": [[TEXT, [x, ...]], ...]}
      the vectors that these texts get from now on.
  {"op": "call", "on": "local" | "graph" | "cloud", "method": M, "args": {...}}
      calls a method. An argument "memory" is an object {"content", "tags", "memory_type", "metadata",
      "created_at", "updated_at", "hash"} and "memories" a list of such.
  {"op": "sql", "sql": S, "args": [...]}
      rows of the local database, through the package's own connection, committed.
  {"op": "dump"}
      every row of its memories with its columns, and every vector by row, in hexadecimal digits.
  {"op": "close"}

An answer is {"ok": VALUE} or {"error": TRACEBACK}.
"""

import asyncio
import dataclasses
import datetime
import hashlib
import json
import logging
import math
import os
import sys
import traceback

os.environ["MCP_SEMANTIC_DEDUP_ENABLED"] = "false"
os.environ["MCP_MEMORY_USE_ONNX"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # whatever the package prints is no answer
logging.disable(logging.WARNING)

from mcp_memory_service.models.memory import Memory
from mcp_memory_service.storage.sqlite_vec import SqliteVecMemoryStorage
from mcp_memory_service.utils.hashing import generate_content_hash

TAUGHT = {}


def words_vector(text, dims):
    """A unit vector that depends on the words of a text only."""
    vector = [0.0] * dims
    for word in text.lower().split():
        digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
        for i in range(0, 16, 4):
            place = int.from_bytes(digest[i : i + 3], "little") % dims
            vector[place] += 1.0 if digest[i + 3] & 1 else -1.0
    length = math.sqrt(sum(x * x for x in vector))
    if length == 0.0:
        vector[0] = length = 1.0
    return [x / length for x in vector]


class Model:
    """What stands for the embedding model."""

    def __init__(self, dims):
        self.dims = dims

    def get_sentence_embedding_dimension(self):
        return self.dims

    def encode(self, texts, convert_to_numpy=False, **_options):
        import numpy

        one = isinstance(texts, str)
        listed = [texts] if one else list(texts)
        vectors = [TAUGHT.get(text) or words_vector(text, self.dims) for text in listed]
        array = numpy.asarray(vectors, dtype=numpy.float32)
        return array[0] if one else array


class Service:
    def __init__(self):
        self.local = None
        self.cloud = None
        self.graph = None

    async def open(self, path, embedding="words", dims=384):
        storage = SqliteVecMemoryStorage(path)

        async def initialize_model():
            if embedding == "hash":
                os.environ["MCP_MEMORY_ALLOW_HASH_EMBEDDINGS"] = "true"
                await storage._initialize_hash_embedding_fallback()
            else:
                storage.embedding_dimension = dims
                storage.embedding_model = Model(dims)

        # A cache of the process would give texts the vectors of another database.
        storage.enable_cache = False
        storage._initialize_embedding_model = initialize_model
        await storage.initialize()
        self.local = storage
        from mcp_memory_service.storage.graph import GraphStorage

        self.graph = GraphStorage(path)
        return {"dims": storage.embedding_dimension}

    async def open_cloud(self, token, account, index, database, api, bucket=None):
        from mcp_memory_service.storage.cloudflare import CloudflareStorage

        storage = CloudflareStorage(
            api_token=token,
            account_id=account,
            vectorize_index=index,
            d1_database_id=database,
            r2_bucket=bucket,
            base_delay=0.01,
        )
        real = "https://api.cloudflare.com/client/v4"
        for name, value in list(vars(storage).items()):
            if isinstance(value, str) and value.startswith(real):
                setattr(storage, name, api + value[len(real) :])
        await storage.initialize()
        self.cloud = storage

    async def teach(self, vectors):
        TAUGHT.update({text: vector for text, vector in vectors})

    async def call(self, on, method, args):
        args = dict(args)
        if "memory" in args:
            args["memory"] = memory_of(args["memory"])
        if "memories" in args:
            args["memories"] = [memory_of(one) for one in args["memories"]]
        return await getattr(getattr(self, on), method)(**args)

    async def sql(self, sql, args=()):
        cursor = self.local.conn.execute(sql, args)
        rows = [list(row) for row in cursor.fetchall()]
        self.local.conn.commit()
        return rows

    async def dump(self):
        conn = self.local.conn
        cursor = conn.execute("SELECT * FROM memories ORDER BY id")
        names = [column[0] for column in cursor.description]
        memories = [dict(zip(names, row)) for row in cursor.fetchall()]
        found = conn.execute("SELECT rowid, content_embedding FROM memory_embeddings")
        vectors = {str(rowid): bytes(vector).hex() for rowid, vector in found}
        return {"memories": memories, "vectors": vectors}

    async def close(self):
        for one in (self.graph, self.local, self.cloud):
            if one is not None:
                await one.close()
        self.local = self.cloud = self.graph = None


def memory_of(given):
    return Memory(
        content=given["content"],
        content_hash=given.get("hash") or generate_content_hash(given["content"]),
        tags=given.get("tags", []),
        memory_type=given.get("memory_type"),
        metadata=given.get("metadata", {}),
        created_at=given.get("created_at"),
        updated_at=given.get("updated_at"),
    )


def plain(value):
    """A value as JSON knows it."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(one) for one in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):
        return value.tolist()
    return repr(value)


async def main():
    service = Service()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": plain(await getattr(service, request.pop("op"))(**request))}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


asyncio.run(main())
