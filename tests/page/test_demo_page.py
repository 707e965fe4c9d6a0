"""The page over the running demo, as somebody on call would use it."""

import os
import re

import httpx
import pytest
from page.browser import IMAGES, SCHEMES, WIDTHS, expect, is_too_wide, watched
from page.demo_plant import keyed_demo, publish_what_no_birth_explains
from support.http_side import OPERATOR, READER
from support.services import PATIENCE, wait_until

pytestmark = [pytest.mark.page, pytest.mark.xdist_group("demo")]

MAKES_IMAGES = bool(os.environ.get("PAGE_IMAGES"))
NODE = "node?server=demo&group=Plant+1&node=Line+A"
TAG = "tag?server=demo&group=Plant+1&node=Line+A&name=Cabinet/Temperature"
PLACES = {
    "overview": "overview",
    "tags": "tags",
    "tag": TAG,
    "nodes": "nodes",
    "node": NODE,
    "letters": "letters",
    "gaps": "gaps",
    "configuration": "configuration",
}
SHOWN_IN_DOCS = {"overview", "tags", "tag", "nodes", "node", "letters"}


def samples_of(system):
    """How many seconds the charts of the overview show."""
    key = {"Authorization": f"Bearer {READER}"}
    answer = httpx.get(f"{system.url}api/overview", headers=key, timeout=PATIENCE)
    return len(answer.json()["samples"]["time_ms"])


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with keyed_demo(tmp_path_factory.mktemp("demo")) as system:
        publish_what_no_birth_explains(system.server.url)
        if MAKES_IMAGES:
            wait_until(lambda: samples_of(system) >= 120, 180.0, "charts that show something")
        yield system


def sign_in(page, key):
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sign in")).to_have_count(0)


@pytest.fixture
def watch(chromium, plant):
    with watched(chromium, plant.url) as page:
        page.go("overview")
        sign_in(page.page, OPERATOR)
        yield page


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_all_places_fit_in_both_widths_and_schemes(chromium, plant, width, scheme):
    with watched(chromium, plant.url, width, scheme) as watch:
        page = watch.go("overview")
        sign_in(page, OPERATOR)
        for name, place in PLACES.items():
            watch.go(place)
            expect(page.locator(".failed")).to_have_count(0)
            expect(page.locator("h1").first).to_be_attached()
            page.wait_for_timeout(1500)  # for the first values and charts
            assert not is_too_wide(page), place
            if (
                MAKES_IMAGES
                and name in SHOWN_IN_DOCS
                and (width, scheme) in {("wide", "light"), ("narrow", "dark")}
            ):
                IMAGES.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=IMAGES / f"page-{name}-{width}-{scheme}.png")


def test_a_tag_is_found_by_search_and_its_value_changes(watch):
    page = watch.go("tags")
    expect(page.get_by_role("searchbox")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("plant 2 cabinet temp")
    expect(page.locator(".found")).to_have_text("1 tag")
    page.locator("#tags-list-0 a").click()
    expect(page.get_by_role("heading", name="Cabinet/Temperature")).to_be_visible()
    value = page.locator(".now strong")
    before = value.inner_text()
    expect(value).not_to_have_text(before)
    expect(page.locator(".plot canvas")).to_be_visible()
    expect(page.get_by_text("engUnit")).to_be_visible()
    page.get_by_role("link", name="Plant 2 / Line A").click()
    expect(page.get_by_role("heading", name="Its life")).to_be_visible()


def test_births_of_a_node_are_asked_for_and_come(watch):
    page = watch.go("nodes")
    page.get_by_role("link", name="Line A").first.click()
    expect(page.get_by_role("heading", name="Ask for its births")).to_be_visible()
    page.get_by_role("button", name="Ask for its births").click()
    expect(page.locator(".came")).to_contain_text("Its birth came at")
    expect(page.locator(".node table").first).to_contain_text("asked for births")


def test_a_dead_letter_is_sent_again(watch):
    page = watch.go("letters")
    expect(page.locator(".found")).to_have_text("1 letter")
    page.locator("#letters-list-0 a").click()
    expect(page.get_by_text("spBv1.0/Plant 9/NDATA/Gateway")).to_be_visible()
    expect(page.get_by_role("heading", name="Payload, as it came")).to_be_visible()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text(re.compile("will be sent again|is not here any more"))).to_be_visible()


def test_delivery_is_paused_and_goes_on(watch):
    page = watch.go("configuration")
    page.get_by_role("combobox", name="For").select_option("1")
    page.get_by_role("button", name="Pause delivery").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause delivery").click()
    watch.go("overview")
    paused = page.locator(".items li", has_text="is paused until")
    expect(paused).to_have_count(1)
    expect(page.locator(".verdict")).to_contain_text("Delivery is paused until")
    paused.get_by_role("button", name="Resume delivery").click()
    expect(paused).to_have_count(0)
    expect(page.locator(".verdict")).not_to_contain_text("paused")


def test_a_reader_may_look_but_not_act(chromium, plant):
    with watched(chromium, plant.url) as watch:
        page = watch.go(NODE)
        sign_in(page, READER)
        expect(page.get_by_role("button", name="Ask for its births")).to_be_disabled()
        page = watch.go("configuration?all=1")
        expect(page.get_by_text("Signed in as visitor, role reader")).to_be_visible()
        assert "reader-key" not in page.content()


def test_a_consumer_that_is_lost_is_said_and_comes_back_to_who_is_signed_in_again(watch, plant):
    page = watch.go("overview")
    expect(page.locator(".card")).to_have_count(4)
    plant.lose_consumer()
    expect(page.locator(".lost")).to_be_visible()
    expect(page.locator("main.stale")).to_be_visible()
    plant.start_consumer_again()
    sign_in(page, OPERATOR)
    expect(page.locator(".lost")).to_have_count(0)
    expect(page.locator(".verdict")).to_have_text(re.compile("All rows flow|need"))
