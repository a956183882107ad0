"""What `systemctl` and `sudo` of Debian 12 (systemd 252, sudo 1.9.13) say, written by hand; and programs that say it.

systemd does not run where these tests run, so this is how far its kind is tested.
"""

import os
import stat

ENDED = "ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }"

NOT_FOUND = """LoadState=not-found
LoadError=org.freedesktop.systemd1.NoSuchUnit "Unit shap.service not found."
ActiveState=inactive
SubState=dead
Result=success
MainPID=0
ControlGroup=
FragmentPath=
CanReload=no
CanStart=no
NeedDaemonReload=no
"""
MASKED = NOT_FOUND.replace("not-found", "masked")
NO_BUS = (
    "System has not been booted with systemd as init system (PID 1). Can't operate.\n"
    "Failed to connect to bus: Host is down\n"
)
UNITS = """cron.service               loaded active running Regular background program processing daemon
shop.service               loaded active running Gunicorn of www.example.com
shop-worker.service        loaded active running Celery of www.example.com
ssh.service                loaded active running OpenBSD Secure Shell server
"""
NOT_ALLOWED = """Failed to {verb} shop.service: Interactive authentication required.
See system logs and 'systemctl status shop.service' for details.
"""
JOB_FAILED = """Job for shop.service failed because the control process exited with error code.
See "systemctl status shop.service" and "journalctl -xeu shop.service" for details.
"""
STATUS = """x shop.service - Gunicorn of www.example.com
     Loaded: loaded (/etc/systemd/system/shop.service; enabled; preset: enabled)
     Active: failed (Result: exit-code) since Tue 2026-11-24 10:00:03 UTC; 1s ago
   Main PID: 812 (code=exited, status=3)
Nov 24 10:00:03 web1 gunicorn[812]: ModuleNotFoundError: No module named 'shop'
Nov 24 10:00:03 web1 systemd[1]: shop.service: Failed with result 'exit-code'.
"""


def properties(start, folder, reload=True, active="active", sub="running", result="success", pid="MAINPID"):
    """`systemctl show` of a service. `start`: the words of its ExecStart."""
    path = start[0]
    lines = [
        "Type=notify",
        f"MainPID={pid}",
        f"Result={result}",
        f"ExecStart={{ path={path} ; argv[]={' '.join(start)} ; {ENDED}",
        *([f"ExecReload={{ path=/bin/kill ; argv[]=/bin/kill -s HUP $MAINPID ; {ENDED}"] if reload else []),
        "ControlGroup=/system.slice/shop.service",
        f"WorkingDirectory={folder}",
        "LoadState=loaded",
        f"ActiveState={active}",
        f"SubState={sub}",
        "FragmentPath=/etc/systemd/system/shop.service",
        "CanStart=yes",
        f"CanReload={'yes' if reload else 'no'}",
        "NeedDaemonReload=no",
    ]
    return "\n".join(lines) + "\n"


SYSTEMCTL = """#!/bin/sh
cd "$(dirname "$0")"
printf '%s\\n' "$*" >>words
user=
while :; do
  case $1 in --user) user=.user ;; --no-* | --job-mode=*) ;; *) break ;; esac
  shift
done
printf '%s\\n' "${SUDO:+sudo }systemctl${user:+ --user} $*" >>calls
case $1 in start|stop|restart|reload)
  if [ -e refused ] && [ -z "$SUDO" ] && [ -z "$user" ]; then sed "s/{verb}/$1/" refused >&2; exit 1; fi
esac
[ ! -e "$1$user.sh" ] || sh "./$1$user.sh"
[ ! -e "$1$user" ] || sed "s/MAINPID/$(cat pid 2>/dev/null || echo 0)/" "$1$user"
[ ! -e "$1$user.code" ] || exit "$(cat "$1$user.code")"
"""
SUDO = """#!/bin/sh
here=$(dirname "$0")
[ "$1" = -n ] || exit 9
shift
if [ "$1" != -l ]; then SUDO=yes exec "$@"; fi
shift
[ -e "$here/allowed" ] || { echo 'sudo: a password is required' >&2; exit 1; }
if [ $# -eq 0 ]; then cat "$here/allowed"; else echo "$*"; fi
"""
ALLOWED = """User deploy may run the following commands on web1:
    (root) NOPASSWD: {systemctl} restart shop.service, {systemctl} stop shop.service, {systemctl} reload shop.service
"""


class Recordings:
    """A folder for PATH whose `systemctl` and `sudo` answer what was set, and write down how they were called."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        for name, text in (("systemctl", SYSTEMCTL), ("sudo", SUDO)):
            self.set(name, text)
            os.chmod(f"{folder}/{name}", 0o755)
        self.set("calls", "")
        self.set("words", "")
        self.set("list-units", UNITS)
        self.set("show.user", NOT_FOUND)
        os.chmod(folder, stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
        for name in ("calls", "words"):
            os.chmod(f"{folder}/{name}", 0o666)

    def allow(self, said):
        """What `sudo -l` lists; `{systemctl}` is this one."""
        self.set("allowed", said.replace("{systemctl}", f"{self.folder}/systemctl".replace(" ", "\\ ")))

    def set(self, name, text):
        with open(f"{self.folder}/{name}", "w") as file:
            file.write(text)

    def calls(self, *verbs):
        """How it was called, with one of these verbs."""
        with open(f"{self.folder}/calls") as file:
            return [line for line in file.read().splitlines() if any(f" {verb} " in f"{line} " for verb in verbs)]

    def words(self, verb):
        """All the arguments of each call with this verb."""
        with open(f"{self.folder}/words") as file:
            return [line.split() for line in file.read().splitlines() if verb in line.split()]

    @property
    def environ(self):
        return dict(os.environ, PATH=f"{self.folder}:{os.environ['PATH']}")
