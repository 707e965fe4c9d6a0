"""The page over a real consumer that heard names meant to do harm: nobody else's page breaks."""

from urllib.parse import urlencode

import pytest
from page.browser import expect, watched
from support.columnar import message, tag
from support.http_side import http_side

from consumer.broker import InboxBatch
from sparkplug import MessageBatch

pytestmark = pytest.mark.page

PLANT = {"server": "plant", "group": "Plant", "node": "Edge"}
NAMES = [
    *("/", "//", "/Speed", "//a/b", "a/", "a//b", "Motor/x", "motor/y", "__proto__/constructor"),
    *("constructor", "__proto__", "x" * 4096, "<img src=x>/\u202e"),
]
LONG = "N" * 2000
NODES = ["__proto__", "constructor", LONG]


@pytest.fixture
def watch(tmp_path, chromium):
    tags = [tag(name, alias, float(alias)) for alias, name in enumerate(NAMES)]
    tags += [tag("/" * 4096, 98), tag("a/" * 2048, 99)]
    births = [message("NBIRTH", *tags)]
    births += [message("NBIRTH", tag("/x", 0), node=node) for node in NODES]
    births += [
        message("DBIRTH", tag("/x", 1), seq=1, node=node, device="constructor") for node in NODES
    ]
    with http_side(tmp_path) as client:
        client.consumer.decoding._take(InboxBatch({0: MessageBatch(births)}))
        with watched(chromium, str(client.http.base_url).rstrip("/") + "/") as page:
            yield page


@pytest.mark.parametrize("name", NAMES)
def test_the_address_of_a_tag_opens_it_and_the_way_to_it_in_the_tree(watch, name):
    page = watch.go(f"tag?{urlencode(PLANT | {'name': name})}")
    expect(page.get_by_role("heading", name="What is known")).to_be_visible()
    expect(page.locator(".leaf.picked")).to_have_count(1)


@pytest.mark.parametrize("name", ["/" * 4096, "a/" * 2048])
def test_a_tag_below_more_folders_than_there_can_be_is_opened_and_the_tree_ends(watch, name):
    page = watch.go(f"tag?{urlencode(PLANT | {'name': name})}")
    expect(page.get_by_role("heading", name="What is known")).to_be_visible()
    expect(page.locator(".leaf[aria-level='12']")).to_have_count(1)
    assert page.locator(".tree .rows").evaluate("rows => rows.clientHeight") < 100 * 32


@pytest.mark.parametrize("node", NODES)
def test_the_address_of_a_node_opens_it_and_leads_to_its_tags(watch, node):
    page = watch.go(f"node?{urlencode(PLANT | {'node': node})}")
    expect(page.get_by_role("heading", name="Its life")).to_be_visible()
    page.get_by_role("link", name="constructor", exact=True).last.click()
    expect(page.locator(".found")).to_have_text("1 tag")


def test_a_folder_lists_as_many_tags_as_are_counted_beside_it(watch):
    page = watch.go(f"tags?{urlencode(PLANT | {'device': '', 'folder': 'Motor'})}")
    expect(page.locator(".found")).to_have_text("1 tag")


@pytest.mark.parametrize("place", ["constructor", "__proto__", "toString?node=x", "?__proto__=1"])
def test_an_address_that_names_no_place_is_that_of_the_overview(watch, place):
    page = watch.go(place)
    expect(page.locator(".cards")).to_be_visible()
    assert page.title().startswith("Overview \u00b7 ")
