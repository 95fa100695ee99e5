"""Tiny random GGUF models that llama.cpp loads: `python llama_models.py FOLDER`.

One for each way in which experts lie in a file: gate, up and down apart (k-quants, whose kernels
for many rows differ from those for one), gate and up fused beside shared experts and a dense first
layer, MXFP4 with biases, a split set, and a model without experts. The "still" ones are alike, but
their layers add nothing to the hidden state, so that a router's choice follows from any layer's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from gguf import (
    GGML_QUANT_SIZES,
    ExpertGatingFuncType,
    GGMLQuantizationType,
    GGUFWriter,
    TokenType,
    quants,
)

Kind = GGMLQuantizationType
WIDTH = 256
VOCABULARY = 320
LAYERS = 3
EXPERTS = 16
USED = 4


class Model:
    """A GGUF under construction; tensors are named and shaped as GGUF has them."""

    def __init__(
        self, path: Path, arch: str, seed: int, split_tensors: int = 0, still: bool = False
    ) -> None:
        self.path = path
        self.still = still
        self.writer = GGUFWriter(path, arch, split_max_tensors=split_tensors)
        self.random = np.random.default_rng(seed)
        self._tokens()
        out = self.writer
        out.add_name(f"cubby proof {path.stem}")
        out.add_context_length(4096)
        out.add_embedding_length(WIDTH)
        out.add_block_count(LAYERS)
        out.add_layer_norm_rms_eps(1e-6)
        out.add_vocab_size(VOCABULARY)

    def _tokens(self) -> None:
        words = [f"<extra{number}>" for number in range(VOCABULARY)]
        words[:256] = [chr(0x100 + byte) for byte in range(256)]
        self.writer.add_tokenizer_model("gpt2")
        self.writer.add_tokenizer_pre("gpt-2")
        self.writer.add_token_list(words)
        self.writer.add_token_types([TokenType.NORMAL] * VOCABULARY)
        self.writer.add_token_merges(["\u0100 \u0101"])
        self.writer.add_bos_token_id(0)
        self.writer.add_eos_token_id(VOCABULARY - 1)

    def attention(self, heads: int, head_width: int) -> None:
        out = self.writer
        out.add_head_count(heads)
        out.add_head_count_kv(heads // 2)
        out.add_key_length(head_width)
        out.add_value_length(head_width)
        out.add_rope_freq_base(10000.0)

    def experts(self, width: int) -> None:
        self.writer.add_expert_count(EXPERTS)
        self.writer.add_expert_used_count(USED)
        self.writer.add_expert_feed_forward_length(width)

    def plain(self, name: str, *shape: int, near: float = 0.0, scale: float = 0.05) -> None:
        values = near + scale * self.random.standard_normal(shape)
        if self._adds_to_state(name):
            values[...] = 0
        self.writer.add_tensor(name, values.astype(np.float32))

    def _adds_to_state(self, name: str) -> bool:
        return self.still and ("attn_output" in name or "ffn_down" in name)

    def norm(self, name: str, width: int = WIDTH) -> None:
        self.plain(f"{name}.weight", width, near=1.0)

    def weight(self, name: str, *shape: int, kind: Kind = Kind.Q8_0) -> None:
        """`shape` is slowest first: (experts, rows, columns)."""
        name = f"{name}.weight"
        if kind in (Kind.Q8_0, Kind.MXFP4, Kind.Q4_0):
            values = 0.05 * self.random.standard_normal(shape).astype(np.float32)
            if self._adds_to_state(name):
                values[...] = 0
            self.writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
            return
        block, size = GGML_QUANT_SIZES[kind]
        blocks = self.random.integers(0, 256, (*shape[:-1], shape[-1] // block, size), np.uint8)
        # Half-precision scales: those of Q4_K stand first, that of Q6_K last.
        scales = {Kind.Q4_K: [(0, 4e-4), (2, 2e-3)], Kind.Q6_K: [(208, 3e-5)]}[kind]
        for at, value in scales:
            blocks[..., at : at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
        if self._adds_to_state(name):
            blocks[...] = 0
        raw = blocks.reshape(*shape[:-1], shape[-1] // block * size)
        self.writer.add_tensor(name, raw, raw_dtype=kind)

    def ends(self) -> None:
        self.weight("token_embd", VOCABULARY, WIDTH)
        self.norm("output_norm")
        self.weight("output", VOCABULARY, WIDTH)

    def save(self) -> None:
        self.writer.write_header_to_file(self.path)
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def _qwen3(
    path: Path, dense: bool, split_tensors: int = 0, seed: int = 1, still: bool = False
) -> None:
    model = Model(path, "qwen3" if dense else "qwen3moe", seed, split_tensors, still)
    model.attention(heads=4, head_width=64)
    model.writer.add_feed_forward_length(256)
    if not dense:
        model.experts(256)
    model.ends()
    for layer in range(LAYERS):
        at = f"blk.{layer}"
        for name in ("attn_norm", "ffn_norm"):
            model.norm(f"{at}.{name}")
        for name in ("attn_q_norm", "attn_k_norm"):
            model.norm(f"{at}.{name}", 64)
        for name, rows in (("attn_q", 256), ("attn_k", 128), ("attn_v", 128), ("attn_output", 256)):
            model.weight(f"{at}.{name}", rows, WIDTH)
        if dense:
            for name in ("ffn_gate", "ffn_up", "ffn_down"):
                model.weight(f"{at}.{name}", 256, WIDTH)
            continue
        model.plain(f"{at}.ffn_gate_inp.weight", EXPERTS, WIDTH, scale=0.3)
        model.weight(f"{at}.ffn_gate_exps", EXPERTS, 256, WIDTH, kind=Kind.Q4_K)
        model.weight(f"{at}.ffn_up_exps", EXPERTS, 256, WIDTH, kind=Kind.Q4_K)
        down = Kind.Q6_K if layer % 2 == 0 else Kind.Q8_0
        model.weight(f"{at}.ffn_down_exps", EXPERTS, WIDTH, 256, kind=down)
    model.save()


def _gpt_oss(path: Path, still: bool = False) -> None:
    model = Model(path, "gpt-oss", seed=2, still=still)
    model.attention(heads=4, head_width=64)
    model.writer.add_feed_forward_length(160)
    model.writer.add_sliding_window(16)
    model.experts(160)
    model.ends()
    for layer in range(LAYERS):
        at = f"blk.{layer}"
        for name in ("attn_norm", "post_attention_norm"):
            model.norm(f"{at}.{name}")
        for name, rows in (("attn_q", 256), ("attn_k", 128), ("attn_v", 128), ("attn_output", 256)):
            model.weight(f"{at}.{name}", rows, WIDTH)
            model.plain(f"{at}.{name}.bias", rows)
        model.plain(f"{at}.attn_sinks.weight", 4)
        model.plain(f"{at}.ffn_gate_inp.weight", EXPERTS, WIDTH, scale=0.3)
        model.plain(f"{at}.ffn_gate_inp.bias", EXPERTS)
        for name, rows, columns in (("gate", 160, WIDTH), ("up", 160, WIDTH), ("down", WIDTH, 160)):
            model.weight(f"{at}.ffn_{name}_exps", EXPERTS, rows, columns, kind=Kind.MXFP4)
            model.plain(f"{at}.ffn_{name}_exps.bias", EXPERTS, rows)
    model.save()


def _deepseek2(path: Path, still: bool = False) -> None:
    """Multi-head latent attention, a dense first layer, a shared expert, gate and up fused. A still
    one chooses experts as DeepSeek-V3 does, by sigmoids with a bias."""
    heads, nope, rope, value, latent, query = 4, 32, 32, 64, 64, 96
    model = Model(path, "deepseek2", seed=3, still=still)
    out = model.writer
    out.add_head_count(heads)
    out.add_head_count_kv(1)
    out.add_key_length(latent + rope)
    out.add_value_length(latent)
    out.add_key_length_mla(nope + rope)
    out.add_value_length_mla(value)
    out.add_rope_freq_base(10000.0)
    out.add_rope_dimension_count(rope)
    out.add_q_lora_rank(query)
    out.add_kv_lora_rank(latent)
    out.add_feed_forward_length(256)
    out.add_leading_dense_block_count(1)
    out.add_expert_shared_count(1)
    out.add_expert_weights_scale(1.0)
    if still:
        out.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
    model.experts(128)
    model.ends()
    for layer in range(LAYERS):
        at = f"blk.{layer}"
        for name, width in (
            ("attn_norm", WIDTH),
            ("ffn_norm", WIDTH),
            ("attn_q_a_norm", query),
            ("attn_kv_a_norm", latent),
        ):
            model.norm(f"{at}.{name}", width)
        model.weight(f"{at}.attn_q_a", query, WIDTH)
        model.weight(f"{at}.attn_q_b", heads * (nope + rope), query)
        model.weight(f"{at}.attn_kv_a_mqa", latent + rope, WIDTH)
        model.weight(f"{at}.attn_k_b", heads, latent, nope)
        model.weight(f"{at}.attn_v_b", heads, value, latent)
        model.weight(f"{at}.attn_output", WIDTH, heads * value)
        if layer == 0:
            for name in ("ffn_gate", "ffn_up", "ffn_down"):
                model.weight(f"{at}.{name}", 256, WIDTH)
            continue
        model.plain(f"{at}.ffn_gate_inp.weight", EXPERTS, WIDTH, scale=0.3)
        if still:
            model.plain(f"{at}.exp_probs_b.bias", EXPERTS, scale=0.5)
        model.weight(f"{at}.ffn_gate_up_exps", EXPERTS, 256, WIDTH, kind=Kind.Q4_K)
        model.weight(f"{at}.ffn_down_exps", EXPERTS, WIDTH, 128)
        for name, rows, columns in (("gate", 128, WIDTH), ("up", 128, WIDTH), ("down", WIDTH, 128)):
            model.weight(f"{at}.ffn_{name}_shexp", rows, columns)
    model.save()


def make(folder: Path) -> dict[str, Path]:
    """Makes all of them; by name, the file to load."""
    folder.mkdir(parents=True, exist_ok=True)
    _qwen3(folder / "apart.gguf", dense=False)
    _qwen3(folder / "split.gguf", dense=False, split_tensors=20)
    _qwen3(folder / "dense.gguf", dense=True)
    _gpt_oss(folder / "mxfp4.gguf")
    _deepseek2(folder / "fused.gguf")
    _qwen3(folder / "still-apart.gguf", dense=False, still=True)
    _gpt_oss(folder / "still-mxfp4.gguf", still=True)
    _deepseek2(folder / "still-fused.gguf", still=True)
    kinds = ("apart", "mxfp4", "fused")
    names = (*kinds, "dense", *(f"still-{kind}" for kind in kinds))
    made = {name: folder / f"{name}.gguf" for name in names}
    made["split"] = next(iter(sorted(folder.glob("split-00001-of-*.gguf"))))
    return made


if __name__ == "__main__":
    for name, path in make(Path(sys.argv[1])).items():
        print(name, path)
