#include "cli/replay/page/page.hpp"

namespace cubby_cli::replay {

// Well-formed as XML too, so that it can be checked strictly. No address of anything outside.
const char *const page_template = R"page(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="generator" content="cubby replay"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>{{title}}</title>
<style>
:root { --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --rule: #d8dee4; --band: #f3f5f7;
  --c0: #1f5fbf; --c1: #c2410c; --c2: #15803d; --c3: #7e22ce; --c4: #b91c1c; --c5: #0e7490;
  --c6: #a16207; --c7: #64748b; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --ink: #e6eaee; --soft: #9aa5b1; --rule: #343c45; --band: #1d232a;
    --c0: #7db0ff; --c1: #ff9b63; --c2: #6fd68f; --c3: #c99bff; --c4: #ff8a8a; --c5: #67d4e8;
    --c6: #e3c05a; --c7: #a9b6c8; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 78rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; }
p { max-width: 46rem; }
.soft { color: var(--soft); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 0 2rem; }
figure { margin: 0; max-width: 38rem; }
.name { font-size: .9rem; font-weight: 600; margin: .4rem 0 .2rem; }
figure svg { width: 100%; height: auto; display: block; }
svg text { font-size: 14px; fill: var(--soft); font-family: inherit; }
svg .rule { stroke: var(--rule); stroke-width: 1; }
polyline { fill: none; stroke: var(--line, var(--ink)); stroke-width: 1.6; }
circle { fill: var(--line, var(--ink)); }
.s0 { --line: var(--c0); } .s1 { --line: var(--c1); } .s2 { --line: var(--c2); }
  .s3 { --line: var(--c3); }
.s4 { --line: var(--c4); } .s5 { --line: var(--c5); } .s6 { --line: var(--c6); }
  .s7 { --line: var(--c7); }
.d1 polyline { stroke-dasharray: 7 3; } .d2 polyline { stroke-dasharray: 2 3; }
.own polyline { stroke-width: 3.2; }
.best { --line: var(--ink); } .best polyline { stroke-dasharray: 4 4; }
figcaption { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; }
figcaption span { display: inline-flex; align-items: center; gap: .4rem; }
figure svg.key { width: 24px; height: 8px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums;
  margin: .5rem 0; }
th, td { padding: .2rem .7rem .2rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; }
tbody tr:nth-child(even) { background: var(--band); }
@media print {
  body { padding: 0; max-width: none; font-size: 10pt; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
}
</style>
</head>
<body>
{{body}}
<script type="application/json" id="replay">{{data}}</script>
</body>
</html>
)page";

}  // namespace cubby_cli::replay
