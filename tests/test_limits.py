"""Every limit has a name and a default, and can be set by that name."""

from __future__ import annotations

import pytest

from gateway.limits import LIMITS, OPTIONAL, Limits


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_has_a_default_that_can_be_overridden(name: str) -> None:
    assert getattr(Limits(), name) == LIMITS[name]
    assert getattr(Limits(**{name: 7}), name) == 7


@pytest.mark.parametrize(("name", "kind"), [("params_count", int), ("send_timeout", float)])
def test_a_limit_keeps_its_kind_of_number(name: str, kind: type) -> None:
    assert type(getattr(Limits(**{name: 7.0}), name)) is kind


def test_a_limit_of_one_server_is_none_of_another() -> None:
    Limits(params_count=1)
    assert Limits().params_count == 1000


def test_an_unknown_limit_is_refused_with_those_there_are() -> None:
    with pytest.raises(TypeError, match="no limit is called 'parms_count'; there are: params_size, params_count, "):
        Limits(parms_count=1)


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="limit send_timeout is -1; it cannot be negative"):
        Limits(send_timeout=-1)


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_limit_that_need_not_be_is_turned_off_by_none(name: str) -> None:
    assert getattr(Limits(**{name: None}), name) == 0


def test_a_limit_that_must_be_cannot_be_none() -> None:
    with pytest.raises(ValueError, match="limit head_size cannot be None; there must be one"):
        Limits(head_size=None)


def test_the_repr_shows_what_was_overridden() -> None:
    assert repr(Limits()) == "Limits()"
    assert repr(Limits(params_count=5, send_timeout=2)) == "Limits(params_count=5, send_timeout=2.0)"


def test_every_limit_is_listed() -> None:
    assert set(LIMITS) == {name for name in vars(Limits) if name[0] != "_"}
