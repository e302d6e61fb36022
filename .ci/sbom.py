"""Puts a software bill of materials into the wheel, as PEP 770 says: ``.dist-info/sboms/``.

It is CycloneDX 1.7, the first version that can say what a library on PyPI has to say: nothing of others is
in the wheel, and these are the ranges of what it expects beside itself. It holds no time and nothing that
is random, so that the wheel stays the same byte for byte.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SCHEMA = "http://cyclonedx.org/schema/bom-1.7.schema.json"


class SbomHook(BuildHookInterface):  # type: ignore[type-arg]  # of settings that this hook has none of
    """Writes the bill before the wheel is built, and removes it afterwards."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the bill where the wheel's builder looks for it."""
        core = self.metadata.core
        bill = make_bill(
            core.name,
            self.metadata.version,
            core.license_expression,
            core.dependencies,
            core.optional_dependencies,
        )
        self.folder = TemporaryDirectory()
        path = Path(self.folder.name, f"{core.name}.cdx.json")
        path.write_text(json.dumps(bill, indent=2) + "\n")
        path.chmod(0o644)
        build_data["sbom_files"].append(str(path))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was written."""
        self.folder.cleanup()


def make_bill(
    name: str,
    version: str,
    license_expression: str,
    dependencies: list[str],
    extras: dict[str, list[str]],
) -> dict[str, Any]:
    """Return the bill of materials of a distribution."""
    purl = f"pkg:pypi/{name}@{version}"
    required = {canonicalize_name(one.name): one for one in map(Requirement, dependencies)}
    optional = {
        canonicalize_name(one.name): one
        for each in extras.values()
        for one in map(Requirement, each)
    }
    expected = {**dict(sorted(optional.items())), **required}
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": uuid5(NAMESPACE_URL, purl).urn,
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version,
                "licenses": [{"expression": license_expression}],
                "purl": purl,
            }
        },
        "components": [
            make_component(key, one, is_required=key in required)
            for key, one in sorted(expected.items())
        ],
        "dependencies": [
            {"ref": purl, "dependsOn": [f"pkg:pypi/{key}" for key in sorted(expected)]}
        ],
    }


def make_component(name: str, requirement: Requirement, *, is_required: bool) -> dict[str, Any]:
    """Return what is said of one dependency: who it is, and which versions will do."""
    bounds = sorted(f"{one.operator}{one.version}" for one in requirement.specifier)
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}",
        "name": name,
        "versionRange": f"vers:pypi/{'|'.join(bounds) or '*'}",
        "isExternal": True,
        "scope": "required" if is_required else "optional",
        "purl": f"pkg:pypi/{name}",
    }
