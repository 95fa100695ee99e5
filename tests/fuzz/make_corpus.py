#!/usr/bin/env python3
"""Writes the stored inputs of the fuzz targets: valid, truncated and hostile ones, a few hundred
bytes each. Finds of the fuzzers lie beside them as find_*; those this does not touch.

  make_corpus.py [FOLDER]        default: corpus beside this file
"""

import json
import lzma
import random
import struct
import sys
import zlib
from pathlib import Path


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key, value):
    if isinstance(value, int):
        return text(key) + struct.pack("<II", 4, value)
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))


def gguf(pairs, tensors, data_bytes, version=3, tensor_count=None, pair_count=None):
    """tensors: (name, type, dims, offset)."""
    out = b"GGUF" + struct.pack("<IQQ", version,
                                len(tensors) if tensor_count is None else tensor_count,
                                len(pairs) if pair_count is None else pair_count)
    out += b"".join(pairs)
    for name, kind, dims, offset in tensors:
        out += text(name) + struct.pack("<I", len(dims))
        out += b"".join(struct.pack("<Q", dim) for dim in dims)
        out += struct.pack("<IQ", kind, offset)
    return out + bytes(-len(out) % 32) + b"d" * data_bytes


def gguf_inputs():
    stacked = [("token_embd.weight", 0, [32, 2], 0)]
    at = 256
    for layer in range(2):
        for part, kind, block in (("gate", 39, 17), ("up", 8, 34), ("down", 2 if layer else 8, 34)):
            stacked.append((f"blk.{layer}.ffn_{part}_exps.weight", kind, [32, 2, 2], at))
            at += (block * 4 + 31) // 32 * 32
    pairs = [pair("general.architecture", "qwen3moe"), pair("qwen3moe.expert_used_count", 1),
             pair("tokenizer.ggml.tokens", ["a", "", "bc"]), pair("general.alignment", 32)]
    yield "valid_stacked", gguf(pairs, stacked, at)
    yield "valid_version_2", gguf(pairs, stacked, at, version=2)
    yield "version_1", gguf(pairs, stacked, at, version=1)
    yield "big_endian", b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + bytes(40)
    single = [(f"blk.0.ffn_{part}.{e}.weight", 0, [8], 32 * (3 * e + i))
              for e in range(2) for i, part in enumerate(("gate", "up", "down"))]
    yield "valid_per_expert", gguf([], single, 192)
    yield "expert_missing", gguf([], single[:3] + [("blk.0.ffn_gate.2.weight", 0, [8], 96)], 128)
    fused = [("blk.3.ffn_gate_up_exps.weight", 39, [32, 2, 2], 0),
             ("blk.3.ffn_gate_up_exps.bias", 0, [2, 2], 96),
             ("blk.3.ffn_down_exps.weight", 39, [32, 1, 2], 128),
             ("blk.3.ffn_down_exps.scale", 0, [2], 192)]
    yield "valid_fused_with_bias", gguf(pairs[:2], fused, 224)
    whole = gguf(pairs, stacked, at)
    for length in (3, 23, 24, 60, 150, 400, len(whole) - 1):
        yield f"cut_at_{length}", whole[:length]
    name = "blk.0.ffn_gate_exps.weight"
    for label, dims, offset in (("size_wraps", [32, 1 << 31, 1 << 31], 0), ("size_zero", [32, 0, 4], 0),
                                ("offset_wraps", [8, 2, 2], (1 << 64) - 32),
                                ("outside", [8, 2, 2], 1 << 40), ("not_aligned", [8, 2, 2], 7),
                                ("rank_0", [], 0), ("rank_5", [1, 1, 1, 1, 1], 0)):
        yield label, gguf([], [(name, 0, dims, offset)], 128)
    yield "overlap", gguf([], [(name, 0, [8, 2, 2], 0), ("x", 0, [8], 96)], 128)
    yield "twice", gguf([], [(name, 0, [8, 2], 0), (name, 0, [8, 2], 64)], 128)
    yield "unknown_type", gguf([], [(name, 99, [8, 2], 0)], 128)
    yield "tensors_2_to_60", gguf([], [], 0, tensor_count=1 << 60)
    yield "pairs_2_to_60", gguf([], [], 0, pair_count=1 << 60)
    yield "small_asks_for_gib", gguf([text("k") + struct.pack("<IIQ", 9, 12, 1 << 32)], [], 96)[:160]
    yield "array_of_arrays", gguf([text("k") + struct.pack("<IIQ", 9, 9, 1)], [], 96)
    yield "alignment_3", gguf([pair("general.alignment", 3)], stacked, at)
    yield "split_2_of_3", gguf([pair("split.no", 1), pair("split.count", 3)], stacked, at)


def entry(kind, shape, begin, end):
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def safetensors_inputs():
    def joined(*pieces):
        return b"\n%%%\n".join(p if isinstance(p, bytes) else json.dumps(p).encode() for p in pieces)

    at = "model.layers.0.mlp.experts."
    fused = {at + "gate_up_proj": entry("BF16", [2, 4, 4], 0, 64),
             at + "down_proj": entry("BF16", [2, 2, 4], 64, 96), "__metadata__": {"format": "pt"}}
    oss = {at + "gate_up_proj_blocks": entry("U8", [2, 4, 1, 16], 0, 128),
           at + "gate_up_proj_scales": entry("U8", [2, 4, 1], 128, 136),
           at + "gate_up_proj_bias": entry("BF16", [2, 4], 136, 152),
           at + "down_proj_blocks": entry("U8", [2, 2, 1, 16], 152, 216)}
    shards = [{at + f"{e}.{p}_proj.weight": entry("F8_E4M3", [4, 2], 8 * i, 8 * i + 8)
               for i, p in enumerate(("gate", "up", "down"))} for e in (0, 1)]
    index = {"weight_map": {k: f"{e}.safetensors" for e in (0, 1) for k in shards[e]}}
    config = {"num_experts_per_tok": 1}
    yield "valid_fused", joined(b"", config, fused)
    yield "valid_gpt_oss", joined(b"", {"text_config": {"experts_per_token": 2}}, oss)
    yield "valid_sharded", joined(index, config, *shards)
    yield "valid_sharded_no_index", joined(b"", b"", *shards)
    yield "shard_missing", joined({"weight_map": {"a": "9.safetensors"}}, config, *shards)
    yield "leads_outside", joined({"weight_map": {"a": "../x"}}, config, *shards)
    yield "no_weight_map", joined({"metadata": {}}, config, *shards)
    yield "index_cut", joined(json.dumps(index).encode()[:40], config, *shards)
    yield "config_cut", joined(b"", b"{\"num_experts", fused)
    yield "config_odd", joined(b"", {"num_experts_per_tok": -1.5, "text_config": []}, fused)
    raw = json.dumps(fused).encode()
    whole = struct.pack("<Q", len(raw)) + raw + b"d" * 96
    yield "valid_raw", joined(b"", config, whole)
    for length in (0, 7, 8, 9, 100, len(whole) - 1):
        yield f"raw_cut_at_{length}", joined(b"", config, whole[:length])
    yield "header_2_to_63", joined(b"", config, struct.pack("<Q", 1 << 63) + raw)
    yield "header_100_mb", joined(b"", config, struct.pack("<Q", 100_000_000) + raw)
    name = at + "down_proj"
    for label, one in (("size_wraps", entry("BF16", [2, 1 << 62, 4], 0, 0)),
                       ("ends_before_begin", entry("BF16", [2, 4], 16, 0)),
                       ("outside", entry("BF16", [2, 4], 1 << 40, (1 << 40) + 16)),
                       ("negative", entry("BF16", [2, 4], -16, 0)), ("too_deep", {"dtype": [[[]]]}),
                       ("rank_17", entry("U8", [1] * 17, 0, 1)), ("a_number", 3)):
        yield label, joined(b"", config, {name: one})
    yield "overlap", joined(b"", config, {name: entry("U8", [2, 8], 0, 16), "x": entry("U8", [8], 8, 16)})
    yield "key_twice", joined(b"", config, b'{"a":1,"a":2}')
    yield "nested", joined(b"", config, b'{"a":' + b"[" * 3000)
    yield "not_utf8", joined(b"", config, b'{"\xff\xfe":3}')


def seal_inputs():
    def number(*values):
        return b"".join(struct.pack("<Q", value) for value in values)

    def seal(version=1, chunk=262144, complete=1, files=None, banks=((5, 6, 7),), tail=b"", table=()):
        out = b"CUBBSEAL" + number(version, chunk, complete, *table)
        files = [("m.gguf", 4096, 1, 2, 3, 4)] if files is None else files
        out += number(len(files))
        for path, *values in files:
            out += text(path) + number(*values)
        out += number(len(banks))
        for bank in banks:
            out += number(len(bank), *bank)
        return b"d" + out + tail

    yield "valid", seal()
    yield "valid_interrupted", seal(complete=0, banks=((5, 0, 7), (0,)))
    yield "valid_two_files", seal(files=[("a", 1, 2, 3, 4, 5), ("b", 6, 7, 8, 9, 10)])
    yield "gap_in_complete", seal(banks=((5, 0, 7),))
    yield "valid_table", seal(version=2, table=(9,))
    yield "table_of_0", seal(version=2, table=(0,))
    yield "version_3", seal(version=3)
    yield "chunk_of_0", seal(chunk=0)
    yield "chunk_of_5000", seal(chunk=5000)
    yield "state_of_2", seal(complete=2)
    yield "bytes_behind", seal(tail=b"x")
    yield "long_name", seal(files=[("n" * 5000, 1, 2, 3, 4, 5)])
    whole = seal()
    for length in (1, 9, 17, 41, 60, len(whole) - 8):
        yield f"cut_at_{length}", whole[:length]
    yield "digests_2_to_60", whole[:-32] + number(1 << 60)
    yield "files_2_to_60", whole[:33] + number(1 << 60)
    yield "own_digest_wrong", whole[1:] + number(1)
    yield "empty", b""
    yield "no_seal", b"GGUF and so on"


def store_open_inputs():
    """Changes to a small store, see store_open_fuzz.cpp: offset of 3 bytes, count, bytes."""
    page = 4096
    # Behind two superblocks, and behind the journal: the newest manifest's sequence is 2, an even one.
    journal, slot = 2 * page, 34 * page
    slot_bytes = 27 * page

    def change(*changes, flags=0):
        out = bytes([flags])
        for offset, value in changes:
            out += struct.pack("<I", offset)[:3] + bytes([len(value)]) + value
        return out

    yield "valid_whole", change()
    yield "valid_first_superblock_zero", change((0, bytes(64)))
    yield "valid_journal_record_damaged", change((journal + 300, b"\xff"))
    yield "valid_entry_damaged", change((slot + 11 * page + 50, b"\xff"))
    yield "valid_payload_damaged", change((slot + 2 * slot_bytes + 500, b"\xff"))
    yield "superblocks_zero", change((0, bytes(64)), (page, bytes(64)), (159 * page, bytes(64)))
    yield "another_version", change(*((at + 8, b"\x02") for at in (0, page, 159 * page)))
    # With the checksums put right, so that it is the content that is judged.
    for name, offset, value in (("number", 24, b"\xff\xff\xff\x7f"), ("space", 28, b"\x77"),
                                ("first_page", 32, b"\xff\xff\xff\xff"), ("page_of_ours", 32, bytes(4)),
                                ("file", 36, b"\x09"), ("keep", 37, b"\x07"), ("key_bytes", 38, b"\xff"),
                                ("parts_255", 39, b"\xff"), ("parts_0", 39, b"\0"),
                                ("part_4_gib", 40, b"\xff\xff\xff\xff"), ("generation", 0, b"\xff" * 8)):
        yield f"valid_entry_{name}", change((slot + 11 * page + 8 + offset, value), flags=1)
        yield f"valid_record_{name}", change((journal + 8 * page + 32 + offset, value), flags=1)
    yield "valid_record_kind", change((journal + 8 * page + 24, b"\x09"), flags=1)
    yield "valid_record_count", change((journal + 8 * page + 26, b"\xff"), flags=1)
    yield "record_manifest", change((journal + 8 * page + 16, b"\x09"), flags=1)
    yield "valid_record_flushed", change((journal + 8 * page + 8, b"\xff" * 8), flags=1)
    yield "valid_head_blocks", change((slot + 32, b"\xff\xff\xff\xff"), flags=1)
    yield "head_journal_from", change((slot + 16, b"\xff" * 8), flags=1)
    yield "valid_overlap", change((slot + 11 * page + 8 + 32, struct.pack("<I", 89)),
                                  (slot + 11 * page + 176 + 8 + 32, struct.pack("<I", 89)), flags=1)
    yield "file_empty", b"\x02"
    yield "file_of_magic", b"\x02CUBBYSTO" + bytes(4088)
    for seed in range(8):
        generator = random.Random(seed)
        yield f"valid_random_{seed}", change(*((generator.randrange(2 * page, 88 * page), generator.randbytes(3))
                                         for _ in range(6)), flags=seed % 2)


def api_inputs():
    """The first bytes open the runtime, adopt and add a tier; see api_fuzz.cpp for the calls."""
    start = bytes([1, 31, 7, 15, 1, 0, 1, 0, 0, 0, 0, 3, 1])
    pin = bytes([17, 3, 0, 0, 1, 0, 1, 1, 0, 2, 1, 0, 0, 0, 1, 0, 1, 0, 1])
    yield "nothing", b""
    yield "pin_wait_unpin", start + pin * 2 + bytes([4, 0, 1, 5, 3, 0, 1, 1, 1, 10, 3, 14])
    yield "pin_cancel", start + pin + bytes([9, 0, 9, 0, 3, 0, 1, 1, 1, 10, 3])
    yield "remove_while_pinned", start + pin + bytes([16, 0, 5, 16, 0, 13, 4, 0, 0, 0, 0, 0, 0, 0])
    yield "resize_under_load", start + pin * 3 + bytes([11, 0, 1, 5, 11, 0, 0, 11, 0, 2, 13, 4])
    yield "regions", start + bytes([15, 1, 0, 1, 4, 8, 2, 9, 15, 1, 9, 0, 15, 0, 0, 15, 0, 0])
    for seed in range(24):
        yield f"random_{seed:02}", start + random.Random(seed).randbytes(60 + 20 * seed)


def own_trace_inputs():
    """The format of docs/trace_format.md; the target puts the check values right behind 'B'."""
    def number(value):
        out = b""
        while value >= 0x80:
            out, value = out + bytes([value & 0x7f | 0x80]), value >> 7
        return out + bytes([value])

    def numbers(*values):
        return b"".join(map(number, values))

    def trace(*blocks, start=b"B"):
        out = b"CUBBYTRC" + struct.pack("<I", 1)
        out += struct.pack("<I", zlib.crc32(out))
        for count, (kind, payload) in enumerate(blocks):
            head = struct.pack("<III", kind, len(payload), count)
            out += head + struct.pack("<I", zlib.crc32(head + payload)) + payload
        return start + out

    def visit(layer, experts, token=0, slot=0, flags=0):
        return numbers(layer << 2 | flags, slot, token, len(experts), *experts)

    grid, end = (1, struct.pack("<IIII", 0, 2, 300, 4)), (5, b"")
    visits = (2, visit(0, [1, 299], flags=3) + visit(1, [0]) + visit(0, [7], 5) + visit(1, [], slot=9, flags=1)
              + visit(0, [2], flags=1))
    requests, later, last = ((3, struct.pack("<Q", t * 10 ** 9) + numbers(
        5, 3 << 1, 7, 8, 1 << 63, 1000, 2 << 1 | 1, 7, 9) + numbers(0, 1 << 1, 10)) for t in (1, 2, 3))
    lost = (4, struct.pack("<Q", 12))
    whole = trace(grid, visits, lost, visits, end, start=b"b")
    yield "valid_own_experts", whole
    yield "valid_own_blocks", trace(requests, end, start=b"b")
    yield "valid_own_no_end", trace(grid, visits)
    yield "valid_own_second_grid", trace(grid, visits, (1, struct.pack("<IIII", 2, 1, 8, 0)),
                                         (2, visit(2, [7])), end)
    for length in (9, 17, 40, 60, len(whole) - 1):
        yield f"own_cut_at_{length}", whole[:length]
    yield "own_flipped", whole[:70] + bytes([whole[70] ^ 1]) + whole[71:]
    yield "own_version_2", b"b" + whole[1:9] + b"\2" + whole[10:]
    yield "own_bytes_behind", whole + b"x"
    yield "own_no_grid", trace(visits)
    yield "valid_own_mixed", trace(grid, requests, visits, later, visits, last, end, start=b"b")
    yield "valid_own_blocks_of_a_grid", trace(grid, requests, end)
    yield "valid_own_mixed_slots", trace(grid, (2, visit(0, [1], flags=1) + visit(0, [2], slot=3, flags=1)), requests,
                                         (2, visit(0, [3], 1, slot=3) + visit(1, [4])), later)
    yield "own_mixed_without_a_block", trace(grid, visits, (3, struct.pack("<Q", 1) + numbers(0, 0)))
    yield "own_visits_in_a_request", trace(grid, visits, (3, struct.pack("<Q", 1) + numbers(0, 3, 7)), visits)
    yield "own_requests_of_no_visit", trace(grid, (2, b""), requests)
    yield "own_kind_9", trace((9, b"x"))
    yield "own_slot_2000", trace(grid, (2, visit(0, [1], slot=2000)))
    yield "own_token_back", trace(grid, (2, visit(0, [1], 5) + visit(0, [1], 4)))
    yield "own_layer_back", trace(grid, (2, visit(1, [1], 5) + visit(0, [1], 5)))
    yield "own_expert_300", trace(grid, (2, visit(0, [300])))
    yield "own_expert_twice", trace(grid, (2, visit(0, [3, 3])))
    yield "own_number_too_long", trace(grid, (2, b"\xff" * 11))
    yield "own_tokens_of_nothing", trace((1, struct.pack("<IIII", 0, 1024, 4096, 256)),
                                         (2, b"".join(visit(0, [], t) for t in range(3000)) + visit(1, [1], 3000)))
    yield "own_grid_2000_layers", trace((1, struct.pack("<IIII", 0, 2000, 8, 2)))
    yield "own_time_wraps", trace((3, struct.pack("<Q", 2 ** 64 - 1) + numbers(2, 1 << 1, 7)))
    yield "own_time_back", trace(requests, (3, struct.pack("<Q", 0) + numbers(0, 0)), (3, struct.pack(
        "<Q", 5) + numbers(0, 0)))
    yield "own_request_2_to_60", trace((3, struct.pack("<Q", 0) + numbers(0, 1 << 60)))
    yield "own_block_4_gib", b"b" + whole[1:17] + struct.pack("<IIII", 2, 2 ** 32 - 1, 0, 0)


def trace_inputs():
    """The first byte says which reader; see trace_fuzz.cpp."""
    def lines(*objects):
        return "".join(json.dumps(one) + "\n" for one in objects).encode()

    head = {"model": "m", "moe_layers": 2, "experts_per_layer": 8, "top_k": 2, "sequences": 1}
    tokens = [[[t % 8, (t + 1) % 8], [t % 4, 7]] for t in range(5)]
    experts = lines(head, {"sequence": 0, "prefill_tokens": 2, "routed_experts": tokens},
                    {"routed_experts": [[[0, -1], [-1, -1]]]})
    blocks = lines({"timestamp": 0, "hash_ids": [1, 2, 3]}, {"timestamp": 1000.5, "hash_ids": ["a", 2 ** 63]},
                   {"timestamp": 500, "hash_ids": []})
    csv = b"token,layer,experts\n0,0,1 2\n0,1,3\n1,0,4,5\n0,0,1|2\n"
    yield "valid_experts", b"j" + experts
    yield "valid_without_header", b"j" + lines({"routed_experts": tokens})
    yield "valid_blocks", b"j" + blocks
    yield "valid_csv", b"c" + csv
    yield "valid_xz", b"J" + lzma.compress(experts)
    yield "cut_experts", b"j" + experts[:150]
    yield "cut_xz", b"J" + lzma.compress(experts)[:-9]
    yield "damaged_xz", b"J" + bytes(b ^ (i == 40) for i, b in enumerate(lzma.compress(experts)))
    # A frame of one block that repeats a byte 128 KiB long, and none of what it needs.
    yield "valid_zst", b"Z" + b"\x28\xb5\x2f\xfd\x20" + bytes([len(blocks)]) + struct.pack(
        "<I", len(blocks) << 3 | 1)[:3] + blocks
    yield "zst_repeats", b"Z" + b"\x28\xb5\x2f\xfd\x00\x58" + struct.pack("<I", (1 << 17) << 3 | 3)[:3] + b" "
    yield "xz_bomb", b"J" + lzma.compress(bytes(80 << 20).replace(b"\0", b"\n"))
    yield "layers_2001", b"j" + b'{"routed_experts":[[' + b"[1]," * 2000 + b"[1]]]}"
    yield "top_k_4000", b"j" + b'{"routed_experts":[[[' + b",".join(b"%d" % i for i in range(4000)) + b"]]]}"
    yield "expert_2_to_70", b"j" + b'{"routed_experts":[[[1180591620717411303424]]]}'
    yield "key_twice", b"j" + b'{"routed_experts":[[[1]]],"routed_experts":[[[1]]]}'
    yield "hashes_nested", b"j" + b'{"hash_ids":[[1]]}'
    yield "time_negative", b"j" + b'{"timestamp":-1,"hash_ids":[1]}'
    yield "time_nan", b"j" + b'{"timestamp":NaN,"hash_ids":[1]}'
    yield "csv_token_2_to_62", b"c" + b"4611686018427387904,1023,4095\n0,0,0\n"
    yield "csv_layer_twice", b"c" + b"0,0,1\n0,0,2\n"
    yield "csv_wide", b"c" + b"0,0" + b",1" * 3000
    yield "csv_nothing_recorded", b"c" + b"0,0,-1\n"
    yield "empty", b"j"
    yield from own_trace_inputs()


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "corpus"
    for target, inputs in (("gguf", gguf_inputs()), ("safetensors", safetensors_inputs()),
                           ("seal", seal_inputs()), ("store_open", store_open_inputs()),
                           ("api", api_inputs()), ("trace", trace_inputs())):
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in inputs:
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
