"""An HTML page read back: its elements, its texts, and the numbers that it shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Page(HTMLParser):
    """What a parser sees of a page.

    Attributes:
        tags: every element's name. attributes: (element, name, value) of all.
        numbers: (value, path, text) of every `<data>`.
        texts: every text outside of `<data>`, `<style>` and `<svg>`.
    """

    tags: set[str] = field(default_factory=set)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    numbers: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def of(cls, html: str) -> Page:
        """A page, read."""
        page = cls()
        page.feed(html)
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.add(tag)
        named = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in named.items()]
        if tag == "data":
            self.numbers.append((named["value"], named["data-path"], ""))
        if tag not in {"meta", "img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Text."""
        if "data" in self._open:
            value, path, text = self.numbers[-1]
            self.numbers[-1] = (value, path, text + data)
        elif not {"style", "svg"} & set(self._open):
            self.texts.append(data)
