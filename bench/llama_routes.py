#!/usr/bin/env python3
"""Input embeddings that make a model route as a recorded one did.

    llama_routes.py --model MODEL.gguf --trace ROUTES.jsonl.xz --tokens N --out FILE

A model with random weights has no routes worth measuring. But llama.cpp takes embeddings in place
of tokens, and one that is large beside what the layers add to it reaches every router almost as it
was given. There are fewer routers' rows than dimensions, so an embedding can be solved for whose
products are 1 with the experts that the trace names for a token, in every layer, and 0 with the
others. The output is float32 [tokens, width], for decode_speed --embeddings.

The trace: a line of JSON with "moe_layers", "experts_per_layer" and "top_k", then a line for each
sequence with "routed_experts": [token][layer][k]. Needs numpy and gguf.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys

import numpy as np
from gguf import GGUFReader


def read_routes(
    path: str, layers: int, top_k: int, count: int
) -> tuple[np.ndarray, dict[str, int]]:
    """[token][layer][k] of the first `layers` layers, sequence after sequence."""
    routes = []
    opened = lzma.open(path, "rt") if path.endswith(".xz") else open(path)  # noqa: SIM115
    with opened as lines:
        header = json.loads(next(lines))
        if header["moe_layers"] < layers or header["top_k"] < top_k:
            sys.exit(
                f"llama_routes: {path} has {header['moe_layers']} layers, top {header['top_k']}; "
                f"the model needs {layers}, top {top_k}"
            )
        for line in lines:
            for token in json.loads(line)["routed_experts"]:
                chosen = [layer[:top_k] for layer in token[:layers]]
                if min(min(layer) for layer in chosen) >= 0:
                    routes.append(chosen)
                if len(routes) == count:
                    return np.array(routes), header
    sys.exit(f"llama_routes: {path} has {len(routes)} whole tokens, {count} were asked for")


def router_rows(reader: GGUFReader) -> np.ndarray:
    """What each router makes products with: its rows, times the norm's weights before it."""
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    rows = []
    while f"blk.{len(rows)}.ffn_gate_inp.weight" in tensors:
        at = f"blk.{len(rows)}"
        rows.append(
            tensors[f"{at}.ffn_gate_inp.weight"].data * tensors[f"{at}.ffn_norm.weight"].data
        )
    return np.array(rows, np.float64)  # [layer, expert, width]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("--model", "--trace", "--out"):
        parser.add_argument(name, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    chosen = parser.parse_args()
    reader = GGUFReader(chosen.model)
    arch = reader.get_field("general.architecture").contents()
    top_k = reader.get_field(f"{arch}.expert_used_count").contents()
    rows = router_rows(reader)
    layers, experts, width = rows.shape
    routes, header = read_routes(chosen.trace, layers, top_k, chosen.tokens)
    if header["experts_per_layer"] != experts or layers * experts > width:
        sys.exit(
            f"llama_routes: {layers} layers of {experts} experts and width {width} do not fit the "
            f"trace ({header['experts_per_layer']} experts), or are more rows than dimensions"
        )
    wanted = np.zeros((chosen.tokens, layers, experts))
    np.put_along_axis(wanted, routes, 1.0, axis=2)
    flat = rows.reshape(layers * experts, width)
    made = wanted.reshape(chosen.tokens, -1) @ np.linalg.pinv(flat).T
    made *= 1e5 / np.linalg.norm(made, axis=1, keepdims=True)
    reached = (made @ flat.T).reshape(wanted.shape)
    got = np.argsort(-reached, axis=2)[:, :, :top_k]
    same = np.mean(
        [
            len(set(a) & set(b)) / top_k
            for a, b in zip(got.reshape(-1, top_k), routes.reshape(-1, top_k), strict=True)
        ]
    )
    made.astype(np.float32).tofile(chosen.out)
    print(
        f"{chosen.out}: {chosen.tokens} tokens, {layers} layers of {experts}, top {top_k}; "
        f"{100 * same:.2f} % of the trace's experts, before what the layers add"
    )


if __name__ == "__main__":
    main()
