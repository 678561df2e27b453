"""Timer: by a clock that the tests set, and once by the real one."""

from time import sleep

import pytest
from caffe.timer import Timer


@pytest.fixture
def clock(monkeypatch):
    """A list whose last item is the time in seconds."""
    times = [100.0]
    monkeypatch.setattr('caffe.timer.perf_counter', lambda: times[-1])
    return times


def test_a_new_timer_reads_0(clock):
    timer = Timer()
    assert timer.ms == timer.us == timer.seconds == 0
    timer.stop()
    assert timer.ms == 0


def test_the_units(clock):
    timer = Timer()
    timer.start()
    clock.append(102.5)
    timer.stop()
    clock.append(109)
    assert (timer.seconds, timer.ms, timer.us) == (2.5, 2500, 2500000)


def test_reading_stops_it(clock):
    timer = Timer()
    timer.start()
    clock.append(101)
    assert timer.ms == 1000
    clock.append(102)
    timer.stop()
    assert timer.ms == 1000


def test_a_second_start_does_nothing_while_it_runs(clock):
    timer = Timer()
    timer.start()
    clock.append(101)
    timer.start()
    clock.append(103)
    assert timer.seconds == 3


def test_a_start_after_a_stop_begins_anew(clock):
    timer = Timer()
    timer.start()
    clock.append(105)
    timer.stop()
    timer.start()
    clock.append(106)
    assert timer.seconds == 1


def test_the_real_clock():
    timer = Timer()
    timer.start()
    sleep(0.02)
    assert 0.02 <= timer.seconds < 10
