"""Holds vectors in usearch and answers queries over them, on one thread, for `memtide bench search`.

Orders come as JSON, one a line, and each is answered by a line of JSON:

    {"vectors": PATH, "queries": PATH, "dims": D}   reads both files, single precision, row after row
    {"build": "exact" | "hnsw" | "one"}             -> {"seconds": S}
    {"ask": as built, "queries": [N, ...], "k": K}  -> {"ns": [N, ...], "rows": [[N, ...], ...]}

"one" holds a single vector: what a call costs by itself.
"""

import json
import sys
import time

import numpy
import usearch
from usearch.index import Index


def read(path, dims):
    return numpy.fromfile(path, dtype=numpy.float32).reshape(-1, dims)


def build(kind, vectors):
    # An exact search looks at no edge of the graph: for that, the cheapest graph will do.
    exact = {"connectivity": 2, "expansion_add": 1, "expansion_search": 1}
    hnsw = {"connectivity": 16, "expansion_add": 128, "expansion_search": 128}
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f32", **(hnsw if kind == "hnsw" else exact))
    held = vectors[:1] if kind == "one" else vectors
    began = time.perf_counter()
    index.add(numpy.arange(len(held)), held, threads=1)
    return index, time.perf_counter() - began


def ask(index, queries, k, exact):
    took, rows = [], []
    for query in queries:
        began = time.perf_counter_ns()
        found = index.search(query, k, threads=1, exact=exact)
        took.append(time.perf_counter_ns() - began)
        rows.append([int(key) for key in found.keys])
    return {"ns": took, "rows": rows}


def main():
    vectors = queries = None
    indexes = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "vectors" in order:
            vectors = read(order["vectors"], order["dims"])
            queries = read(order["queries"], order["dims"])
            answer = {"version": usearch.__version__}
        elif "build" in order:
            indexes[order["build"]], seconds = build(order["build"], vectors)
            answer = {"seconds": seconds}
        else:
            asked = [queries[n] for n in order["queries"]]
            answer = ask(indexes[order["ask"]], asked, order["k"], order["ask"] == "exact")
        print(json.dumps(answer), flush=True)


main()
