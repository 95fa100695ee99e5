"""transformers with KV blocks in lockers: the logits of plain transformers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

import cubby  # noqa: E402
from cubby.integrations.transformers_cache import KvLockers  # noqa: E402

# transformers 5.24 calls the argument `cache`; the versions before know the old name alone.
pytestmark = pytest.mark.filterwarnings("ignore:.*past_key_values.*:FutureWarning")

BLOCK = 16
MIB = 1 << 20


def make(seed: int = 0, kind: str = "Llama", **settings: Any) -> Any:
    """A small random model in float32."""
    torch.manual_seed(seed)
    whole = {
        "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        "initializer_range": 0.1,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**(whole | settings))
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


def prompt(count: int, seed: int = 5) -> Any:
    made = torch.Generator().manual_seed(seed)
    return torch.randint(3, 500, (1, count), generator=made)


def generate(model: Any, ids: Any, cache: Any = None, count: int = 24) -> tuple[Any, Any]:
    """Tokens, and the logits that they were chosen from."""
    out = model.generate(
        ids, past_key_values=cache, max_new_tokens=count, do_sample=False,
        output_logits=True, return_dict_in_generate=True, eos_token_id=None,
    )  # fmt: skip
    return out.sequences, torch.stack(out.logits)


def lockers(model: Any, path: Path | None = None, host_bytes: int = 8 * MIB, **how: Any) -> Any:
    return KvLockers(model, host_bytes, path, 64 * MIB, block_tokens=BLOCK, **how)


@pytest.mark.parametrize("kind", ["Llama", "Qwen3Moe", "DeepseekV3"])
def test_the_logits_are_those_of_plain_transformers(kind: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {}
    if kind != "Llama":
        more = {"moe_intermediate_size": 64, "num_experts": 8, "num_experts_per_tok": 2}
    if kind == "DeepseekV3":
        more |= {"n_routed_experts": 8, "n_group": 4, "topk_group": 2, "q_lora_rank": 32}
        more |= {"kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 16}
        more |= {"v_head_dim": 32, "num_key_value_heads": 4, "head_dim": 16}
    model, ids = make(kind=kind, **more), prompt(100)
    tokens, logits = generate(model, ids)
    with lockers(model, tmp_path) as made, made.cache(ids) as cache:
        assert cache.get_seq_length() == 0
        seen, same = generate(model, ids, cache)
        assert cache.get_seq_length() == 123
        assert made.stats()["tiers"][0]["used_bytes"] > 0
    assert torch.equal(seen, tokens)
    assert torch.equal(same, logits), "the same states in the same order"


def test_a_prompt_is_found_in_a_new_process(tmp_path: Path) -> None:
    model, ids = make(), prompt(100)
    tokens, logits = generate(model, ids)
    with lockers(model, tmp_path) as made, made.cache(ids) as cache:
        generate(model, ids, cache)
    with lockers(make(), tmp_path) as made, made.cache(ids) as cache:
        assert cache.get_seq_length() == 96
        seen, again = generate(model, ids, cache)
        difference = (again - logits).abs().max().item()
    print(f"\nlargest difference of a logit {difference:.2e}")
    assert torch.equal(seen, tokens)
    assert difference <= 1e-5


def test_an_answer_is_found_in_the_next_turn(tmp_path: Path) -> None:
    model, ids = make(), prompt(40)
    with lockers(model, tmp_path) as made:
        with made.cache(ids) as cache:
            tokens, _ = generate(model, ids, cache, 40)
        longer = torch.cat((tokens, prompt(20, 9)), dim=1)
        expected, _ = generate(model, longer)
        with made.cache(longer) as cache:
            assert cache.get_seq_length() == 64, "79 of the first turn's tokens were computed"
            assert torch.equal(generate(model, longer, cache)[0], expected)


def test_prompts_share_what_they_have_in_common(tmp_path: Path) -> None:
    model, ids = make(), prompt(100)
    with lockers(model, tmp_path) as made:
        with made.cache(ids) as cache:
            generate(model, ids, cache, 2)
        other = torch.cat((ids[:, :50], prompt(50, 9)), dim=1)
        with made.cache(other) as cache:
            assert cache.get_seq_length() == 48
            assert torch.equal(generate(model, other, cache)[0], generate(model, other)[0])


def test_blocks_that_do_not_fit_into_memory(tmp_path: Path) -> None:
    model, ids = make(), prompt(600)
    tokens, logits = generate(model, ids, count=4)
    # 3 layers of 37 blocks of 8 KiB, in memory for 32 of those 111.
    with lockers(model, tmp_path, 32 * 8192) as made, made.cache(ids) as cache:
        seen, same = generate(model, ids, cache, 4)
        assert made.stats()["tiers"][0]["evict_count"] > 0
    assert torch.equal(seen, tokens)
    assert torch.equal(same, logits)


def test_in_memory_alone() -> None:
    model, ids = make(), prompt(100)
    tokens, _ = generate(model, ids)
    with lockers(model) as made:
        first = made.cache(ids)
        assert torch.equal(generate(model, ids, first)[0], tokens)
        with made.cache(ids) as cache:
            assert cache.get_seq_length() == 96
            assert torch.equal(generate(model, ids, cache)[0], tokens)
        first.close()
        first.close()
    with (
        lockers(model, host_bytes=64 << 10) as made,
        made.cache(ids) as cache,
        pytest.raises(cubby.BudgetError, match="host_bytes"),
    ):
        generate(model, ids, cache)


def test_other_models_and_blocks_find_nothing(tmp_path: Path) -> None:
    model, ids = make(), prompt(100)
    with lockers(model, tmp_path) as made, made.cache(ids) as cache:
        generate(model, ids, cache, 2)
    others = [(make(1), {}), (model, {"identity": "another"}), (make().to(torch.bfloat16), {})]
    for other, how in others:
        with lockers(other, tmp_path, **how) as made, made.cache(ids) as cache:
            assert cache.get_seq_length() == 0
    with KvLockers(model, 8 * MIB, tmp_path, 64 * MIB, block_tokens=32) as made:
        assert made.cache(ids).get_seq_length() == 0
    with lockers(model, tmp_path) as made:
        assert made.cache(ids).get_seq_length() == 96


def test_what_tokens_do_not_name_is_not_shared(tmp_path: Path) -> None:
    model, ids = make(), prompt(80)
    places = torch.arange(80)[None]
    odd = {
        "embeddings": {"inputs_embeds": model.get_input_embeddings()(ids)},
        "places": {"input_ids": ids, "position_ids": places + 7},
        "a mask": {"input_ids": ids, "attention_mask": (places > 3).long()},
    }
    with lockers(model, tmp_path) as made, torch.no_grad():
        for name, given in odd.items():
            with made.cache() as cache:
                expected = model(**given).logits
                assert torch.equal(model(**given, past_key_values=cache).logits, expected), name
                assert cache.get_seq_length() == 80
            with made.cache(ids) as cache:
                assert cache.get_seq_length() == 0, name
        with made.cache() as cache:
            model(input_ids=ids, position_ids=places, past_key_values=cache)
        assert made.cache(ids).get_seq_length() == 64


def test_another_prompt_than_the_one_that_was_looked_up(tmp_path: Path) -> None:
    """A cache says what it holds by the tokens that the model is given, not by those looked up."""
    model, ids, other = make(), prompt(80), prompt(80, 9)
    with lockers(model, tmp_path) as made, torch.no_grad():
        with made.cache(ids) as cache:
            model(input_ids=other, past_key_values=cache)
        assert made.cache(ids).get_seq_length() == 0
        assert made.cache(other).get_seq_length() == 64


def test_crop(tmp_path: Path) -> None:
    model, ids = make(), prompt(80)
    with lockers(model, tmp_path) as made, torch.no_grad():
        for away in (0, 3, 16, 40, 79):
            with made.cache() as cache:
                model(input_ids=ids, past_key_values=cache)
                cache.crop(-away)
                assert cache.get_seq_length() == 80 - away
                other = prompt(8, 11)
                expected = model(input_ids=torch.cat((ids[:, : 80 - away], other), 1)).logits
                seen = model(input_ids=other, past_key_values=cache).logits
                assert (seen - expected[:, -8:]).abs().max().item() <= 1e-5
                with pytest.raises(ValueError):
                    cache.crop(5)
                cache.reset()
                assert cache.get_seq_length() == 0


def test_what_is_not_served(tmp_path: Path) -> None:
    model, ids = make(), prompt(20)
    with lockers(model, tmp_path) as made:
        with pytest.raises(cubby.NotSupportedError, match="sequence"):
            made.cache(ids.repeat(2, 1))
        with made.cache() as cache, pytest.raises(cubby.NotSupportedError), torch.no_grad():
            model(input_ids=ids.repeat(2, 1), past_key_values=cache)
        with made.cache(ids) as cache, pytest.raises(cubby.NotSupportedError):
            model.generate(ids, past_key_values=cache, num_beams=2, max_new_tokens=4)
        with pytest.raises(cubby.InUseError):
            lockers(model, tmp_path)
    sliding = make(kind="Mistral", sliding_window=16)
    with pytest.raises(cubby.NotSupportedError, match="full attention"):
        lockers(sliding)
