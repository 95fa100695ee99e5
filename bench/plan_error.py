#!/usr/bin/env python3
"""How far `cubby plan` is off on this machine.

Round by round (with --each, row by row): the machine is measured (`cubby characterize --quick --save`), `cubby plan` says tokens a second and the share of time that is
waited, and the same is run: `cubby bench decode` with its experts divided among an emulated device, host memory and the file, and
`cubby replay --io --store` of recorded KV blocks, each round beginning with another. Medians of predicted over measured are printed by row, with the
terms on both sides, so that a row that is off says by which.

Others on the machine slow a run down but not its profile, which takes medians of short pieces. So a run is reported twice: by the clock, and `awake`:
without the time in which its threads could run and others had the processors (/proc/self/task/*/schedstat). `file GB/s` is the profile's
read by the library on the predicted side, and a bare loop's just before and after the run on the measured one. `disk` is what `awake` would be if the
profile had found the disk as fast as that bare loop did: on a shared disk, whose speed changes within minutes, that parts the plan's error from the disk's.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BUDGETS = [(20, 30), (10, 20), (40, 20), (0, 25), (0, 50), (0, 75)]


def answer(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout.strip()}\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def with_device(profile, device_bytes):
    """The demo's device: host memory behind a link of 25 GB/s and 10 us, whose copies are the processor's. One thread copies in, and
    copies out what makes room."""
    host = next(tier for tier in profile["tiers"] if tier["kind"] == "host")
    copy = max(point["bytes_per_s"] for point in host["curves"] if point["op"] == "copy" and point["depth"] == 1)
    changed = json.loads(json.dumps(profile))
    device = {key: None for key in ("read", "write", "steady", "price_usd_per_byte", "endurance_write_bytes")}
    device.update({"name": "device:0", "kind": "device", "where": "emulated", "capacity_bytes": device_bytes, "curves": [], "knees": [],
                   "origin": "assumed", "source": "the demo's emulated device", "notes": []})
    changed["tiers"].append(device)
    changed["links"].append({"from": host["name"], "to": "device:0", "bytes_per_s": min(25e9, copy / 2), "latency_ns": 10000,
                             "origin": "measured", "source": "copies in and out by one thread: half of its copies in memory"})
    changed["compute"]["where"] = "device:0"
    return changed


def lone_reads(tier):
    return {(point["block_bytes"], point["depth"]): point for point in tier["curves"]
            if point["op"] == "read" and point["path"] == "bare" and point["beside"] == "nothing"}


def with_disk(profile, bare_bytes_per_s):
    """The same profile, if the disk had been as fast as a bare loop found it around the run (2 MiB, 8 at once): its curves and links by one factor. The
    profile has no such point; it is taken as the mean, over the logarithms, of 1 and 4 MiB at depths 4 and 16, or at 8 where there is that."""
    changed = json.loads(json.dumps(profile))
    for tier in changed["tiers"]:
        if tier["kind"] != "file" or not bare_bytes_per_s:
            continue
        reads = lone_reads(tier)
        near = [reads[at]["bytes_per_s"] for at in ((1 << 20, 8), (4 << 20, 8)) if at in reads]
        near = near or [reads[block, depth]["bytes_per_s"] for block in (1 << 20, 4 << 20) for depth in (4, 16)]
        factor = bare_bytes_per_s / statistics.geometric_mean(near)
        for point in tier["curves"] + [tier["read"]]:
            point["bytes_per_s"] *= factor
            for name in ("p50_ns", "p99_ns", "p999_ns", "latency_ns"):
                if point.get(name):
                    point[name] /= factor
        for link in changed["links"]:
            if link["from"] == tier["name"]:
                link["bytes_per_s"] *= factor
    return changed


class Decode:
    """One budget of `bench decode`."""

    knows_disk = True

    def __init__(self, by, device, host):
        self.by, self.device, self.host = by, device, host
        self.name = f"decode {device}/{host}/{100 - device - host}"

    def run(self):
        command = [self.by.cubby, "bench", "decode", "--no-baselines", "--json", "--tokens", self.by.tokens, "--model", self.by.model,
                   "--device-budget", f"{self.device}%" if self.device else "0", "--host-budget", f"{self.host}%"]
        if self.by.routes:
            command += ["--routes", self.by.routes]
        if not self.by.trace.exists():
            command += ["--record", self.by.trace]
        ran = answer(command)
        tokens, ms = ran["tokens"], 1e3 / ran["tokens"]
        starved = ran["starved_ns"]
        waited = ran["stall"]["waited_ns"]
        awake_wait = max(0, waited - starved["runtime"])
        # A thread that waits makes digests meanwhile, so its processor time and its waits overlap.
        awake = ran["seconds"] - (starved["decoding"] + waited - awake_wait) / 1e9
        causes = ran["stall"]["by_cause_ns"]
        nearest = next(tier for tier in ran["tiers"] if tier["name"] == ("device:0" if self.device else "host:0"))
        return {"speed": ran["tokens_per_s"], "speed_awake": tokens / awake, "stall": ran["stall"]["share"],
                "stall_awake": awake_wait / 1e9 / awake, "starved": (starved["decoding"] + starved["runtime"]) / 1e9 / ran["seconds"],
                "hits": nearest["hits"] / (nearest["hits"] + nearest["misses"]),
                "terms": {"compute ms": ran["compute_cpu_ns"] / 1e6 / tokens, "read MB": ran["read_bytes"] / 1e6 / tokens,
                          "copied in MB": nearest["bytes_in"] / 1e6 / tokens if self.device else 0,
                          "stall ms": awake_wait / 1e6 / tokens, "file GB/s": ran["bare_gb_per_s"],
                          "between layers ms": 1e3 * ran["seconds"] / tokens - (ran["compute_ns"] + waited) / 1e6 / tokens,
                          "waited for reads ms": causes["read"] / 1e9 * ms, "for reads ahead ms": causes["join"] / 1e9 * ms,
                          "for copies ms": causes["copy"] / 1e9 * ms, "for frames ms": causes["frame_wait"] / 1e9 * ms,
                          "for threads ms": causes["handoff"] / 1e9 * ms}}

    def plan(self, profile):
        experts = self.by.expert_bytes
        budgets = [f"host:0={int(experts * self.host / 100)}"]
        if self.device:
            profile = with_device(profile, int(experts * self.device / 100))
            budgets.append(f"device:0={int(experts * self.device / 100)}")
        path = self.by.folder / "decode.json"
        path.write_text(json.dumps(profile))
        said = answer([self.by.cubby, "plan", "--json", "--model", self.by.model, "--profile", path, "--trace", self.by.trace,
                       "--threads", 1, "--lookahead", 1, "--experts-alone"] + [w for b in budgets for w in ("--budget", b)])["plan"]
        files = [tier for tier in said["tiers"] if tier["kind"] == "file"]
        device = self.device and sum(t["moved_bytes_per_step"] for t in said["tiers"])
        return {"speed": said["tokens_per_s"], "stall": said["stall_share"], "hits": said["expert_hits"],
                "terms": {"compute ms": 1e3 * said["compute_s"], "read MB": sum(t["moved_bytes_per_step"] for t in files) / 1e6,
                          "copied in MB": device / 1e6, "stall ms": 1e3 * said["stall_s"],
                          "file GB/s": max((t["bytes_per_s"] for t in files), default=0) / 1e9, "reads ms": 1e3 * sum(t["move_s"] for t in files),
                          "copies ms": 1e3 * sum(t["move_s"] for t in said["tiers"] if t["kind"] == "host"),
                          "digest ms": 1e3 * said["digest_s"],
                          "last read later ms": max((1e3 * t["last_read_later_s"] for t in files), default=0)}}


class Replay:
    """One trace of KV blocks."""

    knows_disk = False

    def __init__(self, by, trace):
        self.by, self.trace = by, trace
        self.name = f"replay {Path(trace).name.split('.')[0]}"
        self.own_ns = 0

    def run(self):
        store = tempfile.mkdtemp(dir=self.by.dir, prefix="plan_error.")
        try:
            ran = answer([self.by.cubby, "replay", "--io", "--store", store, "--trace", self.trace, "--policy", "lru", "--capacity", "25%",
                          "--object-bytes", self.by.block_bytes, "--limit", self.by.requests, "--json", "--quiet"])["results"][0]["io"]
        finally:
            shutil.rmtree(store)
        time, uses = ran["time"], ran["uses"]
        blocks = uses["memory"] + uses["disk"] + ran["put"]
        self.own_ns = time["own_ns"] / blocks
        awake = ran["seconds"] - min(ran["starved_ns"] / 1e9, 0.99 * ran["seconds"])
        waited = (time["disk_ns"] + time["put_ns"]) / 1e9
        return {"speed": blocks / ran["seconds"], "speed_awake": blocks / awake, "stall": waited / ran["seconds"],
                "stall_awake": max(0, waited - ran["starved_ns"] / 1e9) / awake, "starved": ran["starved_ns"] / 1e9 / ran["seconds"],
                "hits": uses["memory"] / blocks,
                "terms": {"memory ms": time["memory_ns"] / 1e6, "disk ms": time["disk_ns"] / 1e6, "put ms": time["put_ns"] / 1e6,
                          "own ms": time["own_ns"] / 1e6, "other ms": 1e3 * ran["seconds"] - sum(time.values()) / 1e6,
                          "gets of disk": uses["disk"], "puts": ran["put"]}}

    def plan(self, profile):
        path = self.by.folder / "replay.json"
        path.write_text(json.dumps(profile))
        said = answer([self.by.cubby, "plan", "--json", "--profile", path, "--kv-trace", self.trace, "--kv-block-bytes", self.by.block_bytes,
                       "--policy", "lru", "--kv-memory", "25%", "--kv-limit", self.by.requests, "--kv-own-ns", int(self.own_ns)])
        terms, uses = said["terms"], said["uses"]
        return {"speed": said["blocks_per_s"], "stall": said["stall_share"], "hits": uses["memory"] / sum(uses.values()),
                "terms": {"memory ms": 1e3 * terms["memory_s"], "disk ms": 1e3 * terms["disk_s"], "put ms": 1e3 * terms["put_s"],
                          "own ms": 1e3 * terms["own_s"], "gets of disk": uses["disk"], "puts": uses["put"]}}


def measured(by):
    saved = by.folder / "machine.json"
    subprocess.run([by.cubby, "characterize", "--quick", "--dir", by.dir, "--save", saved], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.loads(saved.read_text())


def off(ratio):
    return abs(ratio - 1)


def medians_of(rounds):
    """Medians of a row."""
    ratios = {kind: [r["plan"]["speed"] / r["run"][kind] for r in rounds] for kind in ("speed", "speed_awake")}
    made = {"ratio": statistics.median(ratios["speed"]), "ratio_awake": statistics.median(ratios["speed_awake"]),
            "ratios_awake": ratios["speed_awake"],
            "stall_error": statistics.median(r["plan"]["stall"] - r["run"]["stall"] for r in rounds),
            "stall_error_awake": statistics.median(r["plan"]["stall"] - r["run"]["stall_awake"] for r in rounds)}
    if "plan at its disk" in rounds[0]:
        made["ratio_disk"] = statistics.median(r["plan at its disk"]["speed"] / r["run"]["speed_awake"] for r in rounds)
    for side in ("plan", "run"):
        made[side] = {key: statistics.median(r[side][key] for r in rounds) for key in rounds[0][side] if key != "terms"}
        made[side]["terms"] = {key: statistics.median(r[side]["terms"][key] for r in rounds) for key in rounds[0][side]["terms"]}
    return made


def print_rows(rows):
    print(f"{'what (device/host/file)':28} {'predicted':>10} {'measured':>10} {'awake':>8} {'ratio':>6} {'awake':>6} {'disk':>6} {'waited':>14} {'hits':>12} starved")
    for name, row in rows.items():
        plan, run = row["plan"], row["run"]
        print(f"{name:28} {plan['speed']:10.1f} {run['speed']:10.1f} {run['speed_awake']:8.1f} {row['ratio']:6.2f} {row['ratio_awake']:6.2f} {row.get('ratio_disk', float('nan')):6.2f} "
              f"{plan['stall']:6.2f} {run['stall_awake']:7.2f} {plan['hits']:6.3f} {run['hits']:5.3f} {run['starved']:7.2f}")
        for side in ("plan", "run"):
            terms = ", ".join(f"{key} {value:.1f}" for key, value in row[side]["terms"].items())
            print(f"    {'predicted' if side == 'plan' else 'measured '}: {terms}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cubby", type=Path, help="the command, as build/release/bin/cubby")
    parser.add_argument("--dir", type=Path, required=True, help="on the disk that is measured; model and stores go there")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=100, help="of each run of bench decode; 0: none of those rows")
    parser.add_argument("--routes", help="routed_experts of 24 layers of 32 experts (default: made up)")
    parser.add_argument("--kv", action="append", default=[], help="a trace of KV blocks; may be said again")
    parser.add_argument("--requests", type=int, default=150, help="of each, that are replayed (default: %(default)s)")
    parser.add_argument("--block-bytes", type=int, default=65536)
    parser.add_argument("--ffn", type=int, default=1024, help="width of the model's experts (default: the demo's own)")
    parser.add_argument("--profile", type=Path, help="take this instead of measuring the machine in each round")
    parser.add_argument("--each", action="store_true", help="measure the machine before each row, not each round: 50 s a row, for a disk whose speed "
                        "changes within minutes")
    parser.add_argument("--json", type=Path, help="all of it, round by round, goes there")
    by = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=by.dir, prefix="plan_error.") as folder:
        by.folder, by.trace = Path(folder), Path(folder) / "routes.ctr"
        by.model = by.folder / "model.gguf"
        by.expert_bytes = by.tokens and answer([by.cubby, "make-model", "--layers", 24, "--experts", 32, "--top-k", 4, "--ffn", by.ffn, "--out", by.model,
                                  "--json"])["expert_bytes"]
        rows = [Decode(by, *budget) for budget in BUDGETS if by.tokens] + [Replay(by, trace) for trace in by.kv]
        seen = {row.name: [] for row in rows}
        profile = json.loads(by.profile.read_text()) if by.profile else None
        for number in range(by.rounds):
            for at, row in enumerate(rows[number % len(rows):] + rows[:number % len(rows)]):
                if not by.profile and (at == 0 or by.each):
                    profile = measured(by)
                ran = row.run()
                seen[row.name].append({"run": ran, "plan": row.plan(profile)})
                if row.knows_disk:
                    disk = with_disk(profile, 1e9 * ran["terms"]["file GB/s"])
                    seen[row.name][-1]["plan at its disk"] = row.plan(disk)
                print(f"round {number + 1}: {row.name}: {seen[row.name][-1]['plan']['speed'] / ran['speed']:.2f} by the clock, "
                      f"{seen[row.name][-1]['plan']['speed'] / ran['speed_awake']:.2f} awake", file=sys.stderr)
    result = {name: medians_of(rounds) for name, rounds in seen.items()}
    print_rows(result)
    for kind, text in (("ratio", "by the clock"), ("ratio_awake", "awake"), ("ratio_disk", "awake, at the disk's speed around each run")):
        errors = [off(row[kind]) for row in result.values() if kind in row] or [0]
        print(f"predicted over measured {text}: median error {statistics.median(errors):.2f}, worst {max(errors):.2f}; "
              f"load average {os.getloadavg()[0]:.1f}")
    if by.json:
        by.json.write_text(json.dumps({"rows": result, "rounds": seen}, indent=1))


if __name__ == "__main__":
    main()
