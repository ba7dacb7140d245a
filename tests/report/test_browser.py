"""The report in a real browser: what a reader does with it, on large and small screens, in the
light, in the dark, on paper."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.synthetic import Made

CHROMIUM = shutil.which("chromium")
REQUIRED = os.environ.get("CI_BROWSER") == "required"
if CHROMIUM is None and not REQUIRED:
    pytest.skip(
        "no chromium here (Debian's package; CI_BROWSER=required makes this an error)",
        allow_module_level=True,
    )

from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TALL = 900


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "CI_BROWSER=required, and there is no chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


class Watched:
    """Opens pages and keeps what went wrong in them."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.complaints: list[str] = []

    def open(
        self,
        file: Path,
        width: int = 1280,
        scheme: str = "light",
        script: bool = True,
        anchor: str = "",
    ) -> Page:
        context = self.browser.new_context(
            viewport={"width": width, "height": TALL},
            color_scheme=scheme,
            java_script_enabled=script,  # type: ignore[arg-type]
            accept_downloads=True,
        )
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                asked.url.startswith(("file:", "blob:", "data:"))
                or self.complaints.append(asked.url)
            ),
        )
        page.goto(f"{file.as_uri()}{anchor}")
        return page


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """Nothing may be said on the console, and nothing asked of the network."""
    made = Watched(browser)
    yield made
    for context in browser.contexts:
        context.close()
    assert made.complaints == []


def column(page: Page, title: str) -> list[str]:
    """The shown cells of a column of the table of points."""
    heads = [
        text.strip()
        for text in page.locator("table.points thead tr").first.locator("th").all_inner_texts()
    ]
    at = [head.replace("\n", "") for head in heads].index(title)
    return page.locator("table.points tbody tr").evaluate_all(
        f"rows => rows.map(row => row.cells[{at}].innerText.trim())"
    )


def head(title: str) -> str:
    return f"table.points thead th:has-text('{title}') .dt-column-order"


def test_sorting_is_by_number_and_said_to_screen_readers(watched: Watched, small: Path) -> None:
    page = watched.open(small)
    page.click(head("temperature"))
    assert column(page, "method.temperature") == ["1", "1", "4", "4", "16", "16"]
    assert page.locator("table.points th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.click(head("val_accuracy"))
    page.click(head("val_accuracy"))
    means = [float(cell[:5]) for cell in column(page, "val_accuracy")]
    assert means == sorted(means, reverse=True)
    assert len(page.locator("table.points tbody tr").all()) == 6


def test_filtering_by_text_and_by_number(watched: Watched, small: Path) -> None:
    page = watched.open(small)
    page.get_by_label("Search all columns").fill("Pareto")
    assert column(page, "Point") == ["Point 1", "Point 4"]
    assert page.locator(".count").inner_text() == "2 of 6 points"
    page.get_by_label("Search all columns").fill("")
    by_temperature = page.get_by_label("Filter by method.temperature")
    by_temperature.fill("> 1")
    assert column(page, "method.temperature") == ["4", "16", "4", "16"]
    page.get_by_label("Filter by noise.input.sigma").fill("0.01..1")
    assert column(page, "Point") == ["Point 4", "Point 5"]
    by_temperature.fill("")
    assert column(page, "Point") == ["Point 3", "Point 4", "Point 5"]
    page.get_by_label("Filter by noise.input.sigma").fill("nothing like it")
    assert "No point fits" in page.locator("table.points tbody").inner_text()


def test_columns_are_chosen(watched: Watched, small: Path) -> None:
    page = watched.open(small)
    assert "noise.accuracy" not in re.sub(
        r"\s", "", page.locator("table.points thead tr").first.inner_text()
    )
    page.click("summary:has-text('Columns')")
    page.get_by_label("noise.accuracy[sigma=0.3]", exact=True).check()
    page.get_by_label("seeds", exact=True).uncheck()
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", column(page, "noise.accuracy[sigma=0.3]")[0])
    assert "seeds" not in page.locator("table.points thead tr").first.inner_text()
    titles = page.locator("table.points thead tr").first.locator("th")
    assert page.locator("table.points thead tr.filters td").count() == titles.count()
    page.keyboard.press("Escape")
    assert not page.get_by_label("seeds", exact=True).is_visible()


def test_a_trial_is_opened_read_and_closed(watched: Watched, small: Path) -> None:
    page = watched.open(small)
    page.click("table.points a:has-text('Point 1')")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    text = dialog.inner_text()
    assert "Point 1 of made-up" in text
    assert "noise.input.sigma = 0, method.temperature = 4" in text
    assert "zero or undefined gradient for 3 of 400 images" in text
    assert "pgd20.accuracy" in text
    assert dialog.locator("svg[role=img]").count() == 2
    assert "val" in (dialog.locator("svg").first.get_attribute("aria-label") or "")
    assert dialog.locator("pre").inner_text().startswith("# Trial ")
    dialog.get_by_role("link", name="seed 2").click()
    assert "Seed\n2" in dialog.inner_text()
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Save as a file").click()
    assert saved.value.suggested_filename.startswith("rerun-")
    assert "name: rerun-" in saved.value.path().read_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_failed_trials_and_teachers_can_be_opened_and_linked_to(
    watched: Watched, small: Path
) -> None:
    page = watched.open(small)
    page.locator("table", has_text="CUDA out of memory").locator("a.trial").last.click()
    assert "failed: RuntimeError: CUDA out of memory" in page.locator("dialog").inner_text()
    page.locator("dialog dd a").click()
    teacher = page.locator("dialog h2").inner_text()
    assert teacher.startswith("Teacher ")
    page = watched.open(small, anchor=f"#trial-{teacher.removeprefix('Teacher ')}")
    assert page.locator("dialog h2").inner_text() == teacher


def test_the_keyboard_alone_gets_everywhere(watched: Watched, small: Path) -> None:
    page = watched.open(small)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.locator(head("temperature")).focus()
    page.keyboard.press("Enter")
    assert column(page, "method.temperature")[0] == "1"
    page.locator("table.points a").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "trial-title"
    for _ in range(30):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent").startswith("Point ")


CONTRASTS = """() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0.9) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = "h1,h2,h3,p,a,dt,dd,th,td,caption,button,summary,figcaption,label,input,code,.count,.skip";
  for (const e of document.querySelectorAll(texts)) {
    if (!e.textContent.trim() || !e.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${e.tagName} ${e.className} ${ratio.toFixed(2)} ${e.textContent.trim().slice(0, 30)}`);
  }
  for (const e of document.querySelectorAll("figure svg text")) {
    const [a, b] = [light(parse(getComputedStyle(e).fill)), light(ground(e.closest("figure")))].sort((x, y) => y - x);
    const value = (a + 0.05) / (b + 0.05);
    if (value < 4.5 && !e.closest("svg").querySelector("image")) found.push(`svg text ${value.toFixed(2)} ${e.textContent}`);
  }
  return found;
}"""


def test_light_and_dark_follow_the_system_and_the_button(watched: Watched, small: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page = watched.open(small)
    light = page.evaluate(ground)
    assert page.evaluate(CONTRASTS) == []
    page.click("#theme")
    assert page.locator("#theme").inner_text() == "Colours: light"
    page.click("#theme")
    dark = page.evaluate(ground)
    assert dark != light
    assert page.evaluate(CONTRASTS) == []
    page.wait_for_timeout(500)  # Chromium writes down what a page remembers a moment later
    page.reload()
    assert page.evaluate(ground) == dark  # remembered
    page = watched.open(small, scheme="dark")
    assert page.evaluate(ground) == dark
    page.click("#theme")
    assert page.evaluate(ground) == light


@pytest.mark.parametrize("width", [320, 400, 768])
def test_a_narrow_screen_scrolls_tables_and_not_the_page(
    watched: Watched, small: Path, width: int
) -> None:
    page = watched.open(small, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator(".points-box")
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    page.click("summary:has-text('Columns')")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("summary:has-text('Columns')")
    page.click("table.points a >> nth=0")
    assert page.locator("dialog").evaluate("e => e.scrollWidth <= e.clientWidth")


def test_statistics_fit_a_desktop_and_say_the_verdict_first_on_a_phone(
    watched: Watched, small: Path
) -> None:
    box = watched.open(small, 1280).locator(".comparison .scroll").first
    assert box.evaluate("e => e.scrollWidth <= e.clientWidth")
    box = watched.open(small, 400).locator(".comparison .scroll").first
    right = "getBoundingClientRect().right"
    assert box.evaluate(f"e => e.querySelector('td:nth-child(3)').{right} <= e.{right}")


def test_paper_shows_all_that_can_be_read_there(
    watched: Watched, small: Path, tmp_path: Path
) -> None:
    page = watched.open(small, scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 30, 33)"
    for hidden in ("#theme", ".screen-only", ".table-tools", "nav", ".filters", ".all-trials"):
        assert not page.locator(hidden).first.is_visible()
    assert page.locator("table.points tbody tr").count() == 6
    assert page.locator(".points-box").evaluate("e => e.scrollHeight <= e.clientHeight + 1")
    assert page.evaluate(CONTRASTS) == []
    pdf = page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert pdf.startswith(b"%PDF")


def test_without_scripts_the_tables_and_figures_are_there(watched: Watched, small: Path) -> None:
    page = watched.open(small, script=False)
    assert page.locator("table.points tbody tr").count() == 6
    assert page.locator("noscript p").is_visible()
    assert not page.locator("#theme").is_visible()
    assert page.locator("table.points th:has-text('noise.')").count() > 3  # no column is hidden
    page.locator(".all-trials summary").click()
    assert page.locator(".all-trials table tbody tr").count() == 19
    assert page.locator("figure svg").first.is_visible()


def test_a_thousand_trials_open_at_once(watched: Watched, made: object) -> None:
    assert callable(made)
    page_file: Path = made(Made(points=200, seeds=5, epochs=30, numbers=20, failed=3, diverged=4))
    size = page_file.stat().st_size / 1e6
    began = time.perf_counter()
    page = watched.open(page_file)
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    seconds = time.perf_counter() - began
    print(f"1,000 trials: {size:.1f} MB, open in {seconds:.2f} s")  # noqa: T201
    assert size < 5
    assert page.locator("table.points tbody tr").count() == 200
    page.click("table.points a:has-text('Point 137')")
    assert page.locator("dialog tbody tr").count() == 39


def test_what_is_hostile_stays_text(watched: Watched, made: object) -> None:
    assert callable(made)
    name = "<img src=x onerror=alert(1)>&<script>alert(2)</script>"
    few = Made(
        sweep=name,
        case=name,
        points=2,
        seeds=2,
        epochs=2,
        failed=1,
        robustness=False,
        teacher=False,
    )
    page = watched.open(made(few))
    assert page.locator("h1").inner_text() == name
    assert column(page, "case") == [name, name]
    page.get_by_label("Search all columns").fill("onerror")
    assert page.locator("table.points tbody tr").count() == 2
    page.click(head("case"))
    page.click("table.points a >> nth=0")
    assert name in page.locator("dialog h2").inner_text()
    assert page.locator("img").count() == 0
