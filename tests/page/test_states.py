"""What the page says when something breaks, is missing, or is meant to do harm."""

import re
from urllib.parse import urlencode

import pytest
from page.answers import MAY_NOT
from page.browser import SCHEMES, WIDTHS, expect, is_too_wide, watched
from page.plant import HOSTILE, names_of_node
from page.serving import again
from support.services import wait_until

pytestmark = pytest.mark.page

HOSTILE_NODE = dict(zip(("server", "group", "node"), names_of_node(0), strict=True))


def text(page, words):
    return page.get_by_text(words).first


def test_what_blocks_zerobus_is_said_with_its_mend(world, watch):
    world.mode = "blocked"
    page = watch.go("overview")
    expect(page.locator(".verdict")).to_contain_text(f"Rows wait: {MAY_NOT}")
    expect(page.locator(".causes")).to_contain_text("grant USE CATALOG")
    expect(page.locator(".items")).to_contain_text("To mend it: grant USE CATALOG")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nodes", "No edge node has been heard yet."),
        ("tags", "No tag has been heard yet."),
        ("letters", "No dead letters."),
        ("gaps", "No gaps in this time."),
    ],
)
def test_an_empty_list_says_what_to_do_next(world, watch, place, words):
    world.mode = "empty"
    expect(text(watch.go(place), words)).to_be_visible()


def test_a_key_is_asked_for_and_a_wrong_one_is_refused_with_the_servers_words(world, watch):
    world.key = "right-key-0123456789"
    page = watch.go("nodes")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("this key is not known; see http.keys")
    page.get_by_label("Key").fill(world.key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("grid")).to_be_visible()
    assert page.url.endswith("#/nodes")


def test_who_is_signed_out_elsewhere_is_asked_again(world, watch):
    world.key, world.signed_in = "right-key-0123456789", True
    page = watch.go("nodes")
    expect(page.get_by_role("grid")).to_be_visible()
    world.signed_in = False
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator(".verdict")).to_have_text("A key is needed")


def test_a_reader_sees_why_he_may_not_ask_for_births(world, watch):
    world.key, world.signed_in, world.role = "right-key-0123456789", True, "reader"
    page = watch.go(f"node?{urlencode(HOSTILE_NODE)}")
    button = page.get_by_role("button", name="Ask for its births")
    expect(button).to_be_disabled()
    expect(page.locator(".births")).to_contain_text("This needs an operator's key.")
    assert world.acts == []


def test_a_consumer_that_is_gone_is_said_at_once_and_comes_back_by_itself(world, fake, watch):
    page = watch.go("overview")
    expect(page.locator(".verdict")).to_have_text("All rows flow")
    world.streaming = False
    fake.stop()
    banner = page.locator(".lost")
    expect(banner).to_contain_text("The consumer does not answer")
    expect(banner).to_contain_text("see whether it runs")
    expect(page.locator(".verdict")).to_have_text("Not known now")
    expect(page.locator("main")).to_have_class(re.compile("stale"))
    world.streaming = True
    with again(world, fake.port):
        expect(banner).to_have_count(0)
        expect(page.locator(".verdict")).to_have_text("All rows flow")
        world.streaming = False


def show(page, is_shown):
    """The tab is shown, or another one is: browsers that tests drive show all of them."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        not is_shown,
    )


def test_tabs_that_nobody_sees_leave_the_connections_to_those_that_are_seen(world, watch):
    page = watch.go("overview")
    expect(page.locator(".verdict")).to_have_text("All rows flow")
    others = []
    for _ in range(7):  # browsers keep six connections to a server
        show(page, is_shown=False)
        page = watch.context.new_page()
        others.append(page)
        page.goto(f"{watch.url}#/overview")
        expect(page.locator(".verdict")).to_have_text("All rows flow")
    wait_until(lambda: world.listening == 1)


def test_a_tab_that_is_shown_again_goes_on_as_if_nothing_had_been(world, watch):
    page = watch.page
    page.clock.install()
    watch.go("nodes")
    expect(page.locator("#nodes-list-0 a")).to_be_visible()
    wait_until(lambda: world.listening == 1)
    page.evaluate(
        """() => {
            window.lost = 0;
            const count = () => {
                window.lost += document.querySelectorAll(".lost, .stale").length;
            };
            new MutationObserver(count)
                .observe(document.body, { childList: true, subtree: true, attributes: true });
        }"""
    )
    show(page, is_shown=False)
    wait_until(lambda: world.listening == 0)
    page.clock.fast_forward(20_000)  # longer than a stream may be silent
    world.mode = "blocked"
    asked = len(world.requests)
    show(page, is_shown=True)
    wait_until(lambda: world.listening == 1)
    expect(page.locator(".verdict")).to_contain_text("Rows wait")
    wait_until(lambda: any("/api/nodes" in each for each in world.requests[asked:]))
    assert page.evaluate("window.lost") == 0


def test_a_tab_that_nobody_sees_says_in_its_title_how_all_is(world, watch):
    page = watch.page
    page.clock.install()
    watch.go("overview")
    expect(page).to_have_title(re.compile("All rows flow"))
    show(page, is_shown=False)
    world.mode = "blocked"
    page.clock.fast_forward(31_000)
    expect(page).to_have_title(re.compile("Rows wait"))
    assert page.locator(".lost").count() == 0


def test_a_tab_of_a_consumer_that_went_while_nobody_looked_says_so_when_it_is_shown(
    world, fake, watch
):
    page = watch.go("overview")
    expect(page.locator(".verdict")).to_have_text("All rows flow")
    show(page, is_shown=False)
    world.streaming = False
    fake.stop()
    show(page, is_shown=True)
    expect(page.locator(".lost")).to_contain_text("The consumer does not answer")


def test_a_chart_of_values_with_late_history_ends_with_the_newest(world, watch):
    world.late = True
    server, group, node = names_of_node(17)
    of = {"server": server, "group": group, "node": node}
    page = watch.go(f"tag?{urlencode(of | {'name': 'Line 1/Motor/Speed'})}")
    expect(page.locator(".chart [role=img]")).to_have_attribute(
        "aria-label", re.compile("now 119,")
    )
    expect(page.locator("tbody tr").first).to_contain_text("59")  # as they came


def test_a_stream_that_is_refused_says_why(world, watch):
    page = watch.go("overview")
    expect(page.locator(".verdict")).to_have_text("All rows flow")
    world.streaming = False
    expect(page.locator(".lost")).to_contain_text("as many listen as may")
    world.streaming = True
    expect(page.locator(".lost")).to_have_count(0)


def test_a_stream_that_says_nothing_counts_as_broken(world, watch):
    page = watch.go("overview")
    expect(page.locator(".verdict")).to_have_text("All rows flow")
    world.silent = True
    expect(page.locator(".lost")).to_contain_text("No update has come for some seconds")
    world.silent = False


PLACES = [
    "overview",
    "tags",
    "tags?search=hostile",
    "nodes?search=hostile",
    "letters",
    "gaps",
    "configuration?all=1",
    "letter?name=row-1",
    f"node?{urlencode(HOSTILE_NODE)}",
    *(f"tag?{urlencode(HOSTILE_NODE | {'name': name})}" for name in HOSTILE[:8]),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_names_and_values_are_text_everywhere(chromium, world, fake, width):
    world.mode = "worst"
    with watched(chromium, fake.url, width) as watch:
        for place in PLACES:
            page = watch.go(place)
            expect(page.locator("h1").first).to_be_attached()
            page.wait_for_timeout(500)
            assert "pwned" not in page.title().split("·")[-1]
            assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
            shown = page.evaluate("document.getElementById('app').innerText")
            hrefs = page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
            assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]", shown), place
            assert all(href.startswith(("#", "/")) for href in hrefs), place
            assert not is_too_wide(page), place
    world.streaming = False


def test_a_list_of_100000_asks_only_for_what_is_in_sight(world, watch):
    page = watch.go("tags")
    expect(page.locator(".found")).to_have_text("100,000 tags")
    assert page.locator(".tags-list .rows .row").count() < 60
    page.locator(".tags-list").evaluate("list => { list.scrollTop = 48 * 50000 }")
    expect(page.locator("#tags-list-50003 a")).to_be_visible()
    asked = {url.partition("offset=")[2] for url in world.requests if "/api/tags" in url}
    assert {"0", "50000"} <= asked
    assert len(asked) < 6


def test_a_list_remembers_in_its_address_where_one_was(watch):
    page = watch.go("tags")
    expect(page.locator(".found")).to_have_text("100,000 tags")
    page.locator(".tags-list").evaluate("list => { list.scrollTop = 48 * 50000 }")
    page.wait_for_url("**from=50000**")
    page.locator("#tags-list-50003 a").click()
    expect(page.get_by_role("heading", name="Last values")).to_be_visible()
    page.go_back()
    expect(page.locator("#tags-list-50003 a")).to_be_visible()
    page.go_forward()
    expect(page.get_by_role("heading", name="Last values")).to_be_visible()


def test_everything_can_be_done_by_keyboard(watch):
    page = watch.go("nodes")
    expect(page.locator("#nodes-list-0 a")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("edge-123")
    expect(page.locator(".found")).to_have_text("1 node")
    assert "search=edge-123" in page.url
    page.keyboard.press("Escape")
    expect(page.locator(".found")).to_have_text("500 nodes")
    page.keyboard.press("Escape")
    page.get_by_role("grid").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Its life")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("grid")).to_be_visible()


def test_the_tree_is_opened_by_arrow_keys_and_narrows_the_list(watch):
    page = watch.go("tags")
    expect(page.get_by_role("treeitem").first).to_be_visible()
    page.get_by_role("tree").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[aria-level='2']").first).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".found")).to_have_text("200 tags")
    expect(page.locator(".scope")).to_contain_text("Plant 1")


def test_births_are_asked_for_once_and_seen_to_come(world, watch):
    server, group, node = names_of_node(17)
    page = watch.go(f"node?{urlencode({'server': server, 'group': group, 'node': node})}")
    page.get_by_role("button", name="Ask for its births").click()
    expect(page.locator(".came")).to_contain_text("waiting for its birth")
    expect(page.locator(".came")).to_contain_text("Its birth came at")
    assert world.acts == [("rebirth", {"server": server, "group": group, "node": node})]


def test_a_letter_is_dropped_only_after_a_question(world, watch):
    page = watch.go("letter?name=row-3")
    page.get_by_role("button", name="Drop").click()
    page.keyboard.press("Escape")
    assert world.acts == []
    page.get_by_role("button", name="Drop").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop").click()
    expect(text(page, "1 letter dropped.")).to_be_visible()
    assert world.acts == [("letters/drop", {"names": ["row-3"]})]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_old_numbers_stay_readable_when_they_are_greyed(chromium, world, fake, scheme):
    with watched(chromium, fake.url, scheme=scheme) as watch:
        page = watch.go("overview")
        expect(page.locator(".card").first).to_be_visible()
        world.streaming = False
        expect(page.locator("main.stale")).to_be_visible()
        strong = page.locator(".figure strong").first
        assert strong.evaluate("e => getComputedStyle(e).opacity") == "1"
