"""The text of an answer while it grows token by token, cut where a stop text begins."""

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["AnswerText", "TokenDecoder"]


class TokenDecoder(Protocol):
    """Turns tokens into text, holding half a character back."""

    def add(self, token: int) -> str:
        """Return the text that is whole with this token."""
        ...

    def end(self) -> str:
        """Return what is left."""
        ...


class AnswerText:
    """The text of one answer.

    Args:
        decoder: a fresh decoder of the model's tokens.
        stops: texts that end the answer; they are not part of it.
        on_text: called with each piece of text as soon as it is final. What may yet become part of
            a stop text is held back.
    """

    def __init__(
        self, decoder: TokenDecoder, stops: Sequence[str], on_text: Callable[[str], None] | None
    ) -> None:
        self._decoder = decoder
        self._stops = [stop for stop in stops if stop]
        self._longest = max(map(len, self._stops), default=0)
        self._on_text = on_text
        self._text = ""
        self._told = 0
        self._stopped = False

    def add(self, token: int) -> bool:
        """Add a token; returns whether a stop text is complete with it."""
        # A stop text may have begun in the tokens before.
        start = max(0, len(self._text) - self._longest)
        self._text += self._decoder.add(token)
        places = [place for stop in self._stops if (place := self._text.find(stop, start)) >= 0]
        if places:
            self._text = self._text[: min(places)]
            self._stopped = True
        else:
            self._tell(len(self._text) - self._possible_stop())
        return self._stopped

    def end(self) -> str:
        """Return the whole text, all of it told."""
        if not self._stopped:
            self._text += self._decoder.end()
        self._tell(len(self._text))
        return self._text

    def _tell(self, end: int) -> None:
        """Pass on what is final and has not been passed on yet."""
        if self._on_text is not None and end > self._told:
            self._on_text(self._text[self._told : end])
            self._told = end

    def _possible_stop(self) -> int:
        """Return how many characters at the end may be the beginning of a stop text."""
        for length in range(min(self._longest - 1, len(self._text)), 0, -1):
            if any(stop.startswith(self._text[-length:]) for stop in self._stops):
                return length
        return 0
