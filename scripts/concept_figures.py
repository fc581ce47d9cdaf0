"""Draw the figures of docs/concepts.md as SVG: `python -m scripts.concept_figures`.

Plain shapes and text, no fonts, scripts or links: the same bytes on every machine.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "figures"

INK, SOFT, PAPER = "#1f2933", "#7b8794", "#ffffff"
BLUE, ORANGE, GREEN, RED = "#2f6fab", "#d9822b", "#3f8f4f", "#b3261e"


def rectangle(x: float, y: float, w: float, h: float, *, fill: str, stroke: str = INK) -> str:
    """A rectangle; `fill` may be `none`."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.2"/>'
    )


def text(x: float, y: float, words: str, *, size: int = 13, colour: str = INK) -> str:
    """One line of text, centred on x."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" '
        f'text-anchor="middle">{words}</text>'
    )


def arrow(x1: float, y1: float, x2: float, y2: float, *, colour: str = INK) -> str:
    """A line with a head at its end."""
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" '
        'stroke-width="1.6" marker-end="url(#head)"/>'
    )


def picture(width: int, height: int, title: str, parts: list[str]) -> str:
    """A whole SVG file; the title is what a screen reader says."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="sans-serif">'
    )
    marker = (
        '<defs><marker id="head" markerWidth="9" markerHeight="9" refX="8" refY="4.5" '
        f'orient="auto"><path d="M0,0 L9,4.5 L0,9 z" fill="{INK}"/></marker></defs>'
    )
    paper = rectangle(0, 0, width, height, fill=PAPER, stroke=PAPER)
    return "\n".join([head, f"<title>{title}</title>", marker, paper, *parts, "</svg>", ""])


def units() -> str:
    """One pixel in overlapping patches, and in one closed tile."""
    cell, side = 14, 12
    parts = []
    for left, heading in ((40, "patches of 7 × 7 pixels"), (300, "tiles of 4 × 4 pixels")):
        parts.append(text(left + cell * side / 2, 24, heading, size=14))
        corners = [(left + c * cell, 40 + r * cell) for r in range(side) for c in range(side)]
        parts += [rectangle(x, y, cell, cell, fill="none", stroke="#d5dbe1") for x, y in corners]
    pixel = (5, 6)  # row and column of the pixel that is looked at
    for shift, colour in ((-3, BLUE), (-1, ORANGE), (0, GREEN)):
        x, y = 40 + (pixel[1] - 3 + shift) * cell, 40 + (pixel[0] - 3 - shift // 2) * cell
        parts.append(rectangle(x, y, 7 * cell, 7 * cell, fill="none", stroke=colour))
    for row in range(0, side, 4):
        for column in range(0, side, 4):
            own = row <= pixel[0] < row + 4 and column <= pixel[1] < column + 4
            x, y = 300 + column * cell, 40 + row * cell
            parts.append(rectangle(x, y, 4 * cell, 4 * cell, fill="#dcebdd" if own else "none"))
    for left in (40, 300):
        x, y = left + pixel[1] * cell, 40 + pixel[0] * cell
        parts.append(rectangle(x, y, cell, cell, fill=RED))
    below = 40 + side * cell + 22
    parts.append(text(40 + cell * side / 2, below, "one pixel is in up to 49 patches"))
    parts.append(text(300 + cell * side / 2, below, "one pixel is in one tile"))
    return picture(510, 260, "A pixel lies in many overlapping patches, but in one tile", parts)


def roles() -> str:
    """What leaves an owner, what the coordinator adds up, and who ends with what."""
    parts = []
    for number, y in enumerate((30, 110, 190)):
        parts.append(rectangle(20, y, 250, 58, fill="#e8f0f8", stroke=BLUE))
        parts.append(text(145, y + 22, f"owner {'ABC'[number]}: clipped gradient, a tile ≤ C"))
        parts.append(text(145, y + 43, "+ its share of noise + masks", colour=BLUE))
        parts.append(arrow(270, y + 29, 372, 139))
    parts.append(text(326, 50, "masked vectors", size=12, colour=SOFT))
    parts.append(rectangle(376, 100, 180, 78, fill="#fdf1e3", stroke=ORANGE))
    parts.append(text(466, 124, "coordinator"))
    parts.append(text(466, 144, "masks cancel in the sum", colour=ORANGE))
    parts.append(text(466, 164, "sees Σ + all noise", colour=ORANGE))
    parts.append(arrow(556, 139, 622, 139))
    parts.append(rectangle(626, 112, 104, 54, fill="#e5f2e7", stroke=GREEN))
    parts.append(text(678, 136, "model W"))
    parts.append(text(678, 155, "(ε, δ)", colour=GREEN))
    parts.append(
        '<path d="M678,166 L678,282 L145,282 L145,252" fill="none" '
        f'stroke="{INK}" stroke-width="1.6" marker-end="url(#head)"/>'
    )
    parts.append(text(412, 274, "the model, to every owner, for T rounds", size=12, colour=SOFT))
    return picture(750, 300, "Owners send masked, noised vectors; only their sum is opened", parts)


def shares() -> str:
    """How many noise shares stand between the data and each adversary, four owners, c = 1."""
    rows = (
        ("outsider", 4, "sees the model"),
        ("coordinator", 4, "sees every sum"),
        ("curious owner", 3, "knows its own share"),
        ("coordinator + 1 owner", 3, "the row that ε is asked for"),
        ("masks broken one day", 1, "one share is left"),
    )
    parts = [text(375, 22, "noise shares that an adversary faces: 4 owners, 1 colluder", size=14)]
    for number, (name, count, note) in enumerate(rows):
        y = 40 + 36 * number
        parts.append(text(110, y + 19, name))
        for share in range(4):
            known = share >= count
            fill = "none" if known else BLUE
            parts.append(rectangle(230 + share * 64, y, 56, 26, fill=fill, stroke=BLUE))
        parts.append(text(610, y + 19, note, size=12, colour=SOFT))
    return picture(750, 230, "The fewer shares an adversary faces, the larger its ε", parts)


FIGURES = {"units.svg": units, "roles.svg": roles, "shares.svg": shares}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
        print(FOLDER / name)
