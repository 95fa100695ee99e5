#!/usr/bin/env python3
"""A page of `cubby replay --html` held against the object of --json.

  check_page.py PAGE OBJECT      exit status 1, with a line a fault, when they differ or the page leans on anything outside
"""

import json
import math
import re
import sys
import xml.etree.ElementTree as tree
from pathlib import Path


def faults(text, report):
    if re.search(r"https?:|//[a-z]|@import|url\(|<link|<img|\bsrc=|\bhref=", text):
        yield "it refers to something outside"
    page = tree.fromstring(text)  # well-formed, or an exception
    inside = json.loads(page.find("./body/script").text)
    if inside != report:
        yield "the object inside is another"
    if report["kind"] == "mixed":
        yield from mixed_faults(page, report)
        return
    tables = [[["".join(cell.itertext()) for cell in row] for row in table.iter("tr")] for table in page.iter("table")]
    figures = tables[-1]
    at = {name: column for column, name in enumerate(figures[0])}
    if len(figures) - 1 != len(report["results"]):
        yield f"{len(figures) - 1} rows of figures for {len(report['results'])} results"
    for row, one in zip(figures[1:], report["results"]):
        wanted = {"policy": one["policy"], "capacity": one["capacity"],
                  "lockers": f"{one['capacity_lockers']:,}", "hits": f"{one['hits']:,}",
                  "hit ratio": f"{100 * one['hit_ratio']:.2f} %", "regret": f"{100 * one['regret']:.2f} %"}
        if "stall" in one:
            per_s = "tokens" if "tokens_per_s" in one else "blocks"
            wanted[f"{per_s}/s"] = f"{one[per_s + '_per_s']:.2f}"
            wanted["stall p50"] = f"{one['stall']['p50_ns'] / 1e6:.2f} ms"
        if "first_token" in one:
            wanted["first token p99"] = f"{one['first_token']['p99_ns'] / 1e6:.2f} ms"
        for name, value in wanted.items():
            if row[at[name]] != value:
                yield f"{one['policy']} at {one['capacity']}: {name} is {row[at[name]]}, not {value}"
    policies = list(dict.fromkeys(one["policy"] for one in report["results"]))
    charts = [svg for svg in page.iter("svg") if svg.get("role") == "img"]
    timed = "stall" in report["results"][0]
    if len(charts) != (5 if timed else 3):
        yield f"{len(charts)} charts"
    yield from chart_faults(charts[0], report["results"], policies, lambda one: one["hit_ratio"], 1)
    if timed:
        field = "mean_ns" if report["kind"] == "kv" else "p50_ns"
        yield from chart_faults(charts[1], report["results"], policies, lambda one: one["stall"][field])
    yield from chart_faults(charts[-2], report["results"], policies, lambda one: one["regret"])
    early = tables[0]
    for row, one in zip(early[1:], report["details"]["policies"]):
        if row[:3] != [one["policy"]] + [f"{one['evicted_too_early'][name]:,}" for name in ("evictions", "count")]:
            yield f"too early: {row}"


def mixed_faults(page, report):
    """Of experts and KV blocks in one tier."""
    results = report["results"]
    rows = [["".join(cell.itertext()) for cell in row] for row in list(page.iter("table"))[-1].iter("tr")]
    at = {name: column for column, name in enumerate(rows[0])}
    for row, one in zip(rows[1:], results, strict=True):
        wanted = {"policy": one["policy"], "capacity": one["capacity"], "waited": f"{one['waited_ns'] / 1e9:.2f} s",
                  "experts found": f"{100 * one['experts']['hit_ratio']:.2f} %",
                  "blocks found": f"{100 * one['blocks']['hit_ratio']:.2f} %"}
        if "stall" in one:
            wanted["first token p99"] = f"{one['first_token']['p99_ns'] / 1e6:.2f} ms"
        for name, value in wanted.items():
            if row[at[name]] != value:
                yield f"{one['policy']} at {one['capacity']}: {name} is {row[at[name]]}, not {value}"
    policies = list(dict.fromkeys(one["policy"] for one in results))
    charts = [svg for svg in page.iter("svg") if svg.get("role") == "img"]
    if len(charts) != (7 if "stall" in results[0] else 5):
        yield f"{len(charts)} charts"
    yield from chart_faults(charts[0], results, policies, lambda one: one["hit_ratio"], 1)
    yield from chart_faults(charts[1], results, policies, lambda one: one["waited_ns"])
    yield from chart_faults(charts[-3], results, policies, lambda one: one["experts"]["hit_ratio"], 1)
    yield from chart_faults(charts[-2], results, policies, lambda one: one["blocks"]["hit_ratio"], 1)
    shares = [{"policy": one["policy"], "capacity_bytes": part, "share": share} for one in results
              if one["capacity"] == report["details"]["capacity"] for part, share in enumerate(one["blocks_share"])]
    yield from chart_faults(charts[-1], shares, policies, lambda one: one["share"], 1)


def round_up(value):
    """Where an axis ends."""
    if value <= 0:
        return 1
    ten = 10 ** math.floor(math.log10(value))
    return next(step * ten for step in (1, 2, 4, 6, 8, 10) if value <= step * ten)


def chart_faults(chart, results, policies, value_of, most=None):
    """The points of a chart lie where the values are."""
    capacities = len(results) // len(policies)
    most = most or round_up(max(value_of(one) for one in results))
    name = chart.get("aria-label")
    groups = list(chart.iter("g"))
    if len(groups) != len(policies):
        yield f"{name}: {len(groups)} lines for {len(policies)} policies"
    rules = sorted({float(line.get("y1")) for line in chart.iter("line") if line.get("y1") == line.get("y2")})
    for policy, group in zip(policies, groups):
        points = [tuple(map(float, point.split(","))) for point in group.find("polyline").get("points").split()]
        unit = "capacity_lockers" if "capacity_lockers" in results[0] else "capacity_bytes"
        values = [value_of(one) for one in sorted(results, key=lambda one: one[unit]) if one["policy"] == policy]
        if len(points) != capacities:
            yield f"{name}: {len(points)} points for {capacities} capacities"
        for (_, y), value in zip(points, values):
            if abs(y - (rules[-1] - value / most * (rules[-1] - rules[0]))) > 0.11:
                yield f"{name}, {policy}: a point at {y} for {value}"


def main():
    found = list(faults(Path(sys.argv[1]).read_text(encoding="utf-8"),
                        json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))))
    print("\n".join(found) if found else "page: as reported")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
