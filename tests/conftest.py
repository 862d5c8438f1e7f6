"""What every test file may ask for: a clock without waiting, a free port, a browser where there is one."""

import os
import shutil
import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.clock import FakeClock

# A shell that starts us in the background has SIGINT ignored, and our children would inherit that: here it means what it says.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two busy cores make wall-clock deadlines of single examples meaningless; CI draws the same examples every time.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture
def clock() -> FakeClock:
    """A clock whose sleep advances it."""
    return FakeClock()


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago. Servers of ours should rather bind port 0."""
    from tests import loopback

    return loopback.free_port()


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The path of an installed Chromium. Tests that look at pages are skipped by name where there is none."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.skip(f"no browser on PATH (looked for {', '.join(BROWSERS)})")


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see none of the project's variables of whoever runs them."""
    for name in list(os.environ):
        if name.startswith(("CROSSDOCK_", "STACKER_", "ROBOSTACK_", "DAGSTER_HOME")):
            monkeypatch.delenv(name)
