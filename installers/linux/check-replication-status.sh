#!/bin/sh
# How PostgreSQL replication stands on this server: hands over to the installed Tidemark agent, which asks the server itself, and
# ends with its exit code. POSIX sh; it changes nothing, and cut off anywhere it does nothing.

# Where this script came from; written in when it is downloaded.
TIDEMARK_URL='@TIDEMARK_URL@'
# Of a monitoring plugin 2 means that something is critical: a mistake, or having nobody to ask, is "unknown".
UNKNOWN=3
INSTALLED=/opt/tidemark-agent/bin/tidemark-agent

usage() {
  cat <<'END'
Usage: check-replication-status.sh primary|master|replica [option ...]

Prints how replication stands on this server, and ends like a monitoring plugin:
0 OK, 1 warning, 2 critical, 3 unknown. A server that is not what you say is critical.

  primary, master   the server's replicas, one a line
  replica           whether it is one, and how many seconds it is behind

Options are those of `tidemark-agent check replication`, for example:
  --url postgresql://ROLE@HOST:5432/postgres   the server (else the configured ones, else those found here)
  --password-file FILE                         its first line is the password
  --warning-seconds 30 --critical-seconds 120  bounds of the lag
  --format json                                for programs

Examples:
  ./check-replication-status.sh master
  sudo -u postgres ./check-replication-status.sh replica
END
}

# Prints the agent's program; fails when there is none.
find_agent() {
  if [ -x "$INSTALLED" ]; then
    printf '%s\n' "$INSTALLED"
  else
    command -v tidemark-agent
  fi
}

main() {
  case "${1-}" in
    -h | --help | help)
      usage
      return 0
      ;;
    primary | master | replica | standby) ;;
    '')
      usage >&2
      return "$UNKNOWN"
      ;;
    *)
      printf 'check-replication-status.sh: say primary, master or replica first, not "%s" (see --help).\n' "$1" >&2
      return "$UNKNOWN"
      ;;
  esac
  if ! agent=$(find_agent); then
    case $TIDEMARK_URL in
      http*) where="see $TIDEMARK_URL/documentation/downloads/" ;;
      *) where='its collector has it at /documentation/downloads/' ;;
    esac
    printf 'check-replication-status.sh: the Tidemark agent is not installed here (neither %s nor tidemark-agent on the PATH). Install it: %s\n' \
      "$INSTALLED" "$where" >&2
    return "$UNKNOWN"
  fi
  role=$1
  shift
  # What is given comes last, so that it wins.
  exec "$agent" check replication "$role" --format status "$@"
}

main "$@"
