"""The pages as a reader sees them: both widths, both themes, mouse or keyboard, with no network."""

import json
import time

import pytest
from selenium.webdriver.common.keys import Keys

DESK, PHONE = (1280, 900), (390, 844)
# Resolves when MathJax, the fonts and the pictures are there.
SETTLED = """
const done = arguments[arguments.length - 1];
const pictures = [...document.images].map((image) => { image.loading = "eager"; return image.decode().catch(() => 0); });
const typeset = window.MathJax ? MathJax.startup.promise : Promise.resolve();
Promise.all([document.fonts.ready, typeset, ...pictures]).then(() => requestAnimationFrame(() => done(true)));
"""
# Text whose contrast with what lies behind it is below the 4.5 of WCAG AA (3 for large text).
FAINT = """
const parse = (color) => { const v = color.match(/[\\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
const over = (top, under) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * under[i]);
const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const seen = new Map();
const look = (e) => { if (!e) return parse(getComputedStyle(document.documentElement).getPropertyValue("background-color"));
  const c = parse(getComputedStyle(e).backgroundColor); return c[3] === 1 ? c : [...over(c, behind(e.parentElement)), 1]; };
const behind = (e) => { if (!seen.has(e)) seen.set(e, look(e)); return seen.get(e); };
const faint = [], texts = new Map();
const walk = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const text = walk.currentNode.textContent.trim(), e = walk.currentNode.parentElement;
  // A formula has one colour, and hundreds of elements.
  if (text && !e.closest("svg, mjx-assistive-mml, script, style")) texts.set(e.closest("mjx-container") ?? e, text);
}
for (const [e, text] of texts) {
  if (!e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
  const style = getComputedStyle(e), ground = behind(e), ink = over(parse(style.color), ground);
  const [a, b] = [light(ink), light(ground.slice(0, 3))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && style.fontWeight >= 700);
  if (ratio < (large ? 3 : 4.5)) faint.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
}
return [...new Set(faint)];
"""


def resize(driver, size):
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def open_page(driver, url, size=DESK):
    resize(driver, size)
    driver.get_log("performance"), driver.get_log("browser")
    driver.get(url)
    driver.execute_async_script(SETTLED)


def requests(driver):
    events = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def test_page(driver, address, docname):
    open_page(driver, f"{address}/{docname}.html")
    assert driver.find_element("css selector", "article h1").text

    outside = [url for url in requests(driver) if not url.startswith((address, "data:", "blob:"))]
    assert not outside, "the page asks the network"
    errors = [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not errors

    untypeset = "return [...document.querySelectorAll('.math')].filter((e) => !e.querySelector('mjx-container')).map((e) => e.textContent)"
    assert driver.execute_script(untypeset) == []
    broken = "return [...document.querySelectorAll('mjx-merror, [data-mjx-error]')].map((e) => e.textContent)"
    assert driver.execute_script(broken) == []
    # What MathJax was told to leave alone shows its source; docstrings may speak of it.
    assert docname.startswith("book/api/") or not [text for text in (r"\(", r"\[", "$$") if text in prose(driver)]

    silent = "return [...document.querySelectorAll('article img')].filter((e) => !e.alt.trim()).map((e) => e.src)"
    assert driver.execute_script(silent) == [], "a picture without alternative text"
    absent = "return [...document.images].filter((e) => e.naturalWidth === 0 && !e.src.endsWith('.svg')).map((e) => e.src)"
    assert driver.execute_script(absent) == [], "a picture that does not load"

    for size in (DESK, PHONE):
        resize(driver, size)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= size[0], f"scrolls sideways at {size[0]}"
    for theme in ("light", "dark"):
        driver.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
        assert driver.execute_script(FAINT) == [], f"hard to read in the {theme} theme"


def prose(driver):
    """The article's text without code and formulas."""
    return driver.execute_script(
        "const e = document.querySelector('article').cloneNode(true);"
        "e.querySelectorAll('pre, code, mjx-container').forEach((c) => c.remove()); return e.textContent"
    )


def test_keyboard_focus_is_visible(driver, address):
    open_page(driver, f"{address}/book/index.html")
    seen = set()
    for _ in range(40):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        name, outline = driver.execute_script(
            "const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.tagName + ' ' + e.textContent.trim().slice(0, 30), [s.outlineStyle, parseFloat(s.outlineWidth)]]"
        )
        if name.startswith("BODY"):
            break
        seen.add(name)
        assert outline[0] != "none" and outline[1] >= 2, f"no visible focus on {name}"
    assert any("Ledger" in name for name in seen)


def test_search_finds_a_page(driver, address):
    open_page(driver, f"{address}/search.html?q=ledger")
    hits = wait(lambda: [link.get_attribute("href") for link in driver.find_elements("css selector", "ul.search a")])
    assert any("book/ledger.html" in link for link in hits)


def test_ledger_filter(driver, address):
    open_page(driver, f"{address}/book/ledger.html")
    shown = "return [...document.querySelectorAll('table.hopmix-ledger tbody tr')].filter((row) => !row.hidden).map((row) => row.id)"
    every = driver.execute_script(shown)
    assert every
    words = driver.find_element("css selector", ".hopmix-filter input")
    name = driver.find_element("css selector", "table.hopmix-ledger .claim-name").text
    words.send_keys(name)
    assert driver.execute_script(shown) == ["claim-" + name.replace(".", "-").replace("_", "-")]
    words.send_keys(" no claim has these words")
    assert driver.execute_script(shown) == []
    # A link to a claim that the filter hides still arrives.
    driver.execute_script("location.hash = arguments[0]", every[-1])
    assert wait(lambda: driver.execute_script(shown)) == every
    parts = driver.find_elements("css selector", "#ledger-part-0 option")
    assert {part.get_attribute("value") for part in parts[1:]} == {row.split("-")[1] for row in every}


def test_ledger_is_cards_on_a_phone(driver, address):
    open_page(driver, f"{address}/book/ledger.html", PHONE)
    width = driver.execute_script("return document.querySelector('table.hopmix-ledger tbody tr').getBoundingClientRect().width")
    assert width <= PHONE[0]
    labels = "return [...document.querySelector('table.hopmix-ledger tbody tr').cells].map((c) => getComputedStyle(c, '::before').content)"
    assert '"Measured"' in driver.execute_script(labels)


def test_citation_can_be_copied(driver, address):
    open_page(driver, f"{address}/book/memory/hopfield_mixer.html")
    summary = driver.find_element("css selector", ".hopmix-cite summary")
    driver.execute_script("arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", summary)
    summary.click()
    blocks = driver.find_elements("css selector", ".hopmix-cite .highlight-bibtex")
    assert len(blocks) == 2, "the page's own entry and those of its sources"
    for block in blocks:
        assert block.is_displayed() and block.find_elements("css selector", "button.copybtn")
        assert block.find_element("css selector", "pre").text.startswith("@")


def test_works_from_files(driver, site):
    open_page(driver, (site / "book" / "memory" / "hopfield_mixer.html").as_uri())
    assert driver.find_elements("css selector", "mjx-container")
    assert not [url for url in requests(driver) if not url.startswith(("file:", "data:", "blob:"))]
    assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def test_theme_can_be_switched(driver, address):
    open_page(driver, f"{address}/book/index.html")
    ground = "return getComputedStyle(document.body).backgroundColor"
    seen = set()
    for _ in range(3):
        driver.find_element("css selector", "button.theme-switch-button").click()
        seen.add(driver.execute_script(ground))
    assert len(seen) == 2


def wait(condition, seconds=10):
    """The first truthy answer of the condition."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > end:
            pytest.fail("nothing came in time")
        time.sleep(0.05)
    return answer
