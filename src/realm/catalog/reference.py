"""The text that names a model's source, taken apart. It never touches the network or the disk.

hf:owner/repo/folder/file.gguf[@revision]     a file on the Hugging Face hub
package:NAME[+NAME...][==version]             Python packages that carry a GGUF or its parts
path:/some/file.gguf                          a file on this machine
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from realm.errors import CatalogError

_HUB_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HUB_FILE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
# The name grammar of Python's packaging specifications, and versions without wildcards or URLs.
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")

SCHEMES = ("hf", "package", "path")


@dataclass(frozen=True, slots=True)
class HubReference:
    """One file of one repository on the hub, at a branch, tag or commit."""

    repository: str
    file: str
    revision: str = "main"

    def __str__(self) -> str:
        suffix = "" if self.revision == "main" else f"@{self.revision}"
        return f"hf:{self.repository}/{self.file}{suffix}"


@dataclass(frozen=True, slots=True)
class PackageReference:
    """Python packages, in order, that together carry one GGUF file."""

    packages: tuple[str, ...]
    version: str | None = None

    def __str__(self) -> str:
        suffix = "" if self.version is None else f"=={self.version}"
        return f"package:{'+'.join(self.packages)}{suffix}"


@dataclass(frozen=True, slots=True)
class PathReference:
    """A file on this machine; the catalog never copies, moves or deletes it."""

    path: Path

    def __str__(self) -> str:
        return f"path:{self.path}"


Reference = HubReference | PackageReference | PathReference


def has_scheme(text: str) -> bool:
    """Whether the text begins with one of the schemes, so that it can only be a reference."""
    return text.partition(":")[0] in SCHEMES and ":" in text


def parse_reference(text: str) -> Reference:
    """The source that the text names. CatalogError when it names none."""
    scheme, _, rest = text.partition(":")
    if scheme == "hf":
        return _parse_hub(text, rest)
    if scheme == "package":
        return _parse_package(text, rest)
    if scheme == "path":
        if not rest:
            raise CatalogError(f"{text!r} names no file")
        return PathReference(expand_user(Path(rest)).absolute())
    raise CatalogError(
        f"{text!r} is not a model source: write hf:owner/repo/file.gguf[@revision], "
        "package:NAME[+NAME...][==version] or path:FILE"
    )


def expand_user(path: Path) -> Path:
    """The path with `~` filled in. CatalogError when there is no such user, or no home."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise CatalogError(f"{str(path)!r}: {error}") from None


def _parse_hub(text: str, rest: str) -> HubReference:
    location, at_sign, revision = rest.partition("@")
    parts = location.split("/")
    if len(parts) < 3:
        raise CatalogError(f"{text!r} is not of the form hf:owner/repo/file.gguf[@revision]")
    for part in parts[:2]:
        if not _HUB_PART.fullmatch(part):
            raise CatalogError(f"{text!r}: {part!r} is not a name of an owner or a repository")
    for part in parts[2:]:
        if not _HUB_FILE_PART.fullmatch(part):
            raise CatalogError(f"{text!r}: {part!r} is not a file name")
    if not parts[-1].endswith(".gguf"):
        raise CatalogError(f"{text!r}: {parts[-1]!r} is not a .gguf file")
    if at_sign and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise CatalogError(f"{text!r}: {revision!r} is not a revision")
    return HubReference("/".join(parts[:2]), "/".join(parts[2:]), revision or "main")


def _parse_package(text: str, rest: str) -> PackageReference:
    names, equals, version = rest.partition("==")
    packages = tuple(names.split("+"))
    for package in packages:
        if not _PACKAGE.fullmatch(package):
            raise CatalogError(f"{text!r}: {package!r} is not a package name")
    if len(set(packages)) != len(packages):
        raise CatalogError(f"{text!r} names a package twice")
    if equals and not _VERSION.fullmatch(version):
        raise CatalogError(f"{text!r}: {version!r} is not a version")
    return PackageReference(packages, version if equals else None)
