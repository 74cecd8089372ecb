"""Pages of results: tables in Markdown, numbers as one reads them, and plots as SVG."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def duration(seconds: float) -> str:
    """With three digits, in µs, ms or s."""
    for unit, size in (("µs", 1e-6), ("ms", 1e-3)):
        if seconds < size * 999.5:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds)} s"


def rate(per_second: float) -> str:
    """Calls in a second."""
    return f"{per_second:,.0f}" if per_second >= 10 else _digits(per_second)


def times(factor: float) -> str:
    """How many times faster; a slower one as the same number below 1: `÷ 3.2`."""
    return f"× {_digits(factor)}" if factor >= 1 else f"÷ {_digits(1 / factor)}"


def _digits(number: float) -> str:
    return f"{number:.0f}" if number >= 99.5 else f"{number:.1f}" if number >= 9.95 else f"{number:.2f}"


COLORS = ("#c2410c", "#1d4ed8", "#f59e0b", "#60a5fa", "#15803d", "#a21caf")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 400, 80, 290, 50, 44


def plot(title: str, unit: str, labels: Sequence[str], lines: Mapping[str, Sequence[float]]) -> str:
    """An SVG with a line for each name over the labels, on a logarithmic scale."""
    values = [value for line in lines.values() for value in line]
    low, high = floor(log10(min(values))), ceil(log10(max(values)) + 1e-9)
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(place: int) -> str:
        return f"{LEFT + (right - LEFT) * (place + 0.5) / len(labels):.0f}"

    def y(value: float) -> str:
        return f"{base - (base - TOP) * (log10(value) - low) / (high - low):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="{LEFT}" y="26" font-size="15">{escape(title)}</text>',
    ]
    for level in (10.0**power for power in range(low, high + 1)):
        parts.append(f'<path d="M{LEFT} {y(level)}H{right}" stroke="#e5e7eb"/>')
        parts.append(_text(LEFT - 8, y(level), f"{level:,g} {unit}", "end"))
    parts += [_text(x(place), str(HEIGHT - 18), label, "middle") for place, label in enumerate(labels)]
    for number, (name, line) in enumerate(lines.items()):
        color, beside = COLORS[number % len(COLORS)], TOP + 20 * number
        points = [(x(place), y(value)) for place, value in enumerate(line)]
        path = " ".join(",".join(point) for point in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{across}" cy="{down}" r="3" fill="{color}"/>' for across, down in points]
        parts.append(f'<rect x="{right + 16}" y="{beside}" width="12" height="4" fill="{color}"/>')
        parts.append(_text(right + 34, str(beside + 6), name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float | str, y: str, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" dy="0.3em">{escape(text)}</text>'
