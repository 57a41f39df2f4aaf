"""Making text that nobody here wrote fit to be shown: escape sequences, controls, length.

Answers of models, messages of engines and names of files end up in reports, tables and logs. What
they hold that acts on a reader's screen instead of standing on it is taken out or made visible
here; the owners of Markdown and XML escape the rest for their own formats.
"""

import re

__all__ = ["one_line", "shorten", "strip_ansi", "visible"]

_ANSI = re.compile(
    r"""
    (?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]             # CSI: colours, cursor movement
    | (?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)     # OSC: titles, hyperlinks
    | (?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)  # DCS, SOS, PM, APC
    | \x1b[ -/]*[0-~]                            # two-character and charset sequences
    """,
    re.VERBOSE,
)

# What has no shape of its own, changes the order in which its neighbours are read, or cannot be
# encoded: C0 and C1 controls, bidi controls, invisible operators, separators, tag characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\ufff9-\ufffb\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
)

_BLANKS = re.compile(r"\s+")


def strip_ansi(text: str) -> str:
    """Return ``text`` without terminal escape sequences (ECMA-48), 7-bit and 8-bit.

    A sequence that is never ended stays: dropping it would drop the rest of the text with it.
    """
    return _ANSI.sub("", text)


def visible(text: str) -> str:
    r"""Return ``text`` with everything that cannot be seen made visible.

    Escape sequences are dropped and line ends become ``\n``. A C0 control becomes its control
    picture (``␀`` for NUL), any other unseen character its code point (``[U+202E]``); a lone
    surrogate, which no file can hold, becomes U+FFFD. Tabs, the joiners that scripts and emoji
    need, and everything else stay.
    """
    text = strip_ansi(text).replace("\r\n", "\n").replace("\r", "\n")
    return _UNSEEN.sub(_show, text)


def one_line(text: str) -> str:
    """Return ``text`` made visible on one line: every run of blanks becomes one space."""
    if text.isascii() and text.isprintable():
        # Of what is printed, the space alone is a blank.
        return text if text == text.strip() and "  " not in text else " ".join(text.split())
    return _BLANKS.sub(" ", visible(text)).strip()


def shorten(text: str, limit: int) -> str:
    """Return at most the first ``limit`` characters, then how many more there are.

    The note comes on top of the limit, so that a cut text never passes for a whole one.
    """
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… [{len(text) - limit} more characters]"


def _show(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"[U+{code:04X}]"
