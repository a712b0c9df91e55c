"""Long commands on several lines that can still be copied: broken only between words of the shell."""

from __future__ import annotations


def folded(command: str, width: int) -> list[str]:
    """The command in lines of at most `width` columns if words allow; all but the last end in a backslash.

    Follows the quoting of the POSIX shell (XCU 2.2): a blank inside quotes or behind a backslash is no place
    to break.
    """
    lines: list[str] = []
    line = ""
    indent = ""
    for word in _units(_words(command)):
        longer = f"{line} {word}" if line.strip() else indent + word
        if line.strip() and len(longer) > width - 2:
            lines.append(line + " \\")
            indent = "    "
            line = indent + word
        else:
            line = longer
    return [*lines, line]


def _units(words: list[str]) -> list[str]:
    """An option and the value behind it stay on one line."""
    units: list[str] = []
    for word in words:
        option = bool(units) and units[-1].startswith("-") and " " not in units[-1]
        if option and word[0] not in "-|<>&;" and not word.startswith("2>"):
            units[-1] += f" {word}"
        else:
            units.append(word)
    return units


def _words(command: str) -> list[str]:
    words: list[str] = []
    word = quote = ""
    escaped = False
    for char in command:
        if char == " " and not quote and not escaped:
            words.append(word)
            word = ""
            continue
        word += char
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
    words.append(word)
    return [word for word in words if word]
