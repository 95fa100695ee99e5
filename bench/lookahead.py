#!/usr/bin/env python3
"""How much of the demo's bound one layer's lookahead leaves, and how much of that the runtime reaches.

The bound of `cubby bench decode` lets reads and products overlap whatever their order in a run. But the experts of a layer are known
one layer ahead only, so what is missing in one layer cannot be read behind the products of many. This runs the demo with a
recording, and that recording through the model of `cubby replay --timing` (docs/timing.md) with the compute time, the disk
and the tiers of the same run: what a runtime without any cost of its own would reach.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path


def answer(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cubby", type=Path, help="the command, as build/release/bin/cubby")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--device-budget", default="0", help="share of the experts in %%, or 0 (default)")
    parser.add_argument("--host-budget", default="50%", help="share of the experts in %% (default: 50)")
    parser.add_argument("--routes", help="routed_experts as JSONL or JSONL.xz (default: made up)")
    parser.add_argument("--link", default="25GB/s,10us", help="the device's, as the demo emulates it (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=24, help="of the model (default: the demo's own)")
    parser.add_argument("--object-bytes", type=int, default=3342336, help="of an expert (default: the demo's own)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "demo.cubbytrace"
        demo = [chosen.cubby, "demo", "--no-baselines", "--json", "--tokens", chosen.tokens, "--record", trace,
                "--device-budget", chosen.device_budget, "--host-budget", chosen.host_budget]
        ran = answer(demo + (["--routes", chosen.routes] if chosen.routes else []))
        disk = f"{ran['bare_gb_per_s']:.3f}GB/s,100us"
        tiers = ["--capacity", chosen.host_budget, "--link", f"host:{disk}"]
        if chosen.device_budget != "0":
            tiers = ["--capacity", chosen.device_budget, "--host-capacity", chosen.host_budget,
                     "--link", f"host:{chosen.link}", "--link", f"nvme:{disk}"]
        compute_ns = ran["compute_ns"] // ran["tokens"] // chosen.layers
        model = answer([chosen.cubby, "replay", "--timing", "--trace", trace, "--policy", "moe", "--lookahead", 1, "--json",
                        "--quiet", "--object-bytes", chosen.object_bytes, "--compute-ns", compute_ns] + tiers)["results"][0]
    bound = ran["bound_tokens_per_s"]
    said = {"tokens_per_s": ran["tokens_per_s"], "bound_tokens_per_s": bound, "model_tokens_per_s": model["tokens_per_s"],
            "share_of_bound": ran["tokens_per_s"] / bound, "model_share_of_bound": model["tokens_per_s"] / bound,
            "share_of_model": ran["tokens_per_s"] / model["tokens_per_s"]}
    if chosen.json:
        print(json.dumps(said))
    else:
        print(f"{ran['tokens_per_s']:.1f} tokens/s of a bound of {bound:.1f}: {said['share_of_bound']:.2f}; one layer's lookahead "
              f"leaves {model['tokens_per_s']:.1f}: {said['model_share_of_bound']:.2f}, of which the runtime reaches "
              f"{said['share_of_model']:.2f}")


if __name__ == "__main__":
    main()
