"""What tests of clusters share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compute import clusters, namespaces


@pytest.fixture(scope="session")
def local_model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a small run makes with workers of this machine."""
    project = tmp_path_factory.mktemp("local") / "project"
    assert clusters.small_run(project, "--workers", "2").wait() == 0
    return clusters.digests(project)


@pytest.fixture
def network() -> Iterator[namespaces.Network]:
    """A network of hosts on this machine."""
    with namespaces.network() as made:
        yield made
