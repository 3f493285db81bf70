"""How the results of bench/run look: text table, markdown, SVG. A result is the dictionary that run writes as JSON."""
import html
import math
import os
import pathlib
import platform
import re
import subprocess

COLUMNS = [  # title, width
    ("model", -19), ("thr", 3), ("tenon ms", 9), ("median", 9), ("ORT ms", 9), ("median", 9), ("ratio", 6), ("speed", 6), ("open", 6), ("GF/s", 6), ("ORT", 6), ("peak", 5), ("ORT", 5),
    ("compile", 7), ("session", 7), ("lib MB", 7), ("RSS MB", 6), ("ORT", 6), ("error", 8)]
MARKDOWN_TITLES = [
    "model", "threads", "tenon ms, min", "median", "ORT ms, min", "median", "ratio", "speed", "open", "GFLOP/s", "ORT", "of peak", "ORT", "compile s", "ORT session s",
    "library MB", "RSS MB", "ORT", "max error"]


# ---- The machine


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    said = [re.search(rf"^{key}\s*:\s*(.*)", info, re.MULTILINE) for key in ("model name", "cpu family", "model")]
    return {"cpu": "{0}, family {1}, model {2}".format(*(part[1] for part in said)) if all(said) else platform.machine(), "cores": os.cpu_count(), "caches": caches(), "system": platform.platform(terse=True)}


def caches():
    """Those of a core, such as "L1d 48K, L2 2048K": virtual machines do not say what their share of L3 is."""
    size = lambda name: int(subprocess.run(["getconf", name], capture_output=True, text=True).stdout or 0) // 1024
    return f"L1d {size('LEVEL1_DCACHE_SIZE')}K, L2 {size('LEVEL2_CACHE_SIZE')}K"


# ---- Numbers


def milliseconds(value):
    return f"{value:.4f}" if value < 1 else f"{value:.3f}" if value < 10 else f"{value:.2f}"


def gflops(run, side):
    return 2e-6 * run["macs"] / run[side]["median_ms"]


def speed_ratio(run):
    if "speed_ratio" not in run:
        return ""
    return "WRONG" if run["speed_ratio"] is None else f"{run['speed_ratio']:.2f}"


def open_time(run):
    """Of the library with open sizes, as a part of the static one's."""
    if "open_time" not in run:
        return ""
    return "WRONG" if run["open_time"] is None else f"{run['open_time']:.2f}"


def cells(row, run, result):
    """The columns of one measurement, as text."""
    peak = result["peak"]["gflops"] * run["threads"]
    tenon, ort = run["tenon"], run["ort"]
    share = [f"{100 * gflops(run, side) / peak:.0f}%" if peak else "" for side in ("tenon", "ort")]
    error = "NaN" if run["max_error"] is None else f"{run['max_error']:.1e}"
    return [row["model"], str(run["threads"]), milliseconds(tenon["min_ms"]), milliseconds(tenon["median_ms"]), milliseconds(ort["min_ms"]),
            milliseconds(ort["median_ms"]), f"{run['ratio']:.2f}", speed_ratio(run), open_time(run), f"{gflops(run, 'tenon'):.1f}", f"{gflops(run, 'ort'):.1f}", *share,
            f"{row['compile_s']:.2f}", f"{ort['open_s']:.2f}", f"{row['library_bytes'] / 1e6:.1f}", f"{row['rss']['tenon'] / 1e6:.0f}",
            f"{row['rss']['ort'] / 1e6:.0f}", error + ("" if run["right"] else " WRONG")]


def geometric_means(result):
    """[{models: the kind, threads, ratio, count}], of right answers only."""
    means = []
    for title in dict.fromkeys(row["kind"] for row in result["rows"]):
        runs = [run for row in result["rows"] if row["kind"] == title for run in row.get("runs", []) if run["right"]]
        for threads in sorted({run["threads"] for run in runs}):
            ratios = [run["ratio"] for run in runs if run["threads"] == threads]
            mean = math.exp(sum(math.log(r) for r in ratios) / len(ratios))
            means.append({"models": title, "threads": threads, "ratio": round(mean, 4), "count": len(ratios)})
    return means


def mean_text(mean):
    threads = "1 thread" if mean["threads"] == 1 else f"{mean['threads']} threads"
    return f"geometric mean over {mean['count']} {mean['models']}, {threads}: {mean['ratio']:.2f}"


# ---- The text table


def align(values):
    return " ".join(value.ljust(-width) if width < 0 else value.rjust(width) for value, (_, width) in zip(values, COLUMNS))


def machine_text(result):
    about = result["machine"]
    peak = f"{result['peak']['gflops']:.0f} GFLOP/s f32 per core ({result['peak']['isa']})"
    return f"{about['cpu']}, {about['cores']} cores, {about['caches']}; measured peak {peak}"


def head(result):
    return f"{machine_text(result)}; load average {result['load_at_start']:.1f}\n" + align([title for title, _ in COLUMNS])


def lines(row, result):
    if "failed" in row:
        return f"{row['model']:<19} FAILED {row['failed']}"
    return "\n".join(align(cells(row, run, result)) for run in row["runs"])


def foot(result):
    return "\n".join(mean_text(mean) for mean in result["geometric_means"])


# ---- Markdown


def markdown(result):
    rows = [MARKDOWN_TITLES, ["---"] + ["--:"] * (len(MARKDOWN_TITLES) - 1)]
    failed = [row for row in result["rows"] if "failed" in row]
    rows += [cells(row, run, result) for row in result["rows"] for run in row.get("runs", [])]
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n\n"
    text += "".join(f"- {mean_text(mean)}\n" for mean in result["geometric_means"])
    if failed:
        text += "\nNot measured, because one of the two refuses the model:\n\n" + "".join(f"- {row['model']}: `{row['failed']}`\n" for row in failed)
    return text


def about(result):
    clock = "processor time of the running thread" if result["clock"] == "cpu" else "wall time"
    text = f"`{result['command'].strip()}` at {result['commit']} on {result['date']}: {machine_text(result)}. Times are {clock}.\n"
    earlier = {}
    for row in result["rows"]:
        earlier.setdefault(row.get("commit", result["commit"]), []).append(row["model"])
    earlier.pop(result["commit"], None)
    text += "".join(f"Measured at {commit}, with the same options: {', '.join(names)}.\n" for commit, names in earlier.items())
    if max(result["load_at_start"], result["load_at_end"]) > 1.5:
        text += (f"**The machine was shared** with other work (load average {result['load_at_start']:.1f} before, {result['load_at_end']:.1f} after, "
                 f"on {result['machine']['cores']} cores): absolute times are too long and single ratios uncertain.\n")
    return text


def merge(earlier, rows):
    """The rows of an earlier result, in their order, with those that were measured again in their places, and new ones behind them."""
    again = {row["model"]: row for row in rows}
    kept = [again.pop(row["model"], {"commit": earlier["commit"], **row}) for row in earlier["rows"]]
    return kept + list(again.values())


def replace_in(page, command, text):
    """What stands between the two marks of a page."""
    begin, end = f"<!-- {command} writes from here -->\n", "<!-- to here -->\n"
    before, rest = page.read_text().split(begin)
    page.write_text(before + begin + "\n" + text + "\n" + end + rest.split(end, 1)[1])


def write_docs(result, docs):
    replace_in(docs / "performance.md", "bench/run --docs", about(result) + "\n![ratio per model](performance.svg)\n\n" + markdown(result))
    (docs / "performance.svg").write_text(svg(result))


# ---- Forms of one model: f32 against quantized

NO_SLOWER = 0.97  # of the ratio: what the measurement may be off by
FORM_TITLES = ["model", "form", "threads", "f32 ms, min", "median", "ms, min", "median", "times as fast", "library MB"]
FORM_WIDTHS = [16, 8, 7, 11, 8, 8, 8, 13, 14]


def form_cells(row, run):
    sizes = " -> ".join(f"{row['bytes'][form] / 1e6:.1f}" for form in ("f32", row["form"]))
    times = [milliseconds(run[side][kind]) for side in ("other", "tenon") for kind in ("min_ms", "median_ms")]
    return [row["model"], row["form"], str(run["threads"]), *times, f"{run['ratio']:.2f}", sizes]


def align_form(values):
    return " ".join(value.ljust(width) if i < 2 else value.rjust(width) for i, (value, width) in enumerate(zip(values, FORM_WIDTHS)))


def form_lines(row):
    if "failed" in row:
        return f"{row['model']} {row['form']} FAILED {row['failed']}"
    return "\n".join(align_form(form_cells(row, run)) for run in row["runs"])


def form_is_bad(row):
    return "failed" in row or any(run["ratio"] < NO_SLOWER for run in row["runs"])


def form_table(result):
    rows = [FORM_TITLES, ["---", "---"] + ["--:"] * (len(FORM_TITLES) - 2)]
    rows += [form_cells(row, run) for row in result["rows"] for run in row.get("runs", [])]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def write_form_docs(result, docs):
    replace_in(docs / "quantization.md", "bench/run --forms --docs", about(result) + "\n" + form_table(result))


# ---- The chart: a bar per model and number of threads, ONNX Runtime's time over tenon's

LEFT, WIDTH, BAR, GAP, TOP, RIGHT = 170, 520, 14, 6, 46, 70
COLOURS = {"ahead": "#2a7f5f", "behind": "#c2703d", "wrong": "#b0b0b0"}


def svg_bar(y, label, run, scale):
    kind = "wrong" if not run["right"] else "ahead" if run["ratio"] >= 1 else "behind"
    length = min(run["ratio"], scale) / scale * WIDTH
    value = f"{run['ratio']:.2f}" + ("" if run["right"] else " (wrong)")
    return (f'<text x="{LEFT - 8}" y="{y + BAR - 3}" text-anchor="end">{html.escape(label)}</text>'
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{COLOURS[kind]}"/>'
            f'<text x="{LEFT + length + 5:.1f}" y="{y + BAR - 3}">{value}</text>')


def svg(result):
    many = len({run["threads"] for row in result["rows"] for run in row.get("runs", [])}) > 1
    bars = [(row["model"] + (f" x{run['threads']}" if many else ""), run) for row in result["rows"] for run in row.get("runs", [])]
    scale = max([1.25] + [min(run["ratio"], 4) for _, run in bars])
    height = TOP + len(bars) * (BAR + GAP) + 14
    one = LEFT + WIDTH / scale
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" font-family="sans-serif" font-size="12">',
             f'<rect width="100%" height="100%" fill="white"/><text x="{LEFT}" y="18" font-size="14">ONNX Runtime\'s time / tenon\'s time (longer is better)</text>']
    parts += [svg_bar(TOP + i * (BAR + GAP), label, run, scale) for i, (label, run) in enumerate(bars)]
    parts += [f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{TOP - 6}" y2="{height - 10}" stroke="#404040" stroke-dasharray="3 3"/>',
              f'<text x="{one:.1f}" y="{TOP - 10}" text-anchor="middle">1.0</text>', "</svg>\n"]
    return "\n".join(parts)
