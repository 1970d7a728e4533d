"""The exception tree: who is whose kind, and what each carries."""

from __future__ import annotations

import pytest

from gateway import errors
from gateway.errors import (
    ApplicationError,
    ConfigError,
    GatewayError,
    LimitExceeded,
    LoadError,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    RequestAborted,
    ScriptError,
)


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (ProtocolError, {GatewayError}),
        (LocalProtocolError, {GatewayError, ProtocolError}),
        (RemoteProtocolError, {GatewayError, ProtocolError}),
        (LimitExceeded, {GatewayError, ProtocolError, RemoteProtocolError}),
        (RequestAborted, {GatewayError, OSError}),
        (ApplicationError, {GatewayError}),
        (ScriptError, {GatewayError}),
        (ConfigError, {GatewayError}),
        (LoadError, {GatewayError, ConfigError}),
    ],
)
def test_an_error_is_of_a_kind(error: type, parents: set[type]) -> None:
    assert set(error.__mro__) - {error, Exception, BaseException, object} == parents


def test_everything_raised_on_purpose_is_a_gateway_error() -> None:
    raised = [value for value in vars(errors).values() if isinstance(value, type)]
    assert all(issubclass(error, GatewayError) for error in raised)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ProtocolError("x"), "400 Bad Request"),
        (RemoteProtocolError("x"), "400 Bad Request"),
        (LocalProtocolError("x"), "500 Internal Server Error"),
        (LimitExceeded("body_size", 5), "413 Content Too Large"),
        (ScriptError("x"), "502 Bad Gateway"),
        (RemoteProtocolError("x", status_hint="404 Not Found"), "404 Not Found"),
        (LimitExceeded("head_size", 5, status_hint="502 Bad Gateway"), "502 Bad Gateway"),
        (ScriptError("x", status_hint="504 Gateway Timeout"), "504 Gateway Timeout"),
    ],
)
def test_an_error_hints_at_a_status(error: ProtocolError | ScriptError, status: str) -> None:
    assert error.status_hint == status


def test_a_limit_is_named_with_its_size() -> None:
    error = LimitExceeded("params_count", 1000)
    assert (error.limit, error.size, str(error)) == ("params_count", 1000, "limit params_count=1000 exceeded")


def test_an_abort_is_caught_where_input_and_output_fail() -> None:
    with pytest.raises(OSError, match="the visitor left"):
        raise RequestAborted("the visitor left")


def test_a_failed_script_shows_its_last_words_and_its_end() -> None:
    error = ScriptError("it died", stderr=b"oops\n", returncode=-9)
    assert (str(error), error.stderr, error.returncode) == ("it died", b"oops\n", -9)


def test_a_script_that_still_runs_has_no_end() -> None:
    assert ScriptError("it hangs").returncode is None
