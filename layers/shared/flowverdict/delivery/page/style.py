"""The style of the page: light and dark by the reader's preference."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --quiet: #57606a; --edge: #d0d7de;
  --soft: #f6f8fa; --critical: #b3142b; --high: #a34d00; --medium: #6a5300; --low: #3f5c86;
  --info: #57606a; --s0: #b3142b; --s1: #d9730d; --s2: #b8930c; --s3: #4f7cac; --s4: #7d8590;
  --s5: #7a4fa3; --s6: #2f8f6b; --s7: #9c6b4f; --link: #0550ae; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --text: #e6edf3; --quiet: #9198a1;
  --edge: #30363d; --soft: #161b22; --critical: #ff7b85; --high: #ffa657; --medium: #e3b341;
  --low: #8ab4f0; --info: #9198a1; --s0: #f85149; --s1: #f0883e; --s2: #d2a822; --s3: #6ca4e0;
  --s4: #8b949e; --s5: #b48ce0; --s6: #4cc38a; --s7: #d0a080; --link: #6cb2ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--edge); }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p, li, dd, td, summary { overflow-wrap: anywhere; }
a { color: var(--link); }
.quiet, figcaption, dt { color: var(--quiet); font-size: .875rem; }
.totals { list-style: none; display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; padding: 0; }
.totals b { font-size: 1.4rem; }
.wide { overflow-x: auto; }
figure { margin: 0 0 1rem; }
svg { width: 100%; min-width: 36rem; height: auto; display: block; }
svg text { fill: var(--text); font-size: 11px; }
svg .head { fill: var(--quiet); }
.line { fill: none; stroke: var(--info); opacity: .75; }
.line.critical { stroke: var(--critical); } .line.high { stroke: var(--high); }
.line.medium { stroke: var(--medium); } .line.low { stroke: var(--low); }
.box { fill: var(--soft); stroke: var(--edge); }
.box.rule { stroke: var(--critical); }
.span { fill: var(--info); } .span.critical { fill: var(--critical); }
.span.high { fill: var(--high); } .span.medium { fill: var(--medium); }
.span.low { fill: var(--low); } .span.over { opacity: .4; }
.mark { fill: var(--back); stroke: var(--text); } .mark.person { fill: var(--link); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0;
  font-size: .875rem; }
.key { display: inline-block; width: .75rem; height: .75rem; border-radius: 2px; }
.s0 { fill: var(--s0); background: var(--s0); } .s1 { fill: var(--s1); background: var(--s1); }
.s2 { fill: var(--s2); background: var(--s2); } .s3 { fill: var(--s3); background: var(--s3); }
.s4 { fill: var(--s4); background: var(--s4); } .s5 { fill: var(--s5); background: var(--s5); }
.s6 { fill: var(--s6); background: var(--s6); } .s7 { fill: var(--s7); background: var(--s7); }
details.problem { border: 1px solid var(--edge); border-radius: 6px; padding: .5rem .75rem;
  margin: 0 0 .75rem; }
summary { cursor: pointer; font-weight: 600; }
.badge { font-size: .75rem; font-weight: 700; text-transform: uppercase; }
.critical { color: var(--critical); } .high { color: var(--high); }
.medium { color: var(--medium); } .low { color: var(--low); } .info { color: var(--info); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .125rem 1rem; margin: .5rem 0; }
dd { margin: 0; }
pre { background: var(--soft); border: 1px solid var(--edge); border-radius: 6px;
  padding: .5rem .75rem; overflow-x: auto; margin: .375rem 0; font-size: .8125rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--edge);
  vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .25rem; } }
@media print { details.problem { break-inside: avoid; } }
"""
