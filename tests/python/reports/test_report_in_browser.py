"""The report in a real browser, headless Chromium: it draws, complains of nothing, and fits a phone, light and dark."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from lrpolicy.reports.page import write_report
from lrpolicy.reports.pictures import pictures
from support.stored_run import stored_run, verdict_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian's package: chromium)")
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>'
DARK = "--blink-settings=preferredColorScheme=0"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    found = stored_run(name=HOSTILE, message=HOSTILE)
    write_report(path, found, verdict_of(found), pictures(found, verdict_of(found)))
    return path


def look(page: Path, width: int, height: int, *options: str) -> tuple[NDArray[np.float32], list[str]]:
    """The pixels [height, width, 3] of a page in [0, 1], and what the browser's console said."""
    picture = page.with_suffix(".png")
    picture.unlink(missing_ok=True)
    command = [
        str(CHROMIUM),
        "--headless",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--force-device-scale-factor=1",
        "--enable-logging=stderr",
        f"--user-data-dir={page.parent / 'profile'}",
        f"--window-size={width},{height}",
        f"--screenshot={picture}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert picture.exists(), done.stderr
    return imread(picture)[:, :, :3], [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.mark.parametrize("options", [(), (DARK,)], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_drawn_without_complaint(report: Path, width: int, options: tuple[str, ...]) -> None:
    pixels, console = look(report, width, 3600, *options)
    assert console == []
    paper = 26 / 255 if options else 1.0
    assert np.allclose(pixels[:, :8], paper, atol=1 / 255), "something stands left of the page"
    assert np.allclose(pixels[:, -8:], paper, atol=1 / 255), "the page is wider than the window"
    inked = np.abs(pixels - paper).max(axis=2) > 0.2
    assert 0.01 < inked.mean() < 0.5
    assert inked[1200:3000].any(axis=1).mean() > 0.5, "half of the middle of the page is empty"
    hues = np.ptp(pixels, axis=2) > 0.25
    assert hues.sum() > 500, "the curves have lost their colours"


def test_the_console_is_really_heard(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<!DOCTYPE html><title>x</title><script>console.error('heard')</script>", encoding="utf-8")
    _, console = look(page, 500, 300)
    assert any("heard" in line for line in console)


def test_the_pages_own_policy_stops_a_script_that_slipped_in(report: Path, tmp_path: Path) -> None:
    slipped = tmp_path / "slipped.html"
    text = report.read_text(encoding="utf-8")
    slipped.write_text(text.replace("<main>", "<main><script>console.log('ran')</script>"), encoding="utf-8")
    _, console = look(slipped, 500, 300)
    assert any("Content Security Policy" in line for line in console)
    assert not any('"ran"' in line for line in console)
