#!/usr/bin/env python3
"""Writes a small safetensors file of experts: 2 layers, 16 experts, gate, up and down of 64 KiB less
200 bytes. Every byte of expert (layer, n) is layer * 16 + n + 1, so a program can tell them apart.

  make_model.py OUT
"""

import json
import sys

LAYERS, EXPERTS, ROWS, COLUMNS = 2, 16, 332, 98  # BF16: 65,072 bytes a part, aligned to nothing


def main():
    header, data = {}, []
    at = 0
    for layer in range(LAYERS):
        for expert in range(EXPERTS):
            for part in ("gate_proj", "up_proj", "down_proj"):
                size = ROWS * COLUMNS * 2
                shape = [COLUMNS, ROWS] if part == "down_proj" else [ROWS, COLUMNS]
                header[f"model.layers.{layer}.mlp.experts.{expert}.{part}.weight"] = {
                    "dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
                data.append(bytes([layer * EXPERTS + expert + 1]) * size)
                at += size
    text = json.dumps(header).encode()
    with open(sys.argv[1], "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text + b"".join(data))


if __name__ == "__main__":
    main()
