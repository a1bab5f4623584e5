"""How a report looks."""

from rekur.tasks.report._palette import COLOURS

# Beside the pictures' colours: what only pages have.
_PAGE = {
    "desk": ("#f4f6f8", "#0b0f14"),
    "card": ("#fefefd", "#12171e"),
    "line": ("#d5dbe2", "#2b3541"),
    "own": ("#e8f1fb", "#16283c"),
    "mark": ("#fff4e3", "#2e2413"),
    "link": ("#0a5fb5", "#6cb5ff"),
}


def _variables(theme: int) -> str:
    return ";".join(f"--{name}:{pair[theme]}" for name, pair in (COLOURS | _PAGE).items())


def css() -> str:
    """The style sheet of a page."""
    light, dark = _variables(0), _variables(1)
    return _RULES.replace("LIGHT", light).replace("DARK", dark)


_RULES = """
:root{color-scheme:light;LIGHT}
@media (prefers-color-scheme:dark){:root:not(:has(#theme-light:checked)){color-scheme:dark;DARK}}
:root:has(#theme-dark:checked){color-scheme:dark;DARK}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--desk);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,"Noto Sans",sans-serif}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:3px}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:1rem;background:var(--card);padding:.5rem 1rem;z-index:2}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.page{max-width:1180px;margin:0 auto;padding:1.5rem 1.5rem 4rem}
.bar{display:flex;justify-content:space-between;align-items:center;gap:1rem;flex-wrap:wrap;margin-bottom:2rem}
.brand{color:var(--soft);font-size:.875rem;letter-spacing:.01em}
fieldset.theme{border:1px solid var(--line);border-radius:999px;margin:0;padding:2px;display:flex;
background:var(--card)}
.theme label{position:relative;font-size:.8125rem;color:var(--soft);cursor:pointer}
.theme input{position:absolute;opacity:0;inset:0;margin:0;width:100%;height:100%;cursor:pointer}
.theme span{display:block;padding:.15rem .8rem;border-radius:999px}
.theme input:checked+span{background:var(--own);color:var(--ink);font-weight:600;text-decoration:underline;
text-underline-offset:3px}
.theme input:focus-visible+span{outline:3px solid var(--link);outline-offset:1px}
header.title{max-width:60rem;margin-bottom:2rem}
.kind{margin:0;color:var(--soft);font-size:.875rem;font-weight:600}
h1{font-size:clamp(1.6rem,1.1rem + 2.2vw,2.4rem);line-height:1.15;letter-spacing:-.02em;margin:.2rem 0 .6rem;
overflow-wrap:anywhere;text-wrap:balance}
.summary{font-size:1.125rem;line-height:1.5;margin:0;max-width:46rem;overflow-wrap:anywhere}
.figures{display:flex;flex-wrap:wrap;gap:1px;margin:1.75rem 0 0;padding:0;
background:var(--line);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.figures div{background:var(--card);padding:.9rem 1.1rem;flex:1 1 10.5rem}
.figures dt{font-size:.8125rem;color:var(--soft);order:0}
.figures dd{margin:0}
.figures .value{font-size:1.7rem;line-height:1.2;font-weight:650;letter-spacing:-.01em;
font-variant-numeric:tabular-nums}
.figures .remark{font-size:.8125rem;color:var(--soft)}
.body{display:grid;grid-template-columns:minmax(0,1fr);gap:2rem}
nav.contents{font-size:.9rem}
nav.contents ol{list-style:none;margin:0;padding:0}
nav.contents a{display:block;padding:.25rem 0;color:var(--soft);text-decoration:none}
nav.contents a:hover{color:var(--ink);text-decoration:underline}
nav.contents>p{margin:0 0 .3rem;font-weight:600}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.5rem 1.75rem 1.75rem;
margin-bottom:1.25rem}
h2{font-size:1.3rem;line-height:1.25;letter-spacing:-.01em;margin:0 0 .75rem;overflow-wrap:anywhere}
h3{font-size:1rem;line-height:1.35;margin:0 0 .5rem;overflow-wrap:anywhere}
section>h3{margin-top:1.25rem}
section>p{max-width:44rem;margin:.6rem 0;overflow-wrap:anywhere}
ul.bullets{max-width:46rem;margin:.6rem 0;padding-left:1.2rem;overflow-wrap:anywhere}
ul.bullets li{margin:.25rem 0}
figure{margin:1.5rem 0 0}
figure svg{display:block;width:100%;height:auto;overflow:visible;font-family:inherit}
figure svg *{stroke-linejoin:round}
figure svg text{font-variant-numeric:tabular-nums}
figcaption{color:var(--soft);font-size:.9rem;max-width:46rem;margin-top:.4rem;overflow-wrap:anywhere}
svg.narrow{display:none}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr));gap:0 2rem;align-items:start}
.scroll{position:relative;overflow-x:auto;margin:1rem 0 0;-webkit-overflow-scrolling:touch}
.scroll.wide svg{min-width:40rem}
table{border-collapse:collapse;font-size:.925rem;font-variant-numeric:tabular-nums;width:100%}
.caption{font-weight:600;font-size:.925rem;margin:1.25rem 0 -.4rem;max-width:none}
th,td{padding:.42rem .9rem .42rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:baseline;
overflow-wrap:anywhere;unicode-bidi:isolate}
thead th{font-size:.8125rem;color:var(--soft);font-weight:600;border-bottom:1px solid var(--rule);vertical-align:bottom;
overflow-wrap:normal}
tbody th{font-weight:400}
tbody th:not(.n){min-width:7rem}
th.n,td.n{text-align:right;white-space:nowrap}
tr>:last-child{padding-right:.6rem}
tr>:first-child{padding-left:.6rem}
tr.own>*{background:var(--own);font-weight:600}
td.best{font-weight:700}
td.best::before{content:"▸ ";color:var(--soft);font-weight:400}
.note{color:var(--soft);font-size:.875rem;margin:.4rem 0 0}
dl.facts{display:grid;grid-template-columns:minmax(8rem,max-content) minmax(0,1fr);gap:.3rem 1.5rem;margin:.75rem 0;
font-size:.95rem}
dl.facts dt{color:var(--soft)}
dl.facts dd{margin:0;overflow-wrap:anywhere;unicode-bidi:isolate}
.remark-box{border-left:4px solid var(--series2);background:var(--mark);padding:.6rem 1rem;border-radius:0 8px 8px 0;
max-width:46rem;margin:.8rem 0;overflow-wrap:anywhere}
pre{background:var(--desk);border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem;overflow-x:auto;
margin:.4rem 0;font:.85rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre.wrap{white-space:pre-wrap;overflow-wrap:anywhere}
details{margin:.75rem 0 0}
summary{cursor:pointer;color:var(--soft);font-size:.9rem}
summary:hover{color:var(--ink)}
.marked{font:1rem/2 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere;
margin:.8rem 0}
.marked span{background:linear-gradient(transparent 60%,color-mix(in srgb,var(--series2) var(--m),transparent) 60%);
border-bottom:calc(var(--w)*1px) solid var(--series2)}
footer{color:var(--soft);font-size:.85rem;margin-top:2rem}
@media (min-width:68rem){
.body{grid-template-columns:11rem minmax(0,1fr)}
nav.contents{position:sticky;top:1.5rem;align-self:start;max-height:calc(100vh - 3rem);overflow:auto}
}
@media (max-width:67.99rem){nav.contents ol{display:flex;flex-wrap:wrap;gap:0 1.2rem}}
@media (max-width:40rem){
.page{padding:1rem 1rem 3rem}
.bar{margin-bottom:1.25rem}
section{padding:1.1rem 1rem 1.25rem;border-radius:10px}
.figures .value{font-size:1.35rem}
.figures div{padding:.7rem .85rem;flex-basis:9rem}
svg.wide{display:none}
svg.narrow{display:block}
dl.facts{grid-template-columns:minmax(0,1fr);gap:0}
dl.facts dd{margin-bottom:.5rem}
th,td{padding-right:.7rem}
nav.contents{display:none}
}
@media print{
:root,:root:not(:has(#theme-light:checked)),:root:has(#theme-dark:checked){color-scheme:light;LIGHT}
body{background:none;font-size:10.5pt}
.page{max-width:none;padding:0}
.theme,nav.contents,.skip{display:none}
.body{display:block}
section{border:0;padding:0;margin:0 0 1.2rem;background:none}
figure,table,pre,.figures,.remark-box{break-inside:avoid}
h2,h3,.caption{break-after:avoid}
.scroll{overflow:visible}
svg.wide{display:block!important}
svg.narrow{display:none!important}
a{color:inherit;text-decoration:none}
}
"""
