"""Layouts: nothing overlaps, edges lead downwards and around everything that is not theirs."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz.architecture.layered import Piece, Spacing, place_flat
from hpoviz.architecture.layout import layered_layout
from hpoviz.architecture.svg import route_path

SIZE = (60.0, 30.0)
DIAMOND = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]


def apart(one, other):
    return (
        one.right <= other.left + 1e-6
        or other.right <= one.left + 1e-6
        or one.bottom <= other.top + 1e-6
        or other.bottom <= one.top + 1e-6
    )


def inside(inner, outer):
    return (
        outer.left <= inner.left
        and inner.right <= outer.right
        and outer.top <= inner.top
        and inner.bottom <= outer.bottom
    )


def curve(points, steps=12):
    """Return points along a route as it is drawn."""
    along = []
    for command, ends in route_path(points):
        if command == "C":
            start = along[-1]
            for step in range(1, steps + 1):
                t = step / steps
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
                corners = (start, *ends)
                along.append(tuple(sum(w * c[axis] for w, c in zip(weights, corners, strict=True)) for axis in (0, 1)))
        else:
            along.append(ends[0])
    return along


def test_a_chain_is_straight():
    layout = layered_layout({"a": SIZE, "b": (20, 50), "c": SIZE}, [("a", "b"), ("b", "c")])
    assert len({box.x for box in layout.boxes.values()}) == 1
    assert [len(route) for route in layout.routes] == [2, 2]
    assert layout.routes[0][0] == (30.0, layout.boxes["a"].bottom)
    assert layout.routes[0][-1] == (30.0, layout.boxes["b"].top)


def test_a_diamond_is_symmetrical():
    layout = layered_layout(dict.fromkeys("abcd", SIZE), DIAMOND)
    boxes = layout.boxes
    assert boxes["b"].y == boxes["c"].y
    assert boxes["a"].x == boxes["d"].x == (boxes["b"].x + boxes["c"].x) / 2


def test_parallel_edges_are_two_lines():
    layout = layered_layout({"a": SIZE, "b": SIZE}, [("a", "b"), ("a", "b")])
    first, second = layout.routes
    assert first != second
    assert first[-1][0] != second[-1][0]


def test_labels_have_room_of_their_own():
    labels = [(50.0, 12.0)] * 4
    layout = layered_layout(dict.fromkeys("abcd", SIZE), DIAMOND, labels=labels)
    (x0, y0), (x1, y1), *_ = layout.labels
    assert y0 == y1
    assert abs(x0 - x1) >= 50
    assert all(layout.boxes["a"].bottom < y - 6 for _, y in layout.labels[:2])
    assert all(y + 6 < layout.boxes["b"].top for _, y in layout.labels[:2])


def test_a_skip_goes_around():
    names = "abcde"
    chain = list(itertools.pairwise(names))
    layout = layered_layout(dict.fromkeys(names, SIZE), [*chain, ("a", "e")])
    for x, y in curve(layout.routes[-1])[1:-1]:
        for name in "bcd":
            box = layout.boxes[name]
            assert not (box.left < x < box.right and box.top < y < box.bottom)


def test_right_is_down_turned():
    sizes = {"a": (60.0, 30.0), "b": (40.0, 20.0)}
    layout = layered_layout(sizes, [("a", "b")], direction="right")
    assert layout.boxes["a"].right < layout.boxes["b"].left
    assert (layout.boxes["a"].width, layout.boxes["a"].height) == sizes["a"]
    assert layout.routes[0][0] == (layout.boxes["a"].right, layout.boxes["a"].y)


def test_a_container_is_around_what_is_inside():
    sizes = {"x": SIZE, "box": (0, 0), "box/a": SIZE, "box/b": SIZE, "y": SIZE}
    parents = {"box/a": "box", "box/b": "box"}
    layout = layered_layout(sizes, [("x", "box/a"), ("box/a", "box/b"), ("box/b", "y")], parents=parents)
    assert inside(layout.boxes["box/a"], layout.boxes["box"])
    assert inside(layout.boxes["box/b"], layout.boxes["box"])
    assert apart(layout.boxes["x"], layout.boxes["box"])
    entering = layout.routes[0]
    assert entering[0][1] == layout.boxes["x"].bottom
    assert entering[-1] == (layout.boxes["box/a"].x, layout.boxes["box/a"].top)
    assert all(later[1] >= earlier[1] for earlier, later in itertools.pairwise(entering))


def test_an_edge_crosses_the_borders_of_several_containers():
    sizes = {"a": SIZE, "p": (0, 0), "p/q": (0, 0), "p/q/b": SIZE, "r": (0, 0), "r/c": SIZE}
    parents = {"p/q": "p", "p/q/b": "p/q", "r/c": "r"}
    layout = layered_layout(sizes, [("a", "p/q/b"), ("p/q/b", "r/c")], parents=parents)
    route = layout.routes[1]
    assert route[0][1] == pytest.approx(layout.boxes["p/q/b"].bottom)
    assert route[-1][1] == pytest.approx(layout.boxes["r/c"].top)
    assert inside(layout.boxes["p/q"], layout.boxes["p"])


def test_nothing_is_nothing():
    layout = layered_layout({}, [])
    assert (layout.width, layout.height, layout.routes) == (0.0, 0.0, ())


def test_one_node():
    layout = layered_layout({"a": SIZE}, [])
    assert (layout.width, layout.height) == SIZE


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="cycle"):
        place_flat([SIZE, SIZE], [Piece(source=0, target=1), Piece(source=1, target=0)])


def test_crossings_are_removed():
    # two chains whose ends are given in the wrong order
    edges = [("a", "c"), ("b", "d"), ("c", "f"), ("d", "e")]
    layout = layered_layout(dict.fromkeys("abcdef", SIZE), edges)
    order = lambda names: sorted(names, key=lambda name: layout.boxes[name].x)  # noqa: E731
    assert (order("ab") == ["a", "b"]) == (order("cd") == ["c", "d"]) == (order("ef") == ["f", "e"])


@st.composite
def graphs(draw):
    """Random graphs, some of whose nodes are in containers, containers in containers."""
    count = draw(st.integers(1, 14))
    containers = ["", *(f"k{number}" for number in range(draw(st.integers(0, 3))))]
    home = [draw(st.sampled_from(containers)) for _ in range(count)]
    home.sort()  # what is in one container comes together, as in a model
    names = [f"n{number}" for number in range(count)]
    parents = {name: place for name, place in zip(names, home, strict=True) if place}
    if "k0" in parents.values() and "k1" in parents.values() and draw(st.booleans()):
        parents["k1"] = "k0"
    sizes = {name: (draw(st.integers(10, 90)), draw(st.integers(10, 40))) for name in names}
    sizes |= dict.fromkeys(set(parents.values()), (0, 0))
    edges = [
        (names[draw(st.integers(0, target - 1))], names[target])
        for target in range(1, count)
        for _ in range(draw(st.integers(0, 3)))
    ]
    labels = [draw(st.sampled_from([None, (40.0, 12.0)])) for _ in edges]
    return sizes, edges, labels, parents


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graphs(), st.sampled_from(["down", "right"]))
def test_nothing_overlaps(graph, direction):
    sizes, edges, labels, parents = graph
    layout = layered_layout(sizes, edges, labels=labels, parents=parents, direction=direction)
    around = {}
    for name in sizes:
        place, around[name] = parents.get(name), set()
        while place:
            around[name].add(place)
            place = parents.get(place)
    for one, other in itertools.combinations(sizes, 2):
        if one in around[other]:
            assert inside(layout.boxes[other], layout.boxes[one])
        elif other in around[one]:
            assert inside(layout.boxes[one], layout.boxes[other])
        else:
            assert apart(layout.boxes[one], layout.boxes[other])
    for box in layout.boxes.values():
        assert box.left >= -1e-6
        assert box.top >= -1e-6
        assert box.right <= layout.width + 1e-6
        assert box.bottom <= layout.height + 1e-6
    axis = 1 if direction == "down" else 0
    for (source, target), route in zip(edges, layout.routes, strict=True):
        start, end = (layout.boxes[source].bottom, layout.boxes[target].top)
        if axis == 0:
            start, end = (layout.boxes[source].right, layout.boxes[target].left)
        assert route[0][axis] == pytest.approx(start)
        assert route[-1][axis] == pytest.approx(end)
        assert all(later[axis] >= earlier[axis] - 1e-6 for earlier, later in itertools.pairwise(route))
    assert layout == layered_layout(sizes, edges, labels=labels, parents=parents, direction=direction)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.integers(2, 12).flatmap(
        lambda count: st.lists(
            st.tuples(st.integers(0, count - 2), st.integers(1, count - 1)).filter(lambda edge: edge[0] < edge[1]),
            max_size=20,
        ).map(lambda edges: (count, edges))
    )
)
def test_lines_go_around_boxes(graph):
    count, edges = graph
    sizes = {str(number): (40.0 + 7 * number, 30.0) for number in range(count)}
    layout = layered_layout(sizes, [(str(a), str(b)) for a, b in edges])
    for (source, target), route in zip(edges, layout.routes, strict=True):
        for x, y in curve(route):
            for name, box in layout.boxes.items():
                if int(name) not in (source, target):
                    assert not (box.left + 1e-6 < x < box.right - 1e-6 and box.top + 1e-6 < y < box.bottom - 1e-6)


def test_distances_are_settings():
    edges = [("a", "b")]
    near, far = (
        layered_layout({"a": SIZE, "b": SIZE}, edges, spacing=Spacing(between=between)) for between in (5.0, 50.0)
    )
    assert far.height - near.height == pytest.approx(90.0)
