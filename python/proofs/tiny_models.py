"""Random models with a byte tokenizer, made without a network: `python tiny_models.py FOLDER`.

llama has much KV for its size (32 KiB a token), other is its twin with other weights, qwen3moe has
experts and another layout.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

VOCABULARY = 512


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        words.setdefault(letter, len(words))
    while len(words) < VOCABULARY:
        words[f"<extra{len(words)}>"] = len(words)
    made = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def _llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=8,
            num_attention_heads=8,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=4096,
            bos_token_id=1,
            eos_token_id=2,
            initializer_range=0.1,
        )
    )


def _qwen3moe() -> Any:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            moe_intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            num_experts=16,
            num_experts_per_tok=4,
            max_position_embeddings=4096,
            bos_token_id=1,
            eos_token_id=2,
            initializer_range=0.1,
        )
    )


MAKERS = {"llama": (0, _llama), "other": (1, _llama), "qwen3moe": (2, _qwen3moe)}


def make(folder: Path, *names: str) -> None:
    """Writes those of these names, or all, that are not there."""
    import torch

    for name in names or MAKERS:
        seed, maker = MAKERS[name]
        if (folder / name / "done").exists():
            continue
        torch.manual_seed(seed)
        maker().to(torch.bfloat16).save_pretrained(folder / name)
        _tokenizer().save_pretrained(folder / name)
        (folder / name / "done").touch()


def prompts_of(plan: dict[str, Any]) -> list[list[int]]:
    """The prompts of an engine's run: the same for the same plan, none the start of another."""
    draw = random.Random(plan["seed"])
    return [[draw.randrange(3, 500) for _ in range(plan["tokens"])] for _ in range(plan["prompts"])]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
