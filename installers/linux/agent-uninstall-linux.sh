#!/bin/sh
# Removes the Tidemark agent from a Linux machine, as `agent-install-linux.sh --uninstall` does; needs no collector. Only functions are
# defined before the last line, so that a copy that was cut off anywhere runs nothing.

EXIT_OK=0
EXIT_USAGE=2
EXIT_NO_RIGHTS=13
EXIT_INSTALLATION_UNDER_WAY=34

help() {
  cat <<'HELP'
Removes the Tidemark agent from this machine. Its configuration, secret and waiting reports stay, unless --purge is given.

  sudo ./agent-uninstall-linux.sh [--purge] [--dry-run]

  --purge     remove the configuration, secret, waiting reports and the system user as well
  --dry-run   say each step and change nothing
  --help      this

Exit codes: 0 done (also when nothing was here), 2 wrong usage, 13 not root, 34 an installation is under way.

Examples:
  sudo sh agent-uninstall-linux.sh
  sudo sh agent-uninstall-linux.sh --purge
HELP
}

step() { printf '==> %s\n' "$*"; }

refuse() {
  exit_code=$1
  shift
  printf 'agent-uninstall-linux.sh: %s\n' "$*" >&2
  exit "$exit_code"
}

# Held from before the first change to the end: a link that names the process. flock is not everywhere, and its lock would be inherited
# by a service that is started from here.
take_lock() {
  lock=/run/tidemark-agent-install.lock
  [ -d /run ] || lock=/var/run/tidemark-agent-install.lock
  if ! ln -s $$ "$lock" 2>/dev/null; then
    holder=$(readlink "$lock")
    if [ -n "$holder" ] && kill -0 "$holder" 2>/dev/null; then
      refuse $EXIT_INSTALLATION_UNDER_WAY "Another installation is under way (process $holder). Wait until it is done, then run this again."
    fi
    # Its holder was killed. Two may see that at once, and only one may put a lock of its own in place.
    mkdir "$lock.taking" 2>/dev/null ||
      refuse $EXIT_INSTALLATION_UNDER_WAY "Another installation has just begun. Wait until it is done, then run this again (or remove $lock.taking, when there is none)."
    [ "$(readlink "$lock")" != "$holder" ] || rm -f "$lock"
    ln -s $$ "$lock" 2>/dev/null || holder=''
    rmdir "$lock.taking"
    [ "$(readlink "$lock")" = $$ ] ||
      refuse $EXIT_INSTALLATION_UNDER_WAY 'Another installation has just begun. Wait until it is done, then run this again.'
  fi
  lock_held=yes
}

# The same in agent-install-linux.sh, to the letter: a test compares.
# >>> removal

OPT=/opt/tidemark-agent
ETC=/etc/tidemark
STATE=/var/lib/tidemark/agent
COMMAND=/usr/local/bin/tidemark-agent
AGENT_USER=tidemark-agent

uninstall() {
  step 'Stopping the service'
  if [ -f /etc/systemd/system/tidemark-agent.service ]; then
    change systemctl disable --quiet --now tidemark-agent.service
    change rm -f /etc/systemd/system/tidemark-agent.service
    change systemctl daemon-reload
    change systemctl reset-failed tidemark-agent.service
  fi
  if [ -f /etc/init.d/tidemark-agent ]; then
    change /etc/init.d/tidemark-agent stop
    if command -v rc-update >/dev/null 2>&1; then change rc-update del tidemark-agent; fi
    if command -v chkconfig >/dev/null 2>&1; then change chkconfig --del tidemark-agent; fi
    change rm -f /etc/init.d/tidemark-agent
    if command -v update-rc.d >/dev/null 2>&1; then change update-rc.d tidemark-agent remove; fi
  fi
  step "Removing the program from $OPT"
  if command -v semanage >/dev/null 2>&1; then change semanage fcontext -d '/opt/tidemark-agent/(bin|runtimes)(/.*)?'; fi
  [ ! -L $COMMAND ] || change rm -f $COMMAND
  change rm -rf $OPT
  if [ $purge = yes ]; then
    step 'Removing its configuration, secret, waiting reports and user'
    change rm -rf $STATE $ETC/agent.yaml $ETC/agent.token $ETC/ca.pem $ETC/postgres-*.password /etc/systemd/system/tidemark-agent.service.d
    # A collector may live here too.
    change rmdir /var/lib/tidemark
    change rmdir $ETC
    remove_user
    printf '%s\n' 'Removed, with everything that belonged to it. In the collector the node stays until: tidemark-collector nodes retire NAME'
  else
    printf '%s\n' "Removed. Its configuration and secret stay in $ETC, its waiting reports in $STATE: --uninstall --purge removes these too."
  fi
}

# Does one step of the removal, or says it; what is gone already is no failure.
change() {
  if [ $dry_run = yes ]; then printf '    %s\n' "$*"; else "$@" 2>/dev/null || true; fi
}

remove_user() {
  id $AGENT_USER >/dev/null 2>&1 || return 0
  if command -v userdel >/dev/null 2>&1; then
    change userdel $AGENT_USER
    if grep -q "^$AGENT_USER:" /etc/group; then change groupdel $AGENT_USER; fi
  else
    change deluser $AGENT_USER
    if grep -q "^$AGENT_USER:" /etc/group; then change delgroup $AGENT_USER; fi
  fi
}
# <<< removal

main() {
  set -u
  LC_ALL=C
  export LC_ALL
  PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  exec </dev/null
  purge=no dry_run=no lock_held=no
  for option in "$@"; do
    case $option in
      --purge) purge=yes ;;
      --dry-run) dry_run=yes ;;
      --uninstall) ;;
      --help | -h)
        help
        exit $EXIT_OK
        ;;
      *) refuse $EXIT_USAGE "There is no option '$option'. See --help." ;;
    esac
  done
  [ "$(id -u)" = 0 ] || [ $dry_run = yes ] || refuse $EXIT_NO_RIGHTS 'This needs root: put sudo before the command.'
  if [ $dry_run = no ]; then
    trap '[ "$lock_held" = no ] || rm -f "$lock"' EXIT
    trap 'exit 130' HUP INT TERM
    take_lock
  fi
  uninstall
}

# In braces, so that half of this line runs nothing either.
{ main "$@"; exit; }
