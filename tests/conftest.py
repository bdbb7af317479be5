"""What all suites share: the options of this project, and hypothesis without chance."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.house.counting import Counting
from tests.house.suites import check_every_suite_ran

BUSY_S = 600
"""No test takes as long by itself: on a machine that is busy with other things it may."""

# Every run draws the same examples; ZRAFT_HYPOTHESIS=soak searches further, by chance. How long anything takes is no
# reason to fail: the machine may be busy.
UNHURRIED = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", UNHURRIED, derandomize=True, database=None, max_examples=100)
settings.register_profile("soak", UNHURRIED, max_examples=5000)
settings.load_profile(os.environ.get("ZRAFT_HYPOTHESIS", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this project."""
    group = parser.getgroup("zraft")
    group.addoption("--rewrite", action="store_true", help="write golden files anew instead of comparing with them")
    group.addoption("--every-suite-runs", action="store_true", help="fail where a folder given here runs no test")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--rewrite"))


def pytest_configure(config: pytest.Config) -> None:
    """Counts what runs, in the process that reports it, and lets coverage count what it needs."""
    config.addinivalue_line("markers", "uncounted: coverage does not count this test")
    config.addinivalue_line("markers", "counts_processes: coverage counts the processes that the test starts, too")
    config.pluginmanager.register(Counting())
    if config.getoption("--every-suite-runs") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(EverySuiteRuns())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that does not end is ended after `BUSY_S`, or later where it says so itself."""
    for item in items:
        marker = item.get_closest_marker("timeout")
        if marker is None or marker.args[0] < BUSY_S:
            item.add_marker(pytest.mark.timeout(BUSY_S), append=False)


class EverySuiteRuns:
    """Turns a green run red where a given folder ran no test; skipped tests did not run."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.missing: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes a test that really ran."""
        if report.when == "call" and not report.skipped:
            self.ran.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Compares what ran with what was asked for."""
        folders = [argument for argument in session.config.args if os.path.isdir(argument)]
        self.missing = check_every_suite_ran(folders, self.ran)
        if self.missing and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Says which folder was empty."""
        for line in self.missing:
            terminalreporter.write_line(f"FAILED {line}", red=True)
