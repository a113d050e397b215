"""Runs a command under the system call filter and the address families of a unit, as systemd sets them up: rules.json COMMAND..."""
import errno
import json
import os
import socket
import sys

import seccomp

with open(sys.argv[1], encoding="utf8") as file:
    rules = json.load(file)
filter = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
# systemd has to start the command, too.
for name in {*rules["allowed"], "execve"}:
    # One that the library cannot name exists on no kernel that it knows.
    if name == "socket":
        continue
    try:
        filter.add_rule(seccomp.ALLOW, name)
    except RuntimeError:
        pass
families = {getattr(socket, name) for name in rules["families"]}
for family in range(46):
    action = seccomp.ALLOW if family in families else seccomp.ERRNO(errno.EAFNOSUPPORT)
    if family in families or action != seccomp.ALLOW:
        filter.add_rule(action, "socket", seccomp.Arg(0, seccomp.EQ, family))
filter.load()
os.execvp(sys.argv[2], sys.argv[2:])
