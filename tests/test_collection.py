"""The suite can be shared by several processes: names agree, slow servers are started once, ports differ."""

from __future__ import annotations

import pytest
from collection import check_names, check_timed, group_by_server, show_groups
from port import PORTS, find_free_port


@pytest.mark.parametrize("value", [object(), memoryview(b""), lambda: None, object.__new__])
def test_names_that_hold_an_address_are_refused(value: object) -> None:
    """An object that is written with its address makes another name in each process."""
    with pytest.raises(pytest.UsageError, match=r"test_user\.py::test_id"):
        check_names(
            ["tests/test_user.py::test_other[1]", f"tests/test_user.py::test_id[{value!r}]"]
        )


def test_other_names_are_fine() -> None:
    """Texts and numbers may look as they like."""
    check_names(["tests/test_user.py::test_id[0x7f61]", "tests/test_user.py::test_id[at the end]"])


def test_tests_of_one_server_stay_together(request: pytest.FixtureRequest) -> None:
    """Tests that use a server which is slow to start go to one process, and no other does."""

    def make_item(*fixtures: str) -> pytest.Function:
        item = pytest.Function.from_parent(request.node.parent, name="x", callobj=lambda: None)
        item.fixturenames = [*fixtures]
        return item

    items = [make_item("own_postgres", "tmp_path"), make_item("tmp_path"), make_item("nodes")]
    group_by_server(items)
    show_groups(items)
    show_groups(items)
    names = [item.nodeid.rpartition("::")[2] for item in items]
    assert names == ["x@own_postgres", "x", "x@nodes"]


def test_a_timed_test_that_would_not_be_found_is_refused(request: pytest.FixtureRequest) -> None:
    """A test that is marked elsewhere than in its file would be left out by both parts of the suite."""
    item = pytest.Function.from_parent(request.node.parent, name="x", callobj=lambda: None)
    item.add_marker("timed")
    with pytest.raises(pytest.UsageError, match="test_collection"):
        check_timed([item])


def test_processes_draw_ports_from_ranges_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of one process never gets the port of another's that is down for a moment."""
    seen = []
    for worker in ("gw0", "gw1", "gw2"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        seen.append({find_free_port() for _ in range(200)})
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert all(port in PORTS for ports in seen for port in ports)
