"""Find the modules of a package by file name: a new file is a new data set, method or probe."""

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as strict_dataclass

from stages.runtime.errors import UserError

MAX_NUMBER = 1_000_000_000  # of a setting
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's names for an unknown key


def names(package: str) -> list[str]:
    """Sorted names of the modules in `package`, without sub-packages."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    return sorted(module.name for module in pkgutil.iter_modules(folders) if not module.ispkg)


def load(package: str, name: str) -> ModuleType:
    """The module `package.name`.

    Raises:
        UserError: no such module; the error lists those that exist.
    """
    known = names(package)
    if name not in known:
        raise UserError(f"no module {name!r} in {package}: expected one of {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")


def settings(module: ModuleType, values: Mapping[str, Any], section: str) -> Any:
    """The module's `Params`, a plain frozen dataclass, filled strictly from `values`.

    A misspelt key, a missing key, a value of another type, a number beyond MAX_NUMBER or what the module's `problem`
    reports is refused.

    Raises:
        UserError: names the section, the key, what was expected and what was found.
    """
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    strict = strict_dataclass(frozen=True, config=config)(module.Params)
    try:
        checked = cast(Any, strict)(**values)
    except ValidationError as error:
        known = ", ".join(TypeAdapter(strict).json_schema().get("properties", {})) or "none"
        raise UserError(f"params.yaml: {explain(error, section)}; keys of {section}: {known}") from None
    fields: dict[str, Any] = {name: getattr(checked, name) for name in module.Params.__dataclass_fields__}
    if large := [name for name, value in fields.items() if isinstance(value, int | float) and abs(value) > MAX_NUMBER]:
        raise UserError(f"params.yaml: {section}.{large[0]} should be at most {MAX_NUMBER}, found {fields[large[0]]}")
    filled = module.Params(**fields)
    problem = module.problem(filled) if hasattr(module, "problem") else None
    if problem:
        raise UserError(f"params.yaml: {section}: {problem}")
    return filled


def explain(error: ValidationError, section: str = "") -> str:
    """The first problem of a pydantic error as one clause: where, expected, found.

    A misspelt key is both unknown and missing: the unknown one is reported.
    """
    problems = error.errors(include_url=False)
    first = next((problem for problem in problems if problem["type"] in UNKNOWN), problems[0])
    where = ".".join(str(part) for part in (*([section] if section else []), *first["loc"]))
    where = where if where.isprintable() else ascii(where)  # a key of YAML may hold anything
    if first["type"] in UNKNOWN:
        return f"{where} is not a known parameter, check its spelling"
    if first["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{where} is missing"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if first["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where} should be {message}, found {first['input']!r}"
