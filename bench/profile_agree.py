#!/usr/bin/env python3
"""How far profiles of one machine agree, cell by cell.

Two or more that `cubby characterize --save` wrote, of the same directories: each is held against the first, point by point of the curves that both
have, and by the summaries, products and digests. A line has the median and the worst of how far bytes a second and the median latency are off, and
how many cells are more than 10 % off; `spread` is what the profiles say of themselves (the same loads, measured several times within a run), the
larger of the two.
"""
import argparse
import json
import statistics
from pathlib import Path


def cells_of(profile):
    """By tier and kind of load: bytes a second and median latency of each cell."""
    found = {}
    for tier in profile["tiers"]:
        for one in tier["curves"]:
            kind = (tier["name"], f"{one['op']}, {one['path']}" + (", beside write-back" if one["beside"] != "nothing" else ""))
            found[kind, (one["pages"], one["block_bytes"], one["depth"])] = one["bytes_per_s"], one["p50_ns"]
        for op in ("read", "write"):
            if tier[op]:
                found[(tier["name"], f"{op}, in short"), None] = tier[op]["bytes_per_s"], tier[op]["latency_ns"]
    if profile["compute"]:
        for name in ("product_bytes_per_s", "one_thread_product_bytes_per_s"):
            if profile["compute"].get(name):
                found[("processors", name), None] = profile["compute"][name], None
    if profile["verify"]["digest_bytes_per_s"]:
        found[("processors", "digest_bytes_per_s"), None] = profile["verify"]["digest_bytes_per_s"], None
    return found


def spread_of(profiles, name, kind):
    op = "write" if kind.startswith(("write", "mix70")) else "read"
    known = [(tier.get("spread") or {}).get(op) for profile in profiles for tier in profile["tiers"] if tier["name"] == name]
    known = [one for one in known if one is not None]
    return f"{100 * max(known):.0f} %" if known else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles", type=Path, nargs="+")
    parser.add_argument("--worst", type=int, default=0, help="so many cells by name, those that are off most")
    by = parser.parse_args()
    if len(by.profiles) < 2:
        parser.error("name two profiles at least")
    files = [json.loads(path.read_text()) for path in by.profiles]
    for path, one in zip(by.profiles, files):
        made, steady = one["made"], ", ".join(f"{tier['name']} {tier['steady']}" for tier in one["tiers"] if tier["steady"] is not None)
        print(f"{path}: {'quick' if made['quick'] else 'full'}, {made['at']}, {made['seconds']:.0f} s; steady: {steady or '-'}")
    first = cells_of(files[0])
    for path, other in zip(by.profiles[1:], files[1:]):
        print(f"\n{path} over {by.profiles[0]}")
        print(f"{'tier':28} {'load':34} {'cells':>5} {'ratio':>6} {'speed off':>16} {'latency off':>16} {'> 10 %':>6} {'spread':>7}")
        kinds, rows = {}, []
        for cell, (speed, ns) in cells_of(other).items():
            if cell not in first:
                continue
            before = first[cell]
            rows.append((cell, speed / before[0], ns / before[1] if ns and before[1] else None))
            kinds.setdefault(cell[0], []).append(rows[-1])
        for (name, kind), own in kinds.items():
            speeds, late = [abs(r[1] - 1) for r in own], [abs(r[2] - 1) for r in own if r[2]] or [0]
            print(f"{name[-28:]:28} {kind:34} {len(own):5} {statistics.median(r[1] for r in own):6.2f} {100 * statistics.median(speeds):6.0f} / {100 * max(speeds):3.0f} %  "
                  f"{100 * statistics.median(late):7.0f} / {100 * max(late):3.0f} %  {sum(one > 0.1 for one in speeds):6} {spread_of((files[0], other), name, kind):>7}")
        for cell, ratio, late in sorted(rows, key=lambda row: -abs(row[1] - 1))[:by.worst]:
            print(f"  {ratio:.2f}, latency {late or 0:.2f}: {cell[0][0]}: {cell[0][1]}, {cell[1]}")


if __name__ == "__main__":
    main()
