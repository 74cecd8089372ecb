"""The plot of results: how many times the limit everyone takes."""

from collections.abc import Sequence

from benchmarks.load import ratios
from benchmarks.load.contest import LIMIT, LIMIT_AT_ONCE, PRODUCT, PRODUCT_AT_ONCE
from benchmarks.load.page import whole_load
from benchmarks.load.results import Results


def bars(results: Results) -> str:
    """An SVG: how many times the limit everyone takes for the rows of each database."""
    found: list[tuple[str, str, float]] = []
    for contest in results.contests.values():
        for who in contest.rounds:
            factor = ratios.ratio(contest, (who, ratios.load), (LIMIT, ratios.load))
            if factor and whole_load(contest, who):
                found.append((f"{contest.dataset.title}, {contest.rows:,} rows", who, factor))
    return _drawn(found)


COLORS = {PRODUCT: "#1d4ed8", LIMIT: "#111827", PRODUCT_AT_ONCE: "#1d4ed8", LIMIT_AT_ONCE: "#111827"}
LINE, LEFT, WIDTH, MOST = 22, 180, 860, 30.0


def _drawn(found: Sequence[tuple[str, str, float]]) -> str:
    titles = list(dict.fromkeys(title for title, _, _ in found))
    height = 50 + LINE * len(found) + 40 * len(titles)
    top = min(MOST, max((factor for _, _, factor in found), default=1))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        '<text x="16" y="26" font-size="15">How many times the limit, psql \\copy of ready files</text>'
    ]
    y = 40
    for title in titles:
        y += 26
        parts.append(f'<text x="16" y="{y}" font-weight="bold">{title}</text>')
        y += 8
        for who, factor in sorted(((w, f) for t, w, f in found if t == title), key=lambda one: one[1]):
            width = (WIDTH - LEFT - 90) * min(factor, top) / top
            parts += [
                f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{who}</text>',
                f'<rect x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="14" fill="{COLORS.get(who, "#9ca3af")}"/>',
                f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}">{factor:.2f} ×{" …" if factor > top else ""}</text>',
            ]
            y += LINE
        y += 6
    return "\n".join([*parts, "</svg>", ""])
