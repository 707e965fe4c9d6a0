"""The page by the rules of axe-core, and what axe-core does not see: the colours of charts."""

import hashlib
import json
from pathlib import Path
from urllib.parse import urlencode

import pytest
from page.browser import SCHEMES, WIDTHS, expect, watched
from page.plant import names_of_node

pytestmark = pytest.mark.page

VENDOR = Path(__file__).parent / "vendor"
LOOKS = [(width, scheme) for width in WIDTHS for scheme in SCHEMES]
AXE = (VENDOR / "axe.min.js").read_text("utf-8")
NODE = urlencode(dict(zip(("server", "group", "node"), names_of_node(18), strict=True)))
PLACES = [
    "overview",
    "tags",
    f"tag?{NODE}&name=Line+1/Motor/Speed",
    "nodes",
    f"node?{NODE}",
    "letters",
    "letter?name=row-1",
    "gaps",
    "configuration?all=1",
    "signin",
]
RUN = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    const places = (nodes) => nodes.slice(0, 5).map((each) =>
        [each.html.slice(0, 200), each.failureSummary]);
    return violations.map(({ id, impact, help, nodes }) =>
        ({ id, impact, help, where: places(nodes) }));
}"""
# Colours as the browser computes them, of the ground that a chart is drawn on and of its inks.
COLOURS = """() => {
    const style = getComputedStyle(document.querySelector(".chart"));
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const names = ["--chart-1", "--chart-2", "--muted", "--surface"];
    const inks = Object.fromEntries(names.map((name) => [name, rgb(style.getPropertyValue(name))]));
    const drawn = [...document.querySelectorAll(".plot canvas")].map((plot) => {
        const { data } = plot.getContext("2d").getImageData(0, 0, plot.width, plot.height);
        const found = new Set();
        for (let i = 0; i < data.length; i += 4) {
            if (data[i + 3] === 255) found.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
        }
        return [...found];
    });
    return { inks, ground: rgb(style.backgroundColor), drawn };
}"""
MARKS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const ground = rgb(getComputedStyle(document.querySelector(".strip")).backgroundColor);
    return [...document.querySelectorAll(".strip .mark")].map((mark) =>
        [rgb(getComputedStyle(mark).stroke), ground]);
}"""


def luminance(colour):
    parts = [c / 255 for c in colour]
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def findings(page):
    page.evaluate(AXE)  # not as a script of the page, which its CSP would rightly refuse
    return [each for each in page.evaluate(RUN) if each["impact"] in {"serious", "critical"}]


def test_axe_is_what_its_makers_published():
    lines = (VENDOR / "SHA256SUMS").read_text("ascii").splitlines()
    sums = dict(reversed(line.split()) for line in lines)
    assert sums["axe.min.js"] == hashlib.sha256((VENDOR / "axe.min.js").read_bytes()).hexdigest()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("mode", ["fine", "worst", "empty"])
def test_axe_finds_nothing_serious(chromium, world, fake, look, mode):
    world.mode = mode
    width, scheme = look
    with watched(chromium, fake.url, width, scheme) as watch:
        for place in PLACES if mode == "fine" else PLACES[:8:3]:
            page = watch.go(place)
            expect(page.locator("h1").first).to_be_attached()
            page.wait_for_timeout(300)
            found = findings(page)
            assert found == [], f"{place}: {json.dumps(found, indent=1)}"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious_while_the_consumer_is_gone(chromium, world, fake, scheme):
    with watched(chromium, fake.url, scheme=scheme) as watch:
        page = watch.go("overview")
        expect(page.locator(".card").first).to_be_visible()
        world.streaming = False
        expect(page.locator("main.stale")).to_be_visible()
        found = findings(page)
        assert found == [], json.dumps(found, indent=1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lines_and_axes_of_charts_stand_out(chromium, fake, scheme):
    with watched(chromium, fake.url, scheme=scheme) as watch:
        page = watch.go("overview")
        expect(page.locator(".plot canvas")).to_have_count(4)
        page.wait_for_timeout(500)
        seen = page.evaluate(COLOURS)
        inks, ground = seen["inks"], seen["ground"]
        assert inks["--surface"] == ground
        assert contrast(inks["--chart-1"], ground) >= 3
        assert contrast(inks["--chart-2"], ground) >= 3
        assert contrast(inks["--muted"], ground) >= 4.5  # the texts of axes
        for drawn in seen["drawn"]:
            assert ",".join(map(str, inks["--chart-1"])) in drawn
            assert "0,0,0" not in drawn, "something is drawn in the colour of no style"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_marks_of_a_nodes_life_stand_out(chromium, fake, scheme):
    with watched(chromium, fake.url, scheme=scheme) as watch:
        page = watch.go(f"node?{NODE}")
        expect(page.locator(".strip .mark").first).to_be_attached()
        for mark, ground in page.evaluate(MARKS):
            assert contrast(mark, ground) >= 3
