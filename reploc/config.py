"""Settings: a TOML file becomes a frozen type, or one error that names the key, what it holds and what was expected.

A settings type is a msgspec Struct whose fields are `Annotated[type, Meta(description=…, ge=…, le=…)]` with a default;
type, bound, default and help stand beside each other, and `example` prints them as the commented file that ships under
`configs/` (a test keeps the two equal).
"""

from __future__ import annotations

import difflib
import inspect
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from reploc import expected
from reploc.errors import ConfigInvalid, NameInvalid

T = TypeVar("T", bound="Settings")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of settings."""


def load(kind: type[T], path: Path | None, **overrides: Any) -> T:
    """The settings in a file (none: the defaults), with top-level keys overridden where a value is not None.

    Raises ConfigInvalid: the file cannot be read, is not TOML, holds an unknown key, or a value out of range.
    """
    table = _read(path) if path else {}
    table |= {key: value for key, value in overrides.items() if value is not None}
    return parse(kind, table, str(path or "the command line"))


def parse(kind: type[T], table: dict[str, Any], where: str) -> T:
    """The settings in a decoded table; `where` stands in front of every error."""
    for key, nearest in _unknown_keys(kind, table):
        advice = f"; did you mean {nearest!r}?" if nearest else ""
        raise ConfigInvalid(f"{where}: unknown key {key!r}{advice}")
    try:
        return msgspec.convert(table, kind)
    except NameInvalid as wrong:
        raise ConfigInvalid(f"{where}: {wrong.detail}") from wrong
    except (msgspec.ValidationError, ValueError, TypeError) as wrong:
        what, _, at = expected.in_words(wrong, kind).partition(" - at `$")
        key = at.rstrip("`").lstrip(".")
        raise ConfigInvalid(f"{where}: {key}: {what}" if key else f"{where}: {what}") from wrong


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as wrong:
        raise ConfigInvalid(f"{path}: {wrong.strerror or wrong}") from wrong
    except UnicodeDecodeError as wrong:
        raise ConfigInvalid(f"{path}: is not UTF-8 at byte {wrong.start}") from wrong
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigInvalid(f"{path}: is not TOML: {wrong}") from wrong


def _unknown_keys(kind: type[Any], table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        if key not in fields:
            nearest = difflib.get_close_matches(key, fields, n=1)
            yield f"{prefix}{key}", prefix + nearest[0] if nearest else ""
        elif (inner := _table_type(fields[key])) is not None:
            for number, row in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(row, dict):
                    at = f"[{number}]" if isinstance(value, list) else ""
                    yield from _unknown_keys(inner, row, f"{prefix}{key}{at}.")


def _table_type(hint: Any) -> type[Settings] | None:
    """The Settings type inside a field's type: itself, annotated, or in a list."""
    if isinstance(hint, type) and issubclass(hint, Settings):
        return hint
    for argument in getattr(hint, "__args__", ()):
        if found := _table_type(argument):
            return found
    return None


def example(kind: type[Settings]) -> str:
    """The commented TOML of every setting with its default (JSON's forms of text, numbers and booleans are TOML's)."""
    said = inspect.cleandoc(kind.__doc__ or "").splitlines()
    return "\n".join([*(f"# {line}".rstrip() for line in said), "", *_example_rows(kind, kind(), "")]).rstrip() + "\n"


def _example_rows(kind: type[Settings], values: Settings, prefix: str) -> Iterator[str]:
    """A table's settings, and behind them the tables inside it, as TOML wants them."""
    hints = get_type_hints(kind, include_extras=True)
    tables: list[tuple[str, Settings]] = []
    for field in msgspec.structs.fields(kind):
        value = getattr(values, field.name)
        if isinstance(value, Settings):
            tables.append((f"[{prefix}{field.encode_name}]", value))
        elif _table_type(field.type):
            tables += [(f"[[{prefix}{field.encode_name}]]", row) for row in value]
        else:
            yield f"# {_description(hints[field.name])}"
            yield f"{field.encode_name} = {json.dumps(value, ensure_ascii=False)}"
            yield ""
    for heading, table in tables:
        yield f"# {inspect.cleandoc(type(table).__doc__ or '').splitlines()[0]}"
        yield heading
        yield from _example_rows(type(table), table, f"{heading.strip('[]')}.")


def _description(hint: Any) -> str:
    for meta in getattr(hint, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    return ""
