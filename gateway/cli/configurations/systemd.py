"""systemd: a socket that is there from the start, and ``fcgi-run`` behind it, which may do little else than answer."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

from gateway.cli.configurations import Configuration, Site

SOCKET = """
     |  | # /etc/systemd/system/@name@.socket: systemctl enable --now @name@.socket
     |  | [Unit]
     |  | Description=Socket of @name@
     |  |
     |  | [Socket]
     |  | ListenStream=@place@
unix |  | SocketMode=0660
unix |  | SocketGroup=www-data
     |  |
     |  | [Install]
     |  | WantedBy=sockets.target
"""
SERVICE = """
 |  | # /etc/systemd/system/@name@.service: systemctl enable --now @name@.service
 |  | [Unit]
 |  | Description=@name@
 |  | Requires=@name@.socket
 |  | After=network.target
 |  |
 |  | [Service]
 |  | Type=notify
 |  | ExecStart=@start@
 |  | ExecReload=/bin/kill -HUP $MAINPID
 |  | WorkingDirectory=@folder@
 |  | KillMode=mixed
 |  | TimeoutStopSec=40
 |  | Restart=on-failure
 |  | DynamicUser=yes
 |  | StateDirectory=@name@
 |  | UMask=0077
 |  | NoNewPrivileges=yes
 |  | CapabilityBoundingSet=
 |  | PrivateDevices=yes
 |  | PrivateTmp=yes
 |  | ProtectSystem=strict
 |  | ProtectHome=read-only
 |  | ProtectClock=yes
 |  | ProtectControlGroups=yes
 |  | ProtectHostname=yes
 |  | ProtectKernelLogs=yes
 |  | ProtectKernelModules=yes
 |  | ProtectKernelTunables=yes
 |  | ProtectProc=invisible
 |  | RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
 |  | RestrictNamespaces=yes
 |  | RestrictRealtime=yes
 |  | RestrictSUIDSGID=yes
 |  | LockPersonality=yes
 |  | SystemCallArchitectures=native
 |  | SystemCallFilter=@at@system-service
 |  | SystemCallErrorNumber=EPERM
 |  |
 |  | [Install]
 |  | WantedBy=multi-user.target
"""


def values(site: Site) -> dict[str, object]:
    """The command, as this Python has it, and where it is run: here."""
    beside = os.path.join(os.path.dirname(sys.executable), "fcgi-run")
    words = [beside if os.path.exists(beside) else shutil.which("fcgi-run") or beside, site.target]
    words += ["--protocol", site.wire] if site.wire != "fastcgi" else []
    words += ["--mount", site.mount] if site.mount else []
    address = site.address
    place = site.path or (str(address.port) if address.host == "0.0.0.0" else str(address).rpartition("//")[2])
    return {"start": shlex.join(words), "folder": os.getcwd(), "place": place, "at": "@"}


configuration = Configuration(
    "systemd", {"@name@.socket": SOCKET, "@name@.service": SERVICE}, values=values,
    wires=["fastcgi", "scgi", "uwsgi", "ajp", "http", "auto"], check=["systemd-analyze", "verify"],
)  # fmt: skip
