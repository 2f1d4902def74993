"""Who is next, on a simulated clock."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_worker.engine.scheduler import (
    LONGEST_DELAY_SECONDS,
    LONGEST_TENANT_DELAY_SECONDS,
    Priority,
    Scheduler,
    Waiting,
)

ARRIVALS = st.lists(
    st.tuples(
        st.floats(0, 100, allow_nan=False),
        st.sampled_from(list(Priority)),
        st.sampled_from(["a", "b", "c", ""]),
        st.integers(1, 8_000),
    ),
    min_size=1,
    max_size=60,
)


def entry(name: object, at: float = 0.0, cost: int = 100, tenant: str = "", priority=Priority.NORMAL):
    return Waiting(name, tenant, priority, at, cost)


def drain(scheduler: Scheduler, charge: bool = True) -> list:
    order = []
    while (best := scheduler.best()) is not None:
        scheduler.remove(best.work)
        if charge:
            scheduler.charge(best.tenant, best.cost)
        order.append(best)
    return order


@given(ARRIVALS, st.floats(0.001, 3))
@settings(max_examples=200, deadline=None)
def test_nobody_starves_whatever_keeps_arriving(arrivals, seconds_each):
    """One place, served in turn on a simulated clock, while cheaper and more urgent work keeps coming."""
    scheduler: Scheduler = Scheduler()
    left = sorted(arrivals, key=lambda arrival: arrival[0])
    now, served = 0.0, []
    number = 0
    while left or len(scheduler):
        while left and left[0][0] <= now:
            at, priority, tenant, cost = left.pop(0)
            scheduler.add(entry(number, at, cost, tenant, priority))
            number += 1
        best = scheduler.best()
        if best is None:
            now = left[0][0]
            continue
        scheduler.remove(best.work)
        scheduler.charge(best.tenant, best.cost)
        served.append(best)
        now += seconds_each
    assert len(served) == len(arrivals)
    for position, later in enumerate(served):
        for earlier in served[position + 1 :]:
            assert later.arrived_at <= earlier.arrived_at + LONGEST_DELAY_SECONDS


@given(ARRIVALS)
def test_work_leaves_once_and_only_when_it_is_taken(arrivals):
    scheduler: Scheduler = Scheduler()
    for number, (at, priority, tenant, cost) in enumerate(arrivals):
        scheduler.add(entry(number, at, cost, tenant, priority))
    assert sorted(found.work for found in drain(scheduler)) == list(range(len(arrivals)))
    assert len(scheduler) == 0
    assert scheduler._used == {}


def test_the_shortest_goes_first_among_those_that_came_together():
    scheduler: Scheduler = Scheduler()
    for cost in (400, 20, 200):
        scheduler.add(entry(cost, cost=cost))
    assert [found.work for found in drain(scheduler, charge=False)] == [20, 200, 400]


def test_the_first_goes_first_when_length_does_not_count():
    scheduler: Scheduler = Scheduler(shortest_first=False)
    for at, cost in enumerate((400, 20, 200)):
        scheduler.add(entry(cost, at=at, cost=cost))
    assert [found.work for found in drain(scheduler, charge=False)] == [400, 20, 200]


def test_more_urgent_classes_go_first_and_less_urgent_ones_age():
    scheduler: Scheduler = Scheduler()
    for priority in reversed(Priority):
        scheduler.add(entry(priority, at=0, priority=priority))
    scheduler.add(entry("later", at=40, priority=Priority.INTERACTIVE))
    assert [found.work for found in drain(scheduler, charge=False)] == [*Priority, "later"]


def test_a_tenant_with_few_requests_does_not_wait_behind_one_with_many():
    scheduler: Scheduler = Scheduler()
    for number in range(50):
        scheduler.add(entry(("many", number), at=0, tenant="many", cost=200))
    for number in range(5):
        scheduler.add(entry(("few", number), at=1, tenant="few", cost=200))
    first = [found.tenant for found in drain(scheduler)[:12]]
    assert first.count("few") == 5


@given(st.integers(2, 5), st.integers(4, 12))
def test_tenants_that_ask_alike_are_served_alike(tenants, each):
    scheduler: Scheduler = Scheduler()
    for tenant in range(tenants):
        for number in range(each):
            scheduler.add(entry((tenant, number), tenant=str(tenant), cost=100))
    order = [found.tenant for found in drain(scheduler)]
    for length in range(1, len(order)):
        counts = [order[:length].count(str(tenant)) for tenant in range(tenants)]
        assert max(counts) - min(counts) <= 1


def test_a_tenant_that_was_away_has_saved_nothing():
    scheduler: Scheduler = Scheduler()
    scheduler.add(entry("x", tenant="steady"))
    scheduler.charge("steady", 10**9)
    scheduler.add(entry("y", tenant="back"))
    assert scheduler.score(entry("y", tenant="back")) == scheduler.score(entry("x", tenant="steady"))
    scheduler.charge("steady", 10**9)
    lag = scheduler.score(entry("x", tenant="steady")) - scheduler.score(entry("y", tenant="back"))
    assert lag == LONGEST_TENANT_DELAY_SECONDS
