"""``gateway.Client`` calls Tomcat 10 by AJP: the examples that come with it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from webtest import TestApp

from gateway.client import Client
from tests.peers.frontends.calls import call
from tests.peers.frontends.processes import running, unused_port
from tests.requirements import require
from tests.wsgi_calls import Call, ask

HOME = "/usr/share/tomcat10"
EXAMPLES = "/usr/share/tomcat10-examples/examples"
SERVER_XML = """\
<Server port="-1">
  <Service name="Catalina">
    <Connector protocol="AJP/1.3" address="127.0.0.1" port="{port}" secret="open sesame" maxThreads="4"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="none" autoDeploy="false">
        <Context path="/examples" docBase="{examples}">
          <JarScanner scanClassPath="false"/>
        </Context>
      </Host>
    </Engine>
  </Service>
</Server>
"""
WEB_XML = """\
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
  <servlet>
    <servlet-name>files</servlet-name>
    <servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class>
  </servlet>
  <servlet-mapping>
    <servlet-name>files</servlet-name>
    <url-pattern>/</url-pattern>
  </servlet-mapping>
  <mime-mapping>
    <extension>html</extension>
    <mime-type>text/html</mime-type>
  </mime-mapping>
</web-app>
"""
SERVLETS = "/examples/servlets/servlet"
BYTE_COUNTER = "/examples/servlets/nonblocking/bytecounter"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Tomcat, in a folder and on a port of its own."""
    java = require("java", package="tomcat10-examples")
    require(EXAMPLES, package="tomcat10-examples")
    base, port = tmp_path_factory.mktemp("tomcat"), unused_port()
    for folder in ("conf", "temp"):
        (base / folder).mkdir()
    (base / "conf" / "server.xml").write_text(SERVER_XML.format(port=port, examples=EXAMPLES), "utf-8")
    (base / "conf" / "web.xml").write_text(WEB_XML, "utf-8")
    command = [java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    command += ["-cp", f"{HOME}/bin/bootstrap.jar:{HOME}/bin/tomcat-juli.jar", f"-Djava.io.tmpdir={base}/temp"]
    command += [f"-Dcatalina.home={HOME}", f"-Dcatalina.base={base}", "org.apache.catalina.startup.Bootstrap", "start"]
    with running(command, directory=base, name="tomcat", listens=[("127.0.0.1", port)]):
        yield f"ajp://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def tomcat(url: str) -> Iterator[Client]:
    with Client(url, timeout=20, wire_options={"secret": "open sesame"}) as client:
        yield client


def test_tomcat_answers_a_ping(tomcat: Client) -> None:
    assert tomcat.ping() == {}


def test_a_servlet_is_told_the_request(tomcat: Client) -> None:
    page = ask(tomcat, f"{SERVLETS}/RequestInfoExample/a b", REMOTE_ADDR="192.0.2.7").body.decode()
    told = dict(re.findall(r"<td.*?>\s*(.*?):\s*</td>\s*<td.*?>\s*(.*?)\s*</td>", page, re.DOTALL))
    assert (told["Method"], told["Path Info"], told["Remote Address"]) == ("GET", "/a b", "192.0.2.7")
    assert told["Request URI"] == f"{SERVLETS}/RequestInfoExample/a%20b"


def test_a_servlet_keeps_a_session(tomcat: Client) -> None:
    visitor, stranger = TestApp(tomcat), TestApp(tomcat)
    visitor.get(f"{SERVLETS}/SessionExample?dataname=color&datavalue=blue")
    assert "color = blue" in visitor.get(f"{SERVLETS}/SessionExample")
    assert "color = blue" not in stranger.get(f"{SERVLETS}/SessionExample")


def test_a_form_of_a_megabyte_comes_back(tomcat: Client) -> None:
    word = os.urandom(MIB // 2).hex()
    page = TestApp(tomcat).post(f"{SERVLETS}/RequestParamExample", {"firstname": word, "lastname": ""})
    assert word in page


@pytest.mark.parametrize("size", [0, 1, 8184, 8185, 8186, 8187, 5 * MIB])
def test_a_body_arrives_whole(tomcat: Client, size: int) -> None:
    answer = ask(tomcat, BYTE_COUNTER, body=os.urandom(size), REQUEST_METHOD="POST")
    assert answer.body == f"Total bytes written = [{size}]".encode()


def test_a_body_of_unknown_length_arrives_whole(tomcat: Client) -> None:
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    answer = ask(tomcat, BYTE_COUNTER, body=os.urandom(MIB), REQUEST_METHOD="POST", **chunked)
    assert answer.body == f"Total bytes written = [{MIB}]".encode()


def test_a_head_request_has_the_length_and_no_body(tomcat: Client) -> None:
    get, head = (ask(tomcat, "/examples/index.html", REQUEST_METHOD=method) for method in ("GET", "HEAD"))
    assert (head.headers["Content-Length"], head.body) == (str(len(get.body)), b"")


def test_a_page_that_is_not_there_is_tomcats_404(tomcat: Client) -> None:
    answer = ask(tomcat, "/examples/none")
    assert (answer.status, b"Apache Tomcat" in answer.body) == ("404 Not Found", True)


def test_one_connection_serves_one_visitor_after_the_other(tomcat: Client) -> None:
    with Client(str(tomcat.address), wire_options={"secret": "open sesame"}) as client:
        for _ in range(3):
            ask(client, "/examples/index.html")
            ask(client, BYTE_COUNTER, body=b"a body", REQUEST_METHOD="POST")
        assert repr(client).endswith("idle=1/8>")


def test_a_visitor_who_leaves_early_does_no_harm(tomcat: Client) -> None:
    call = Call(tomcat, "/examples/servlets/nonblocking/numberwriter")
    assert next(call.blocks)
    call.close()
    assert ask(tomcat, "/examples/index.html").status == "200 OK"


@pytest.mark.parametrize("secret", ["open barley", ""])
def test_tomcat_refuses_who_does_not_know_its_secret(url: str, secret: str) -> None:
    with Client(url, wire_options={"secret": secret}) as stranger:
        assert ask(stranger, "/examples/index.html").status == "403 Forbidden"


def test_headers_too_long_for_a_packet_are_a_431(tomcat: Client) -> None:
    assert ask(tomcat, "/examples/index.html", HTTP_COOKIE="c" * 9000).status[:3] == "431"


def test_a_call_shows_what_moves(url: str) -> None:
    called = call("--secret", "open sesame", "-d", "a body", url, BYTE_COUNTER)
    assert (called.status, called.body) == (0, b"Total bytes written = [6]")
    assert called.sent[0].startswith("Forward Request  ")
    assert {"  method = POST", f"  req_uri = {BYTE_COUNTER}", "  secret = open sesame"} <= {*called.sent}
    assert "body  8 bytes" in called.sent
    assert {"  200 200", "End Response  keep the connection"} <= {*called.received}
    assert called.said[-1].startswith("* 200, 25 bytes in ")
