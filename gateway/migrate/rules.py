"""What became of the names that old CGI and FastCGI code uses: whether they still run, and what is written today."""

from __future__ import annotations

from gateway.migrate import AS_IS, CHANGE, COMPAT

_RUN = "gateway.run(app), or gateway.serve(app, bind=…) if it has an address"
_WORKERS = "gateway.run(app) where the web server starts processes, else fcgi-run MODULE:APP --workers N -b ADDRESS"
_FORM = "with legacy-cgi (pip install 'gateway[legacy]'); "

_STRING = {
    "capitalize expandtabs find join lower lstrip replace rstrip split strip upper zfill": "the method of str",
    "atof": "float()", "atoi atol": "int()", "letters lowercase uppercase": "string.ascii_letters or its kin",
}  # fmt: skip

RULES = {
    "flup.server.fcgi": (COMPAT, _RUN),
    "flup.server.fcgi_single": (COMPAT, _RUN),
    "flup.server.fcgi_fork": (COMPAT, _WORKERS),
    "flup.server.scgi": (COMPAT, 'gateway.serve(app, bind=…, protocol="scgi")'),
    "flup.server.scgi_fork": (COMPAT, "scgi-run MODULE:APP --workers N -b ADDRESS"),
    "flup.server.ajp": (COMPAT, 'gateway.serve(app, bind=…, protocol="ajp")'),
    "flup.server.ajp_fork": (COMPAT, "ajp-run MODULE:APP --workers N -b ADDRESS"),
    "flup.server.cgi": (COMPAT, "gateway.run(app)"),
    "flup.client.fcgi_app": (COMPAT, 'gateway.Client("fastcgi://…")'),
    "flup.client.scgi_app": (COMPAT, 'gateway.Client("scgi://…")'),
    "flup": (CHANGE, "nothing here takes its place; flup 1.0.3 may still have it"),
    "flipflop": (COMPAT, "gateway.run(app)"),
    "wsgiref.handlers.CGIHandler": (AS_IS, "gateway.run(app)"),
    "wsgiref.handlers.IISCGIHandler": (AS_IS, "gateway.run(app)"),
    "wsgiref.handlers.BaseCGIHandler": (AS_IS, "gateway.run(app), or gateway.serve(app, bind=…)"),
    "http.server.CGIHTTPRequestHandler": (COMPAT, "from Python 3.15 on; or gateway serve FOLDER, gateway.CGIDirectory"),
    "django.core.servers.fastcgi": (COMPAT, "fcgi-run PROJECT.wsgi:application -b ADDRESS"),
    "wfastcgi": (COMPAT, "gateway.run(app), or fcgi-run MODULE:APP"),
    "cgi.escape": (CHANGE, "html.escape(…, quote=False)"),
    "cgi.parse_qs": (CHANGE, "urllib.parse.parse_qs()"),
    "cgi.parse_qsl": (CHANGE, "urllib.parse.parse_qsl()"),
    "cgi.parse_header": (COMPAT, f"{_FORM}email.message.Message has its like"),
    "cgi": (COMPAT, f"{_FORM}or urllib.parse.parse_qs() for queries, and the package multipart for uploads"),
    "cgitb": (COMPAT, f"{_FORM}or without: gateway writes tracebacks to the error log, and no visitor sees them"),
    "web.wsgi.runfcgi": (COMPAT, "gateway.run(app.wsgifunc())"),
    "web.wsgi.runscgi": (COMPAT, 'gateway.serve(app.wsgifunc(), bind=…, protocol="scgi")'),
    "web.runfcgi": (COMPAT, "gateway.run(app.wsgifunc())"),
    "bottle.FlupFCGIServer": (COMPAT, "gateway.run(bottle.default_app())"),
    "bottle.CGIServer": (AS_IS, "gateway.run(bottle.default_app())"),
    "MoinMoin.web.flup_frontend": (COMPAT, "gateway.run(MoinMoin.web.serving.make_application(shared=True))"),
    "trac.web.fcgi_frontend": (AS_IS, "gateway.run(trac.web.main.dispatch_request), after setting TRAC_ENV"),
    "trac.web.cgi_frontend": (AS_IS, "gateway.run(trac.web.main.dispatch_request), after setting TRAC_ENV"),
    "sys.setdefaultencoding": (CHANGE, "Python 3 has none; take the line out, and reload(sys) with it"),
} | {f"string.{name}": (CHANGE, instead) for names, instead in _STRING.items() for name in names.split()}
"""A name, or the module that holds it; the longest that fits counts."""
