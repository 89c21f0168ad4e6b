"""Figures of `retrieval.py`: recall with intervals, times, and a plot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from voicerag_core.evaluation.metrics.intervals import Estimate, difference, estimate, quantiles

__all__ = [
    "MISSED",
    "Estimate",
    "Outcome",
    "by_item",
    "difference",
    "estimate",
    "plot",
    "quantiles",
    "reciprocal",
    "within",
]

MISSED = 1_000_000
"""Rank of what was not found, or was refused."""
Score = Callable[["Outcome"], float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one route on one clip.

    Args:
        set: "XQuAD", "Llama Questions" or "people".
        group: Voice, or the set's name.
        condition: "clean", "telephone" or the noise level.
        item: Id of the question.
        route: Strategy.
        rank: 0 if the right one came first; `MISSED` if it was not among the results.
        clip_seconds: Length of the clip.
        vector_seconds: From sound to vector.
        seconds: From sound to hits; equal to `vector_seconds` if no store is searched.
        words: Number of spoken words, 0 if they were not compared.
        errors: Substitutions, deletions and insertions among them.
        transcribed: Whether the recogniser was used.
        refused: Whether the route found no speech in the clip.
    """

    set: str
    group: str
    condition: str
    item: str
    route: str
    rank: int
    clip_seconds: float
    vector_seconds: float
    seconds: float
    words: int = 0
    errors: int = 0
    transcribed: bool = False
    refused: bool = False


def within(cut: int) -> Score:
    """Score 1 if the right one is among the first `cut`."""
    return lambda outcome: float(outcome.rank < cut)


def reciprocal(outcome: Outcome) -> float:
    """Score 1 / rank, 0 beyond the tenth."""
    return 1 / (outcome.rank + 1) if outcome.rank < 10 else 0.0


def by_item(outcomes: Iterable[Outcome], score: Score) -> dict[str, float]:
    """Return the mean score of each question over its voices."""
    scores: dict[str, list[float]] = {}
    for outcome in outcomes:
        scores.setdefault(outcome.item, []).append(score(outcome))
    return {item: sum(values) / len(values) for item, values in scores.items()}


COLOURS = {"e2e": "#c2410c", "asr": "#1d4ed8", "hybrid": "#15803d", "adaptive": "#7e22ce"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 380, 60, 130, 40, 50


def plot(title: str, places: Sequence[str], lines: dict[tuple[str, str], list[Estimate]]) -> str:
    """Draw shares over conditions as SVG.

    Args:
        title: Above the plot.
        places: Names along the horizontal axis.
        lines: By route and figure, such as ("e2e", "R@10"), an estimate for each place; of the
            figures the first is drawn solid, the others dashed.
    """
    inner = WIDTH - LEFT - RIGHT
    across = [LEFT + inner * (i + 0.5) / len(places) for i in range(len(places))]
    figures = list(dict.fromkeys(figure for _, figure in lines))

    def up(share: float) -> float:
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        '<g font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{escape(title)}</text>',
    ]
    for tenth in range(0, 11, 2):
        y = up(tenth / 10)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth / 10}</text>')
    for x, place in zip(across, places, strict=True):
        y = HEIGHT - BOTTOM + 18
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{escape(place)}</text>')
    for number, ((route, figure), estimates) in enumerate(lines.items()):
        parts += _line(
            [x + 5 * (number - (len(lines) - 1) / 2) for x in across],
            [(up(one.mean), up(one.low), up(one.high)) for one in estimates],
            COLOURS[route],
            dashed=figure != figures[0],
        )
        y = TOP + 14 + 18 * number
        dash = "" if figure == figures[0] else ' stroke-dasharray="5 4"'
        parts.append(
            f'<path d="M{WIDTH - RIGHT + 10} {y - 4}h24" stroke="{COLOURS[route]}" '
            f'stroke-width="2"{dash}/><text x="{WIDTH - RIGHT + 40}" y="{y}">'
            f"{escape(f'{route} {figure}')}</text>"
        )
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _line(
    across: Sequence[float], heights: Sequence[tuple[float, float, float]], colour: str, *,
    dashed: bool,
) -> list[str]:  # fmt: skip
    path = "L".join(f"{x:.1f} {y:.1f}" for x, (y, _, _) in zip(across, heights, strict=True))
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return [
        f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>',
        *(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
            f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>'
            for x, (y, low, high) in zip(across, heights, strict=True)
        ),
    ]
