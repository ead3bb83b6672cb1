"""The built site, and a browser that can reach nothing else."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)


def pytest_generate_tests(metafunc):
    """A test with an argument `docname` runs for each page of the table of contents."""
    if "docname" in metafunc.fixturenames:
        from sphinx_external_toc.parsing import parse_toc_yaml

        metafunc.parametrize("docname", list(parse_toc_yaml(ROOT / "_toc.yml")))


@pytest.fixture(scope="session")
def site(testrun_uid):
    """The folder of the site, built once in a test run, however many processes run the tests."""
    build = ROOT / "_build"
    build.mkdir(exist_ok=True)
    outcome = build / ".tested"
    with FileLock(build / ".test-lock"):
        run, _, problem = outcome.read_text("utf-8").partition("\n") if outcome.exists() else ("", "", "")
        if run != testrun_uid:
            # Tested is the site that claims no address.
            env = {name: value for name, value in os.environ.items() if name not in ("HOPMIX_SITE_URL", "HOPMIX_REPOSITORY_URL")}
            build_it = [sys.executable, "book/_ext/build.py", "html"]
            done = subprocess.run(build_it, cwd=ROOT, env=env, capture_output=True, text=True)
            problem = done.stderr[-3000:] if done.returncode else ""
            outcome.write_text(f"{testrun_uid}\n{problem}", "utf-8")
    if problem:
        pytest.fail(f"the site was not built\n{problem}", pytrace=False)
    return build / "html"


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served, on this machine only."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *message):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """Chromium; every name but this machine's resolves to nothing, and it keeps a log of its requests."""
    browser, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and chromedriver):
        message = "Chromium and its driver are not installed (Debian: chromium, chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("chromium")
    flags = [*QUIET.split(), "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}"]
    for flag in flags:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    driver.set_script_timeout(30)
    yield driver
    driver.quit()
