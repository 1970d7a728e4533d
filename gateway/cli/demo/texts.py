"""What the page of ``gateway demo`` says, in English and Korean: one table, and the choice between its columns."""

from __future__ import annotations

from gateway.measure import phases

LANGUAGES = {"en": "English", "ko": "한국어"}
"""What is spoken, by the names that browsers use (BCP 47), in the order of the table's columns."""

_TABLE = {
    "title": ("One application, four ways to run it", "애플리케이션 하나, 실행 방식 넷"),
    "lead": (
        "The same few lines of Python answer in every lane. What differs is who runs them: send requests, and watch "
        "the processes come and go.",
        "네 레인 모두 같은 파이썬 몇 줄이 응답합니다. 다른 것은 그 코드를 실행하는 방식뿐입니다. 요청을 보내고 "
        "프로세스가 생겼다 사라지는 모습을 지켜보세요.",
    ),
    "language": ("Language", "언어"),
    "controls": ("Send requests", "요청 보내기"),
    "ask_all": ("Ask every lane once", "모든 레인에 1개씩"),
    "send_all": ("Send 50 to every lane", "모든 레인에 50개씩"),
    "ask": ("Ask once", "1개 보내기"),
    "send": ("Send 50", "50개 보내기"),
    "to": ("to {lane}", "{lane}에"),
    "at_once": ("All at once, the application waiting 20 ms", "한꺼번에, 애플리케이션은 20 ms 대기"),
    "own_scale": ("Zoom: each lane to its own scale", "확대: 레인마다 자기 눈금으로"),
    "legend": ("What one request consists of", "요청 하나를 이루는 단계"),
    "meanings": ("From when to when each phase is measured", "각 단계를 재는 시작과 끝"),
    # -- the lanes
    "cgi_name": ("CGI", "CGI"),
    "cgi_what": ("a program started for every request", "요청마다 프로그램을 새로 시작"),
    "cgi_about": (
        "The web server starts a Python interpreter, tells it about the request in environment variables, and takes "
        "its output for the answer. Then the process ends. Nothing of an earlier request can be in its way; what you "
        "wait for is the start of the interpreter.",
        "웹 서버가 파이썬 인터프리터를 시작하고, 요청을 환경 변수로 알려 주고, 출력을 응답으로 받습니다. 그러고 나면 "
        "프로세스는 끝납니다. 이전 요청의 흔적이 방해할 일은 없지만, 매번 인터프리터가 시작되기를 기다려야 합니다.",
    ),
    "fork_name": ("Fork", "포크"),
    "fork_what": ("a warm process, copied for every request", "준비된 프로세스를 요청마다 복제"),
    "fork_about": (
        "A process loads the application once and then never runs it. For each request, which comes over a FastCGI "
        "socket, it forks: the copy has everything in memory, answers and ends. Every request still meets a clean "
        "state, without the start of an interpreter.",
        "한 프로세스가 애플리케이션을 한 번 불러 두고 직접 실행하지는 않습니다. FastCGI 소켓으로 요청이 올 때마다 "
        "포크하면, 모든 것을 메모리에 갖춘 복제본이 응답하고 끝납니다. 인터프리터를 새로 시작하지 않고도 요청마다 "
        "깨끗한 상태를 만납니다.",
    ),
    "fastcgi_name": ("FastCGI", "FastCGI"),
    "fastcgi_what": ("one process that stays", "계속 살아 있는 프로세스 하나"),
    "fastcgi_about": (
        "A worker loads the application and keeps it. One request after the other reaches the same process over the "
        "same FastCGI connection. Nothing is faster as long as nothing waits; but what one request leaves in memory "
        "the next one finds, as the growing count shows.",
        "워커가 애플리케이션을 불러와 계속 들고 있습니다. 요청은 같은 FastCGI 연결로 같은 프로세스에 차례차례 "
        "도착합니다. 기다릴 일이 없는 한 이보다 빠른 방식은 없지만, 한 요청이 메모리에 남긴 것을 다음 요청이 보게 "
        "됩니다. 계속 늘어나는 횟수가 그 증거입니다.",
    ),
    "aio_name": ("asyncio", "asyncio"),
    "aio_what": ("one process, an event loop", "이벤트 루프를 도는 프로세스 하나"),
    "aio_about": (
        "A worker that stays, too, but with an event loop: while one request waits, for a database or for a slow "
        "visitor, the same process answers others, as 50 at once show. The application has to be written for that: "
        "ASGI. This page comes to you over such a worker.",
        "역시 계속 살아 있는 워커지만 이벤트 루프가 돕니다. 한 요청이 데이터베이스나 느린 방문자를 기다리는 동안 "
        "같은 프로세스가 다른 요청에 응답합니다. 50개를 한꺼번에 보내 보면 드러납니다. 애플리케이션도 그에 맞게, "
        "ASGI로 작성해야 합니다. 이 페이지도 그런 워커를 거쳐 옵니다.",
    ),
    # -- their numbers
    "pid": ("process", "프로세스"),
    "served": ("requests it has served", "이 프로세스가 처리한 요청"),
    "took": ("to the last byte", "마지막 바이트까지"),
    "median": ("median of the last 50", "최근 50개의 중앙값"),
    "asked": ("requests in all", "전체 요청"),
    "processes": ("processes now", "지금 있는 프로세스"),
    "memory": ("memory (PSS)", "메모리(PSS)"),
    "latest": (
        "Process, # which of its requests, phases, time to the last byte",
        "프로세스, # 몇 번째 요청인지, 단계, 마지막 바이트까지의 시간",
    ),
    "strip": ("The last 50, a colour for each process", "최근 50개, 색은 프로세스"),
    "nothing_yet": ("Nothing was asked yet.", "아직 보낸 요청이 없습니다."),
    "row": (
        "process {pid}, its request {served}, {took} ms: {phases}",
        "프로세스 {pid}, {served}번째 요청, {took} ms: {phases}",
    ),
    "failed": ("{status}: the terminal says why", "{status}: 이유는 터미널에 나와 있습니다"),
    "summary": (
        "{lane}: answers {answers}, processes {processes}, median {median} ms.",
        "{lane}: 응답 {answers}개, 프로세스 {processes}개, 중앙값 {median} ms.",
    ),
    # -- what is one click away
    "environ": ("The environ of the last request", "마지막 요청의 environ"),
    "environ_about": (
        "What the application was called with, CGI variables first (PEP 3333).",
        "애플리케이션이 받은 그대로, CGI 변수부터 보여 줍니다(PEP 3333).",
    ),
    "inherited": (
        "Besides, it has inherited from the web server: {names}.",
        "그 밖에 웹 서버에게서 물려받은 변수: {names}.",
    ),
    "records": ("What moved on the wire", "주고받은 레코드"),
    "records_about": (
        "What the web server (>) and the worker (<) said for the last request, decoded.",
        "마지막 요청에서 웹 서버(>)와 워커(<)가 주고받은 것을 해독했습니다.",
    ),
    "no_wire": (
        "CGI has no wire: the request is the environment above and stdin, the answer is stdout (RFC 3875).",
        "CGI에는 오가는 레코드가 없습니다. 요청은 위의 환경 변수와 표준 입력이고, 응답은 표준 출력입니다(RFC 3875).",
    ),
    "code": ("The application", "애플리케이션 코드"),
    "code_about": (
        "This answers in the lanes. On a server of yours, fcgi-run application:application serves it to a web "
        "server, and cgi-run application:application is the CGI program.",
        "레인에서 응답하는 코드입니다. 실제 서버에서는 fcgi-run application:application 으로 웹 서버에 연결하고, "
        "cgi-run application:application 이 곧 CGI 프로그램입니다.",
    ),
    # -- the foot of the page
    "how": (
        "Phases are measured in each process by the one monotonic clock of this machine; nothing is estimated, and "
        "what lies between two phases is shown as unmeasured.",
        "각 단계는 이 컴퓨터의 단조 시계 하나로 프로세스마다 측정했습니다. 추정한 값은 없고, 두 단계 사이에 남는 "
        "시간은 ‘측정 안 됨’으로 보입니다.",
    ),
    "stream": (
        "These lines travel as they describe it: as Server-Sent Events, from an ASGI application in a FastCGI "
        "worker, through a gateway client, over HTTP to you.",
        "이 기록 자체도 같은 길로 옵니다. FastCGI 워커 안의 ASGI 애플리케이션에서 Server-Sent Events로 나와, gateway "
        "클라이언트를 거쳐 HTTP로 도착합니다.",
    ),
    "terminal": ("From a terminal:", "터미널에서:"),
    "noscript": (
        "Without scripts a button brings a new page, and nothing moves by itself.",
        "스크립트를 쓰지 않으면 버튼을 누를 때마다 새 페이지가 열리고, 저절로 움직이는 것은 없습니다.",
    ),
    "connected": ("live", "연결됨"),
    "disconnected": (
        "No connection. Does the demo still run in its terminal?",
        "연결이 끊겼습니다. 터미널에서 데모가 실행 중인가요?",
    ),
    # -- the phases, by the names that gateway.measure gives them
    phases.SPAWN: ("fork + exec", "fork + exec"),
    phases.START: ("interpreter start", "인터프리터 시작"),
    phases.IMPORTS: ("imports", "임포트"),
    phases.ACCEPT: ("accept", "연결 받기"),
    phases.RECEIVE: ("receive", "요청 받기"),
    phases.FORK: ("fork", "포크"),
    phases.APPLICATION: ("application", "애플리케이션"),
    phases.WRITE: ("write", "쓰기"),
    phases.EXIT: ("exit", "종료"),
    phases.UNMEASURED: ("unmeasured", "측정 안 됨"),
    f"{phases.UNMEASURED} means": (
        "what lies between: nobody noted a moment there",
        "그 사이의 시간. 아무도 시각을 기록하지 않았습니다",
    ),
}
_MEANINGS = {
    phases.SPAWN: "웹 서버가 프로그램을 시작해서, fork와 exec를 모두 하는 posix_spawn(3)이 돌아올 때까지",
    phases.START: "거기서 파이썬의 첫 줄까지. 시스템이 인터프리터를 불러오고, 인터프리터가 자신을 준비합니다",
    phases.IMPORTS: "거기서 gateway와 애플리케이션을 다 불러올 때까지",
    phases.ACCEPT: "웹 서버의 connect(2)부터 워커에서 accept(2)가 돌아올 때까지",
    phases.RECEIVE: "요청을 읽고 해독해서, 애플리케이션을 호출하거나 자식을 포크할 때까지",
    phases.FORK: "fork(2) 직전부터 자식 프로세스의 첫 순간까지",
    phases.APPLICATION: "애플리케이션을 호출해서 마지막 바이트를 받을 때까지",
    phases.WRITE: "거기서 시스템이 응답을 모두 넘겨받을 때까지",
    phases.EXIT: "거기서 부모가 waitpid(2)로 프로세스가 끝난 것을 알 때까지",
}
"""What gateway.measure says of its phases, in Korean."""
_TABLE |= {f"{name} means": (phases.MEANINGS[name], korean) for name, korean in _MEANINGS.items()}


def texts(language: str) -> dict[str, str]:
    """All texts in one language.

    >>> texts("ko")["exit"]
    '종료'
    """
    column = [*LANGUAGES].index(language)
    return {key: row[column] for key, row in _TABLE.items()}


def choose(wanted: str, accepted: str) -> str:
    """The language that was asked for by name, else the best of an Accept-Language header (RFC 9110 §12.5.4).

    >>> choose("", "fr, ko-KR;q=0.8, en;q=0.5"), choose("en", "ko"), choose("", "de"), choose("", "ko;q=0, *")
    ('ko', 'en', 'en', 'en')
    """
    if wanted in LANGUAGES:
        return wanted
    quality: dict[str, float] = {}
    for member in accepted.lower().split(","):
        language, _, weight = member.partition(";")
        quality.setdefault(language.strip().partition("-")[0], _weight(weight))
    return max(LANGUAGES, key=lambda language: quality.get(language, 0.0))


def _weight(parameter: str) -> float:
    """A quality value, 1 if there is none; 0 if it is no number."""
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    return float(value) if value.strip().replace(".", "", 1).isdecimal() else 0.0
