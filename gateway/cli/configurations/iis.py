"""IIS with HttpPlatformHandler 1.2, which starts Python and speaks HTTP to it.

Written after Microsoft's reference of httpPlatform and system.webServer; it has not been run under IIS.
"""

from __future__ import annotations

import os
import sys
from xml.sax.saxutils import quoteattr

from gateway.cli.configurations import Configuration, Site

PYTHON = sys.executable if os.name == "nt" else r"C:\Python313\python.exe"

TABLE = """
 |  | <configuration>
 |  |   <!-- web.config, beside the application; iis.net/downloads has HttpPlatformHandler -->
 |  |   <system.webServer>
 |  |     <handlers>
 |  |       <add name="@name@" path="*" verb="*" modules="httpPlatformHandler" resourceType="Unspecified" />
 |  |     </handlers>
 |  |     <httpPlatform processPath=@python@ arguments=@arguments@ stdoutLogEnabled="true" stdoutLogFile=".\\@name@" />
 |  |     <security>
 |  |       <requestFiltering allowDoubleEscaping="true">
 |  |         <requestLimits maxAllowedContentLength="@bytes@" />
 |  |       </requestFiltering>
 |  |     </security>
 |  |   </system.webServer>
 |  | </configuration>
"""


def values(site: Site) -> dict[str, object]:
    """The program that Python is given: it serves at the port that IIS names."""
    mount = f", mount={site.mount!r}" if site.mount else ""
    program = (
        "import sys; sys.path.insert(0, '.'); from gateway import serve; from gateway.loader import load; "
        f"serve(load({site.target!r}), 'http://127.0.0.1:%HTTP_PLATFORM_PORT%', threads=8{mount})"
    )
    return {"python": quoteattr(PYTHON), "arguments": quoteattr(f'-c "{program}"'), "bytes": site.size << 20}


configuration = Configuration("IIS", {"web.config": TABLE}, values=values)
