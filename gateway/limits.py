"""Every limit: its name, its default, and the precedent it follows.

Sizes are bytes, times are seconds.  ``fcgi-run`` offers each as an option (``--limit-params-size``) and as an
environment variable (``GATEWAY_LIMIT_PARAMS_SIZE``); library users pass ``Limits(params_size=…)``.
"""

from __future__ import annotations

LENGTH_DIGITS = 18
"""Digits a Content-Length may have.  No body is longer, and int() takes no more than some thousands of them."""


class Limits:
    """The limits of one server or client; each attribute can be overridden by keyword.

    >>> Limits(params_count=10, output_size=None)
    Limits(params_count=10, output_size=0)
    >>> Limits(parms_count=10)
    Traceback (most recent call last):
    ...
    TypeError: no limit is called 'parms_count'; there are: body_memory, body_buffer, …
    """

    # What a web server may send us.
    params_size = 256 * 1024
    """All names and values of one request.  nginx sends at most 4 × 8 KiB of headers, Apache 100 × 8190 in theory."""
    params_count = 1000
    """Params of one request.  Apache: LimitRequestFields 100; HAProxy: tune.http.maxhdr 101."""
    requests_per_connection = 100
    """Multiplexed requests at once on one connection, where the worker multiplexes at all."""
    body_memory = 64 * 1024
    """A request body is kept in memory up to here, then in a temporary file.  nginx: client_body_buffer_size 16k."""
    body_buffer = 16 * 1024 * 1024
    """A request body is read whole before the application starts up to here; beyond, the application streams it."""
    body_size = 0
    """Largest request body, 0 for no limit: the web server has its own (nginx client_max_body_size 1m)."""
    # What an application, script or upstream may send us.
    head_size = 64 * 1024
    """The response head of a script or an upstream.  nginx fastcgi_buffer_size 4k–8k, Apache 8190 a line."""
    output_size = 4 * 1024 * 1024 * 1024
    """The body of one CGI program's response, 0 for no limit: what never ends fills a disk.  Ours alone; git clones."""
    local_redirects = 10
    """Local redirects of one request (RFC 3875 §6.2.2).  Apache: LimitInternalRecursion 10, nginx likewise."""
    # Time.
    receive_timeout = 60.0
    """Between two reads of one request that has begun.  nginx: client_body_timeout 60s, fastcgi_send_timeout 60s."""
    send_timeout = 60.0
    """Between two writes of one response to a peer that takes nothing.  nginx: send_timeout 60s."""
    keepalive_timeout = 0.0
    """An idle kept connection is closed after this, 0 for never: it owns nothing but a descriptor."""
    linger_timeout = 5.0
    """After an answer to a request that was not read whole, until we close.  nginx: lingering_timeout 5s."""
    request_timeout = 0.0
    """One run of the application, 0 for no limit.  php-fpm: request_terminate_timeout 0; fcgi-run: --timeout."""
    queue_timeout = 5.0
    """A CGI program waits this long for one of max_children to end.  HAProxy: timeout queue, as timeout connect, 5s."""
    abort_timeout = 10.0
    """From the end of the web server's interest until an ASGI application that goes on is cancelled.  daphne:
    --application-close-timeout 10."""
    lifespan_timeout = 60.0
    """The startup of an ASGI application, and its shutdown, each.  hypercorn: startup_timeout, shutdown_timeout 60."""
    graceful_timeout = 30.0
    """From the request to stop until what still runs is abandoned.  gunicorn: --graceful-timeout 30."""
    # How many.
    connections = 10000
    """Connections one worker holds; more wait in the listen queue.  nginx: worker_connections 512."""
    max_children = 32
    """Children the fork worker or a CGI host runs at once, 0 for no limit.  php-fpm: pm.max_children; fcgiwrap: -c."""
    # What a recorder keeps.
    record_body = 64 * 1024
    """Of each body, of a request and of a response, as much as body_memory.  Ours alone."""
    record_requests = 10000
    """Requests of one process, 0 for no limit: what never ends fills a disk.  Ours alone."""
    # What each process of a CGI program may use of the system (setrlimit(2)), 0: as much as we may.  How many
    # processes there are is no such limit: the system counts a user's all together, and ours are among them.
    script_cpu = 600
    """Seconds of processor time.  mod_perl: PERL_RLIMIT_CPU 360; Apache: RLimitCPU, unset.  Ours lets git pack."""
    script_memory = 2 * 1024 * 1024 * 1024
    """Bytes that it can write to (RLIMIT_DATA).  CloudLinux: PMEM 1 GB, large accounts 2; Apache: RLimitMEM, unset."""
    script_files = 1024
    """Descriptors that it may have open.  systemd: DefaultLimitNOFILE 1024; select(2) knows no more."""

    def __init__(self, **overrides: float | None) -> None:
        for name, value in overrides.items():
            if name not in LIMITS:
                raise TypeError(f"no limit is called {name!r}; there are: {', '.join(LIMITS)}")
            if value is None:
                if name not in OPTIONAL:
                    raise ValueError(f"limit {name} cannot be None; there must be one")
                value = 0
            if value < 0:
                raise ValueError(f"limit {name} is {value!r}; it cannot be negative")
            setattr(self, name, type(LIMITS[name])(value))

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


LIMITS: dict[str, int | float] = {
    name: value for name, value in vars(Limits).items() if isinstance(value, (int, float)) and name[0] != "_"
}
"""Every limit's name and default, in the order above."""

OPTIONAL = (
    "body_size", "output_size", "keepalive_timeout", "request_timeout", "max_children", "record_requests",
    "script_cpu", "script_memory", "script_files",
)  # fmt: skip
"""Those that 0, or None, turns off."""
