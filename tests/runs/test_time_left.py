import pytest

from slifmr_pl.runs.time_left import Countdown, clock


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "0:00"),
        (59.6, "1:00"),
        (3599, "59:59"),
        (3723, "1:02:03"),
        (90_061, "1 d 1:01:01"),
        (-3, "0:00"),
    ],
)
def test_durations_are_shown_as_on_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_time_left_is_the_mean_of_what_took_time() -> None:
    time = 0.0
    countdown = Countdown(6, lambda: time, done=1)
    time = 0.01  # was done before
    assert countdown.done() == "2/6"
    time = 10.01
    assert countdown.done() == "3/6, 0:30 left"
    time = 30.01
    assert countdown.done() == "4/6, 0:30 left"
    time = 31.0
    countdown.done()
    assert countdown.done() == "6/6"
