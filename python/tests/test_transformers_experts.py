"""transformers with experts in lockers: the logits of plain transformers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

import cubby  # noqa: E402
from cubby.integrations import transformers as experts  # noqa: E402

COMMON: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "mixtral": (
        "Mixtral",
        {"intermediate_size": 256, "num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "qwen3_moe": (
        "Qwen3Moe",
        {"moe_intermediate_size": 64, "num_experts": 16, "num_experts_per_tok": 4, "head_dim": 32},
    ),
    "gpt_oss": (
        "GptOss",
        {"intermediate_size": 128, "num_local_experts": 8, "num_experts_per_tok": 2}
        | {"head_dim": 32},
    ),
    "deepseek_v3": (
        "DeepseekV3",
        {"moe_intermediate_size": 64, "n_routed_experts": 16, "num_experts_per_tok": 4}
        | {"n_group": 4, "topk_group": 2, "first_k_dense_replace": 1, "q_lora_rank": 32}
        | {"kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "v_head_dim": 32}
        | {"num_key_value_heads": 4},
    ),
}


def make(name: str, folder: Path, shard: str = "1GB") -> Path:
    """A small random checkpoint in bfloat16."""
    kind, settings = MODELS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**(COMMON | settings))
    model = getattr(transformers, f"{kind}ForCausalLM")(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size=shard)
    return folder


def plain(path: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


@pytest.mark.parametrize("name", list(MODELS))
def test_the_logits_are_those_of_plain_transformers(name: str, tmp_path: Path) -> None:
    path = make(name, tmp_path)
    usual = plain(path)
    model = experts.load(path, host_bytes=3 << 19, dtype=torch.float32)
    ids = torch.arange(10, 42)[None]
    with torch.no_grad():
        difference = (usual(ids).logits - model(ids).logits).abs().max().item()
    print(f"\n{name}: largest difference of a logit {difference:.2e}")
    assert difference <= 1e-5
    how = {"max_new_tokens": 16, "do_sample": False}
    assert torch.equal(usual.generate(ids, **how), model.generate(ids, **how))
    assert not [n for n, _ in model.named_parameters() if n.endswith(("gate_up_proj", "down_proj"))]
    tier = model.cubby.runtime.stats()["tiers"][0]
    assert tier["evict_count"] > 0, "the memory holds a part of the experts"
    model.cubby.close()


def test_a_sharded_checkpoint(tmp_path: Path) -> None:
    path = make("qwen3_moe", tmp_path, shard="1MB")
    assert len(list(path.glob("*.safetensors"))) > 1
    model = experts.load(path, host_bytes=8 << 20, dtype=torch.float32)
    ids = torch.arange(10, 42)[None]
    with torch.no_grad():
        assert (plain(path)(ids).logits - model(ids).logits).abs().max().item() <= 1e-5
    model.cubby.close()


def test_attach_gives_up_the_parameters(tmp_path: Path) -> None:
    path = make("mixtral", tmp_path)
    model, usual = plain(path), plain(path)
    before = sum(p.numel() for p in model.parameters())
    held = experts.Experts(path, host_bytes=8 << 20)
    experts.attach(model, held)
    assert sum(p.numel() for p in model.parameters()) < before / 4
    ids = torch.arange(10, 42)[None]
    with torch.no_grad():
        assert (usual(ids).logits - model(ids).logits).abs().max().item() <= 1e-5
    held.close()
    with pytest.raises(cubby.ShutdownError), torch.no_grad():
        model(ids)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError)):
        experts.load(tmp_path / "nothing", host_bytes=8 << 20)
    with pytest.raises(FileNotFoundError):
        experts.find_checkpoint(tmp_path)
    path = make("mixtral", tmp_path / "model")
    with pytest.raises(cubby.CubbyError):
        experts.load(path, host_bytes=1 << 14, dtype=torch.float32)(torch.arange(10, 42)[None])
    torch.manual_seed(0)
    dense = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(intermediate_size=256, head_dim=32, **COMMON)
    )
    held = experts.Experts(path, host_bytes=8 << 20)
    with pytest.raises(cubby.NotSupportedError):
        experts.attach(dense, held)
    held.close()


def test_a_tensor_is_memory_for_blocks() -> None:
    with cubby.Runtime() as runtime:
        host = runtime.add_tier("host", "host:0", 8 << 20)
        bank = runtime.add_bank("kv", "kv", 1, 64, 4096)
        space = runtime.add_space(bank, b"tensors")
        tensor = torch.arange(2048, dtype=torch.int32).to(torch.bfloat16)
        space.put(b"a", tensor)
        into = torch.zeros(2048, dtype=torch.bfloat16)
        assert space.get(b"a", into)
        assert torch.equal(tensor, into)
        with pytest.raises(BufferError):
            space.get(b"a", torch.zeros(4096, dtype=torch.bfloat16)[::2])
        with pytest.raises(BufferError):
            space.get(b"a", torch.zeros(1024, requires_grad=True))
        with space.pin(b"a", host) as pins:
            seen = torch.from_dlpack(pins.view(0)).view(torch.bfloat16)
            assert torch.equal(seen, tensor)
        with pytest.raises(cubby.BusyError):
            space.drop(b"a")  # `seen` is in use
        del seen
        space.drop(b"a")
