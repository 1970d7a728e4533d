"""Apache httpd with mod_fcgid, which starts the program, and stops it when nobody asks for it."""

from __future__ import annotations

from gateway.cli.configurations import Configuration, Site
from gateway.cli.configurations.apache import MODULES

TABLE = """
part   |             | # Apache with mod_fcgid and mod_alias starts @program@, which is executable
full   |             | # httpd -f FILE, which starts @program@, which is executable
       |             |
full   |             | ServerRoot "${PWD}"
full   |             | User www-data
full   |             | Group www-data
full   |             | ServerName @host@
full   |             | Listen @port@
full   |             | PidFile @name@.pid
full   |             | ErrorLog /dev/stderr
full   |             | Define modules @modules@
full   |             | LoadModule mpm_event_module ${modules}/mod_mpm_event.so
full   |             | LoadModule authz_core_module ${modules}/mod_authz_core.so
full   |             | LoadModule alias_module ${modules}/mod_alias.so
full   |             | LoadModule env_module ${modules}/mod_env.so
full   |             | LoadModule fcgid_module ${modules}/mod_fcgid.so
full   |             | FcgidIPCDir @name@.fcgid
full   |             | FcgidProcessTableFile @name@.fcgid.table
       |             |
       |             | ScriptAlias "@path@" "@program@"
       | slashes     | AllowEncodedSlashes NoDecode
       | length      | SetEnv ap_trust_cgilike_cl 1
       | credentials | FcgidPassHeader Authorization
       | size        | FcgidMaxRequestLen @bytes@
stream | stream      | FcgidOutputBufferSize 0
       |             |
       |             | <Directory "@folder@">
       |             |     SetHandler fcgid-script
       |             |     Options +ExecCGI
       |             |     Require all granted
       |             | </Directory>
"""


def values(site: Site) -> dict[str, object]:
    """The program, which ends in a slash for the whole site, as ScriptAlias wants it."""
    program = site.program
    return {
        "program": program if site.mount else f"{program}/", "path": site.mount or "/", "modules": MODULES,
        "folder": program.rpartition("/")[0], "bytes": site.size << 20,
    }  # fmt: skip


configuration = Configuration(
    "mod_fcgid", {"apache.conf": TABLE}, values=values, tells_mount=["fastcgi"], loses={"fastcgi": "keep"},
    check=["apache2", "-t", "-f"],
)  # fmt: skip
