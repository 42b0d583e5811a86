"""The examples of a Markdown page: fenced blocks whose first line says what is done with them.

`ts run` is a program; `ts check` is compiled only; `ts setup` stands before each other example of
its language on the page. A block of `text` right after a program is what it prints; `…` in it
stands for anything.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IMPORTS_A_CLIENT = re.compile(r'from ("@bellwether/client"|bellwether_client import)')
"""A program that imports the client stands for itself, without the setup."""

FENCE = re.compile(
    r"^```(?P<language>\w+) (?P<use>setup|run|check)\n(?P<text>.*?)^```$"
    r"(?:\n\n```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Example:
    """One example, complete with what stands before it."""

    page: str
    line: int
    language: str
    is_run: bool
    text: str
    output: str
    is_continued: bool
    """Whether it goes on from the page's setup, which made a `client`."""

    @property
    def name(self) -> str:
        """Name it: its page and line."""
        return f"{self.page}_{self.line}"

    def prints(self, text: str) -> bool:
        """Tell whether this is what it should have printed."""
        expected = map(re.escape, self.output.split("…"))
        return re.fullmatch(".*".join(expected), text) is not None


def read_examples(path: Path) -> Iterator[Example]:
    """Yield the examples of a page in their order."""
    page = path.read_text(encoding="utf-8")
    setups: dict[str, str] = {}
    for found in FENCE.finditer(page):
        language, use, text, output = found.group("language", "use", "text", "output")
        if use == "setup":
            setups[language] = text
            continue
        is_continued = language in setups and IMPORTS_A_CLIENT.search(text) is None
        yield Example(
            page=path.stem,
            line=page.count("\n", 0, found.start()) + 1,
            language=language,
            is_run=use == "run",
            text=setups[language] + text if is_continued else text,
            output=output or "",
            is_continued=is_continued,
        )
