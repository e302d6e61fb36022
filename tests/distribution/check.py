"""Checks what is in a wheel: ``python tests/distribution/check.py dist/*.whl``; run by ``nox -s build``."""

from __future__ import annotations

import json
import sys
from email import message_from_bytes
from zipfile import ZipFile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement


def check_files(names: list[str], info: str) -> None:
    """Check that the package is in it whole, and nothing else."""
    assert {one.partition("/")[0] for one in names} == {"vwo_async", info}, names
    wanted = {
        "vwo_async/py.typed",
        f"{info}/licenses/LICENSE",
        f"{info}/sboms/vwo-async.cdx.json",
        f"{info}/entry_points.txt",
    }
    assert wanted <= set(names), wanted - set(names)
    assert not [one for one in names if one.endswith((".pyc", ".so"))]


def check_bill(text: str, version: str, requires: list[str]) -> None:
    """Check the bill of materials: by its schema, and that it names each requirement with its range."""
    fault = JsonStrictValidator(SchemaVersion.V1_7).validate_str(text)
    assert fault is None, fault
    bill = json.loads(text)
    assert bill["metadata"]["component"]["version"] == version
    ranges = {one["name"]: one["versionRange"] for one in bill["components"]}
    named = [Requirement(one) for one in requires]
    assert {one.name for one in named} == set(ranges)
    for one in named:
        bounds = "|".join(sorted(str(one.specifier).split(",")))
        assert ranges[one.name] == f"vers:pypi/{bounds}", one


def main() -> None:
    """Check the wheel that the first argument names."""
    with ZipFile(sys.argv[1]) as wheel:
        names = wheel.namelist()
        (metadata,) = [one for one in names if one.endswith(".dist-info/METADATA")]
        info = metadata.partition("/")[0]
        told = message_from_bytes(wheel.read(metadata))
        check_files(names, info)
        bill = wheel.read(f"{info}/sboms/vwo-async.cdx.json").decode()
        check_bill(bill, told["Version"], told.get_all("Requires-Dist", []))
    print(f"{sys.argv[1]}: the package, its licence and a valid bill of materials")


if __name__ == "__main__":
    main()
