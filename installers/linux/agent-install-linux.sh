#!/bin/sh
# Installs, upgrades and removes the Tidemark agent on a Linux machine. Needs no internet and no Node.js: everything comes from the
# collector that served this script, which wrote its address and its key into the lines below. Only functions are defined before the
# last line, so that a copy that was cut off anywhere runs nothing. POSIX sh; no secret ever stands on a command line.
# shellcheck disable=SC2317 # many functions are called by traps and by must(), which it does not see
TIDEMARK_URL='@TIDEMARK_URL@'
TIDEMARK_KEY='@TIDEMARK_KEY@'
TIDEMARK_RUNTIMES='@TIDEMARK_RUNTIMES@'
TIDEMARK_FINGERPRINT='@TIDEMARK_FINGERPRINT@'
TIDEMARK_VERSION='@TIDEMARK_VERSION@'
TIDEMARK_NODE='@TIDEMARK_NODE@'

# The same numbers as everywhere in Tidemark: docs/reference/installer.md.
EXIT_OK=0
EXIT_USAGE=2
EXIT_UNSUPPORTED_SYSTEM=10
EXIT_GLIBC_TOO_OLD=11
EXIT_NO_ROOM=12
EXIT_NO_RIGHTS=13
EXIT_DOWNLOAD_FAILED=14
EXIT_CHECKSUM_WRONG=15
EXIT_SIGNATURE_WRONG=16
EXIT_NAME_UNKNOWN=20
EXIT_CONNECTION_REFUSED=21
EXIT_TLS_FAILED=22
EXIT_NOT_A_COLLECTOR=23
EXIT_SERVICE_NOT_STARTED=30
EXIT_NOT_CONFIRMED=31
EXIT_ROLLED_BACK=32
EXIT_CREDENTIAL_REJECTED=33
EXIT_INSTALLATION_UNDER_WAY=34
EXIT_CONFIGURATION=78

help() {
  cat <<'HELP'
Installs the Tidemark agent on this machine, or upgrades it when it is there: what is not given stays as it is.

  sudo ./agent-install-linux.sh --server URL [options]

  --server URL        the collector: http://HOST:5000 or https://HOST (default: the one this script came from)
  --hostname NAME     what this node is called (default: the machine's name)
  --interval SECONDS  between two reports, 1 to 3600
  --site NAME         where this node stands
  --tag KEY=VALUE     a tag of this node; may be repeated
  --token-file FILE   the enrolment string of `tidemark-collector enroll` or of the console (deleted once it was used), or a node's token
  --postgres auto     make a least-privilege role in the PostgreSQL servers of this machine, and watch them
  --postgres URL      watch this one: postgres://user@host:5432/database, without a password; may be repeated
  --ca-file FILE      certificate authority (PEM) that vouches for the collector
  --proxy URL         HTTP proxy between this machine and the collector: http://HOST:PORT
  --version VERSION   refuse to install any other version
  --update            upgrade and change nothing else
  --no-start          install, and do not start it
  --dry-run           say each step and change nothing
  --uninstall         remove the program; its configuration, secret and waiting reports stay
  --purge             with --uninstall: remove these and the system user as well
  --help              this

Without an enrolment string the node asks to join, and waits until someone approves it in the console or with
`tidemark-collector nodes approve NAME`. Its reports wait on this machine meanwhile. After an upgrade that does not report within
60 seconds (environment: TIDEMARK_CONFIRM_SECONDS) the version before is put back.

Examples:
  curl -fsSO http://192.168.1.10:5000/documentation/downloads/agent-install-linux.sh
  sudo sh agent-install-linux.sh --server http://192.168.1.10:5000 --hostname minusnow-db --interval 60
  sudo sh agent-install-linux.sh --token-file enrolment.txt --site berlin --tag role=db --postgres auto
  sudo sh agent-install-linux.sh --interval 30
  sudo sh agent-install-linux.sh --uninstall --purge
  curl -fsS http://192.168.1.10:5000/documentation/downloads/agent-install-linux.sh | sudo sh -s -- --hostname minusnow-db

Exit codes:
   0  done; a report was confirmed by the collector, or the node waits for approval and that was said
   1  something else failed; what, stands above
   2  wrong usage
  10  this system or processor is not supported
  11  the C library is older than glibc 2.28, or is musl
  12  not enough room
  13  not root, or the file system cannot be written
  14  the download failed
  15  a wrong checksum
  16  a wrong signature
  20  the collector's name is unknown to DNS
  21  no connection to the collector
  22  TLS to the collector failed
  23  what answers there is not a Tidemark collector
  30  the service did not start
  31  the collector has not confirmed a report in time
  32  the new version did not report, the version before was put back
  33  the collector rejects the enrolment string or the secret
  34  another installation is under way
  78  the configuration is wrong
HELP
}

# ------------------------------------------------------------------------------------------------ what is said

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
warn() { printf 'agent-install-linux.sh: %s\n' "$*" >&2; }

# Says why not, and leaves with a code of its own; what was begun is undone by leave().
refuse() {
  exit_code=$1
  shift
  warn "$*"
  exit "$exit_code"
}

# Runs a command that has no reason to fail; a full disk is told from the rest.
must() {
  must_words=$("$@" 2>&1) && return 0
  case $must_words in *'No space left'* | *'Wrote only'* | *'quota exceeded'*) no_room ;; esac
  refuse $EXIT_NO_RIGHTS "This failed: $* ($must_words). Run this again once it is put right."
}

no_room() {
  refuse $EXIT_NO_ROOM "There is no room left on this machine. Free some space under $OPT, /etc and /var, then run this again."
}

# A word for a later eval, whatever is in it.
quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

has() { command -v "$1" >/dev/null 2>&1; }

# ------------------------------------------------------------------------------------------------ what was asked for

needs_value() {
  [ "$2" -ge 2 ] || refuse $EXIT_USAGE "$1 needs a value. See --help."
}

read_options() {
  action=install update=no purge=no dry_run=no start=yes
  server='' token_file='' ca_file='' proxy='' version='' postgres_auto=no given=''
  while [ $# -gt 0 ]; do
    case $1 in
      --*=*)
        option=${1%%=*} value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        continue
        ;;
      --server | --hostname | --interval | --site | --tag | --token-file | --postgres | --ca-file | --proxy | --version)
        needs_value "$1" $#
        read_option "$1" "$2"
        shift
        ;;
      --update) update=yes ;;
      --no-start) start=no ;;
      --dry-run) dry_run=yes ;;
      --uninstall) action=uninstall ;;
      --purge) purge=yes ;;
      --help | -h)
        help
        exit $EXIT_OK
        ;;
      *) refuse $EXIT_USAGE "There is no option '$1'. See --help." ;;
    esac
    shift
  done
  [ $purge = no ] || [ $action = uninstall ] || refuse $EXIT_USAGE 'Removing everything is --uninstall --purge; --purge alone does nothing.'
  if [ $update = yes ] && [ -n "$given$token_file" ]; then
    refuse $EXIT_USAGE 'With --update nothing is changed but the version. Leave it out to change options: running this again upgrades as well.'
  fi
}

# One option with its value; what the agent itself is to know is kept in $given for `tidemark-agent configure`.
read_option() {
  case $1 in
    --token-file) token_file=$2 && return ;;
    --version) version=$2 && return ;;
    --ca-file) ca_file=$2 && given="$given --ca-file $ETC/ca.pem" && return ;;
    --server)
      case $2 in
        http://?* | https://?*) server=${2%/} ;;
        *) refuse $EXIT_USAGE "--server '$2' is no address of a collector: write http://HOST:5000 or https://HOST." ;;
      esac
      refuse_password "$2" --server
      given="$given --server $(quote "$server")" && return
      ;;
    --proxy)
      case $2 in http://?*) proxy=${2%/} ;; *) refuse $EXIT_USAGE "--proxy '$2' is no proxy: write http://HOST:PORT." ;; esac
      refuse_password "$2" --proxy
      ;;
    --postgres)
      [ "$2" != auto ] || { postgres_auto=yes && return; }
      case $2 in
        postgres://?* | postgresql://?*) refuse_password "$2" --postgres ;;
        *) refuse $EXIT_USAGE "--postgres '$2' is neither auto nor an address: write postgres://user@host:5432/database." ;;
      esac
      ;;
    --hostname) check_name "$2" ;;
    --interval)
      case $2 in '' | *[!0-9]* | ?????*) bad_interval "$2" ;; esac
      { [ "$2" -ge 1 ] && [ "$2" -le 3600 ]; } || bad_interval "$2"
      ;;
    --tag) case $2 in [A-Za-z]*=*) ;; *) refuse $EXIT_USAGE "--tag '$2' is no tag: write KEY=VALUE, the key beginning with a letter." ;; esac ;;
  esac
  [ -n "$2" ] || refuse $EXIT_USAGE "$1 needs a value. See --help."
  given="$given $1 $(quote "$2")"
}

bad_interval() { refuse $EXIT_USAGE "--interval '$1' is no number of seconds from 1 to 3600."; }

check_name() {
  # Counts characters of UTF-8, in any shell and locale.
  characters=$(printf '%s' "$1" | tr -d '\200-\277' | wc -c)
  if [ "$characters" -gt 253 ]; then
    refuse $EXIT_USAGE "--hostname has $((characters)) characters, and 253 are the most: give a shorter name."
  fi
  case $1 in
    '' | */* | *[[:cntrl:]]*) refuse $EXIT_USAGE '--hostname must be 1 to 253 printable characters without a slash.' ;;
  esac
}

refuse_password() {
  case ${1#*://} in
    *:*@* | *[?\&]password=*)
      refuse $EXIT_USAGE "A password on the command line can be read by every user of this machine: leave it out of $2 (docs: watch-postgresql)."
      ;;
  esac
}

# ------------------------------------------------------------------------------------------------ one at a time, and nothing left behind

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

# On every way out. What a stage left half done is undone by its own function.
leave() {
  left_with=$?
  trap - EXIT
  # Not ignored: a service that is started again from here would ignore them for ever.
  trap : HUP INT TERM
  [ -z "$child" ] || { kill "$child" 2>/dev/null && wait "$child" 2>/dev/null; }
  case $stage in
    files) undo_files ;;
    switched)
      roll_back
      left_with=$EXIT_ROLLED_BACK
      ;;
  esac
  [ -z "$staging" ] || rm -rf "$staging"
  [ -z "$made_opt" ] || rmdir "$OPT" 2>/dev/null
  [ "$lock_held" = no ] || rm -f "$lock"
  exit "$left_with"
}

guard() {
  trap leave EXIT
  trap 'warn "Interrupted."; exit 129' HUP
  trap 'warn "Interrupted."; exit 130' INT
  trap 'warn "Interrupted."; exit 143' TERM
}

# patiently ERRORS COMMAND...: a command that takes long, so that a signal is heeded at once and not when it ends. Its errors go into a
# file of their own: what a trap has to say meanwhile is not to.
patiently() {
  errors_to=$1
  shift
  "$@" 2>"$errors_to" &
  child=$!
  wait "$child"
  patience=$?
  child=''
  return $patience
}

# ------------------------------------------------------------------------------------------------ this machine

check_system() {
  [ "$(uname -s)" = Linux ] || refuse $EXIT_UNSUPPORTED_SYSTEM "This script is for Linux, and this is $(uname -s): Windows has agent-install-windows.ps1."
  case $(uname -m) in
    x86_64 | amd64) architecture=x64 ;;
    aarch64 | arm64) architecture=arm64 ;;
    *) refuse $EXIT_UNSUPPORTED_SYSTEM "There is no agent for the processor of this machine ($(uname -m)): x86-64 and 64-bit ARM are supported." ;;
  esac
  if has getconf && [ "$(getconf LONG_BIT 2>/dev/null)" = 32 ]; then
    refuse $EXIT_UNSUPPORTED_SYSTEM 'This is a 32-bit system on a 64-bit processor: the agent needs a 64-bit system.'
  fi
  check_libc
  for tool in tar gzip sed awk tr id; do
    has "$tool" || refuse $EXIT_UNSUPPORTED_SYSTEM "The program $tool is missing here: install it, then run this again."
  done
  has sha256sum || has shasum || has openssl || refuse $EXIT_UNSUPPORTED_SYSTEM 'The program sha256sum is missing here: install coreutils, then run this again.'
  has curl || has wget || refuse $EXIT_DOWNLOAD_FAILED 'Neither curl nor wget is here: install one of them, then run this again.'
  find_init
}

check_libc() {
  libc=$(getconf GNU_LIBC_VERSION 2>/dev/null)
  [ -n "$libc" ] || libc=$(ldd --version 2>&1 | sed -n '1s/.*(\(.*\)) \([0-9][0-9.]*\)$/glibc \2/p')
  case $libc in
    'glibc '*) ;;
    *)
      for file in /lib/ld-musl-*; do
        [ ! -e "$file" ] ||
          refuse $EXIT_GLIBC_TOO_OLD 'This system has the C library musl, for which there is no official Node.js: run the agent on a system with glibc 2.28 or later.'
      done
      # Neither says what it is; the runtime itself will.
      return
      ;;
  esac
  libc=${libc#glibc }
  major=${libc%%.*} minor=${libc#*.}
  minor=${minor%%[!0-9]*}
  if [ "$major" -lt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -lt 28 ]; }; then
    refuse $EXIT_GLIBC_TOO_OLD "The C library here is glibc $libc, and the agent needs 2.28 or later (Debian 10, Ubuntu 20.04, RHEL 8, SUSE 15): upgrade the system first."
  fi
}

# What starts services here.
find_init() {
  if [ -d /run/systemd/system ] && has systemctl; then
    init=systemd
  elif has rc-service && has rc-update; then
    init=openrc
  elif [ -d /etc/init.d ]; then
    init=sysv
  else
    refuse $EXIT_UNSUPPORTED_SYSTEM 'Neither systemd nor OpenRC nor SysV init is in charge here: a container wants the agent as its own process instead.'
  fi
}

check_root() {
  [ "$(id -u)" = 0 ] || [ $dry_run = yes ] || refuse $EXIT_NO_RIGHTS 'This needs root: put sudo before the command.'
}

# Kilobytes free where a path is, or will be.
free_kilobytes() {
  where=$1
  while [ ! -d "$where" ]; do where=$(dirname "$where"); done
  df -Pk "$where" 2>/dev/null | awk 'NR == 2 { print $4 }'
}

# check_room PATH KILOBYTES
check_room() {
  free=$(free_kilobytes "$1")
  [ -n "$free" ] || return 0
  [ "$free" -ge "$2" ] || refuse $EXIT_NO_ROOM "Not enough room for $1: $(($2 / 1024 + 1)) MB are needed and $((free / 1024)) MB are free. Free some, then run this again."
}

# ------------------------------------------------------------------------------------------------ what is here already

# The value of a plain line of the configuration.
configured() {
  [ -f "$ETC/agent.yaml" ] || return 0
  sed -n "s/^$1:[[:space:]]*//p" "$ETC/agent.yaml" | sed -n "1{s/[[:space:]]#.*//;s/[[:space:]]*\$//;s/^[\"']//;s/[\"']\$//;p;}"
}

look_around() {
  installed='' old_target='' old_version='' remembered_key=''
  if [ -L "$OPT/current" ]; then
    old_target=$(readlink "$OPT/current")
    old_version=$(cat "$OPT/current/VERSION" 2>/dev/null)
    [ ! -f "$OPT/current/tidemark-agent.cjs" ] || installed=yes
  fi
  [ ! -f "$OPT/downloads-key" ] || remembered_key=$(cat "$OPT/downloads-key")
  old_server=$(configured server)
  old_server=${old_server%/}
  [ -n "$proxy" ] || proxy=$(configured proxy)
  if [ $update = yes ] && [ -z "$installed" ]; then
    refuse $EXIT_USAGE 'There is no agent here to update: run this without --update to install it.'
  fi
}

# The enrolment string, if that is what the file holds: tme1.TOKEN.FINGERPRINT@URL
read_token() {
  enrolment=no pinned=$TIDEMARK_FINGERPRINT
  [ -n "$token_file" ] || return 0
  [ -f "$token_file" ] || refuse $EXIT_USAGE "There is no file $token_file: put the enrolment string into it, or name the right one with --token-file."
  [ -r "$token_file" ] || [ $dry_run = yes ] || refuse $EXIT_NO_RIGHTS "The file $token_file cannot be read."
  token_url='' token_pin='' carriage_return=$(printf '\r')
  # By the shell's own means: another program would show it on its command line.
  while read -r line || [ -n "$line" ]; do
    # Of a file that came from Windows.
    line=${line%"$carriage_return"}
    case $line in
      tme1.*.*@http*)
        enrolment=yes token_url=${line#*@} token_pin=${line%%@*}
        token_pin=${token_pin##*.} token_url=${token_url%/}
        ;;
      tme1.*) refuse $EXIT_USAGE "The enrolment string in $token_file was cut: copy the whole line, to the end of the address." ;;
    esac
    [ -z "$line" ] || break
  done <"$token_file"
  [ -n "$line" ] || refuse $EXIT_USAGE "The file $token_file is empty: put the enrolment string into it."
  line=''
  [ $enrolment = yes ] || return 0
  pinned=$token_pin
  [ "$pinned" != - ] || pinned=''
  [ -n "$server" ] || [ "$token_url" = "$old_server" ] || given="$given --server $(quote "$token_url")"
  [ -n "$server" ] || server=$token_url
}

# Which collector the agent reports to, and where the downloads are.
choose_server() {
  case $TIDEMARK_URL in
    @* | '')
      refuse $EXIT_USAGE 'This is the bare template of the installer: fetch the script from your collector, under /documentation/downloads/agent-install-linux.sh.'
      ;;
  esac
  if [ -n "$server" ]; then
    target=$server
  elif [ -n "$old_server" ]; then
    target=$old_server
  else
    target=$TIDEMARK_URL
    given="$given --server $(quote "$target")"
  fi
  if [ -n "$version" ] && [ "$version" != "$TIDEMARK_VERSION" ]; then
    refuse $EXIT_USAGE "The collector has version $TIDEMARK_VERSION of the agent and no other: leave --version out, or upgrade the collector first."
  fi
  if [ -n "$remembered_key" ] && [ "$remembered_key" != "$TIDEMARK_KEY" ] && [ "$target" = "$old_server" ]; then
    refuse $EXIT_SIGNATURE_WRONG "This script carries another signing key than the one $target had when the agent was installed here. If that collector was set up anew, remove $OPT/downloads-key and run this again; if not, do not trust this script."
  fi
}

# ------------------------------------------------------------------------------------------------ downloads

# How files are fetched here. A proxy in the environment is not what the agent would use, so it is not used for this either.
choose_fetcher() {
  ambient_proxy=${https_proxy:-${HTTPS_PROXY:-${http_proxy:-${HTTP_PROXY:-${all_proxy:-${ALL_PROXY:-}}}}}}
  unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
  [ -z "$proxy" ] || export http_proxy="$proxy" https_proxy="$proxy"
  if has curl; then
    fetcher=curl
  elif wget --help 2>&1 | grep -qi busybox; then
    fetcher=busybox
  else
    fetcher=wget
  fi
  trust=''
  if [ -n "$ca_file" ]; then
    [ -r "$ca_file" ] || refuse $EXIT_USAGE "There is no file $ca_file: name the certificate authority of the collector with --ca-file."
    grep -q 'BEGIN CERTIFICATE' "$ca_file" || refuse $EXIT_USAGE "$ca_file holds no certificate as PEM: name the certificate authority of the collector with --ca-file."
    trust=$ca_file
  elif [ -f "$ETC/ca.pem" ] && [ "$(configured caFile)" = "$ETC/ca.pem" ]; then
    trust=$ETC/ca.pem
  fi
}

# fetch_once URL FILE [resume|blindly]: sets fetch_code (0, or an exit code of this script), http_status, retry_after and fetch_words.
fetch_once() {
  fetch_code=0 http_status='' retry_after='' how=${3:-}
  errors=$staging/fetch-errors headers=$staging/fetch-headers
  : >"$headers"
  [ "$how" = resume ] || rm -f "$2"
  case $fetcher in
    curl) fetch_with_curl "$1" "$2" ;;
    *) fetch_with_wget "$1" "$2" ;;
  esac
  http_status=$(sed -n 's/^[[:space:]]*HTTP\/[0-9.]* \([0-9][0-9][0-9]\).*/\1/p' "$headers" "$errors" | tail -n 1)
  [ -n "$http_status" ] || http_status=$(sed -n 's/.*server returned error: HTTP\/[0-9.]* \([0-9]*\).*/\1/p' "$errors" | tail -n 1)
  retry_after=$(tr -d '\r' <"$headers" | sed -n 's/^[[:space:]]*[Rr]etry-[Aa]fter: *\([0-9][0-9]*\)$/\1/p' | tail -n 1)
  # curl says the reason first, and then where it explains it.
  fetch_words=$(sed -n 's/^curl: ([0-9]*) //p' "$errors" | head -n 1)
  [ -n "$fetch_words" ] || fetch_words=$(grep -v '^  ' "$errors" | tail -n 1 | sed 's/^wget: //')
  fetch_words=$(printf '%s' "$fetch_words" | plain)
}

fetch_with_curl() {
  set -- "$1" "$2" --silent --show-error --fail --location --max-redirs 3 --connect-timeout 10 --speed-limit 200 --speed-time 20 --dump-header "$headers" --output "$2"
  [ "$how" != resume ] || set -- "$@" --continue-at -
  [ "$how" != blindly ] || set -- "$@" --insecure
  { [ -z "$trust" ] || [ "$how" = blindly ]; } || set -- "$@" --cacert "$trust"
  url=$1 file=$2
  shift 2
  patiently "$errors" curl "$@" "$url"
  case $? in
    0) ;;
    5 | 6) fetch_code=$EXIT_NAME_UNKNOWN ;;
    7 | 28) fetch_code=$EXIT_CONNECTION_REFUSED ;;
    35 | 51 | 53 | 54 | 58 | 59 | 60 | 64 | 66 | 77 | 80 | 82 | 83 | 90 | 91) fetch_code=$EXIT_TLS_FAILED ;;
    23) fetch_code=$EXIT_NO_ROOM ;;
    18 | 52 | 55 | 56 | 92) fetch_code=$EXIT_DOWNLOAD_FAILED ;;
    33) rm -f "$file" && fetch_code=$EXIT_DOWNLOAD_FAILED ;;
    *) fetch_code=$EXIT_NOT_A_COLLECTOR ;;
  esac
}

fetch_with_wget() {
  url=$1
  set -- -S -O "$2"
  [ "$how" != resume ] || set -- "$@" -c
  if [ $fetcher = wget ]; then
    set -- "$@" -nv --tries=1 --timeout=20 --max-redirect=3
    { [ -z "$trust" ] || [ "$how" = blindly ]; } || set -- "$@" --ca-certificate="$trust"
  fi
  [ "$how" != blindly ] || set -- "$@" --no-check-certificate
  patiently "$errors" wget "$@" "$url"
  outcome=$?
  cat "$errors" >>"$headers"
  [ $outcome -ne 0 ] || return 0
  # Only GNU wget has codes, and they do not tell DNS from TCP.
  if grep -qi 'unable to resolve\|bad address\|name or service not known' "$errors"; then
    fetch_code=$EXIT_NAME_UNKNOWN
  elif grep -qi 'no space left' "$errors" || [ $outcome -eq 3 ]; then
    fetch_code=$EXIT_NO_ROOM
  elif grep -qi 'certificate\|ssl\|tls' "$errors" || [ $outcome -eq 5 ]; then
    fetch_code=$EXIT_TLS_FAILED
  elif [ "${url#https}" != "$url" ] && grep -qi 'error getting response\|connection reset' "$errors" && ! grep -q 'HTTP/' "$errors"; then
    # Busybox' words for whoever does not speak TLS.
    fetch_code=$EXIT_TLS_FAILED
  elif grep -qi 'HTTP/[0-9.]* 2' "$errors"; then
    fetch_code=$EXIT_DOWNLOAD_FAILED
  elif grep -qi 'HTTP/[0-9.]* [45]' "$errors"; then
    fetch_code=$EXIT_NOT_A_COLLECTOR
  else
    fetch_code=$EXIT_CONNECTION_REFUSED
  fi
}

# fetch URL FILE [resume|blindly]: until it is there, or will not be. Waits for a collector that still prepares the downloads.
fetch() {
  pause_s=1 waited=0 resuming=${3:-}
  while :; do
    had=$(bytes_of "$2")
    fetch_once "$1" "$2" "$resuming"
    [ "$fetch_code" -ne 0 ] || return 0
    if [ "$http_status" = 503 ] && [ $waited -lt 900 ]; then
      pause=${retry_after:-5}
      [ "$pause" -le 30 ] || pause=30
      say "    The collector is still preparing the downloads$(progress "$1"); trying again in $pause s."
      patiently /dev/null sleep "$pause"
      waited=$((waited + pause + 1))
      continue
    fi
    case $fetch_code-$http_status in
      $EXIT_NO_ROOM-* | $EXIT_TLS_FAILED-* | $EXIT_NOT_A_COLLECTOR-40?) return 1 ;;
    esac
    # What was cut is taken up where it stopped, as long as it goes on at all.
    if [ "$resuming" = resume ]; then
      got=$(bytes_of "$2")
      [ "$got" -lt $((had + 65536)) ] || pause_s=1
      [ "$http_status" != 416 ] || rm -f "$2"
      say "    Cut off after $((got / 1024)) KB (${fetch_words:-no answer}); going on from there in $pause_s s."
    fi
    [ $pause_s -lt "$pause_max_s" ] || return 1
    patiently /dev/null sleep $pause_s
    pause_s=$((pause_s * 2))
  done
}

bytes_of() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }

# What the collector says of its preparations, in brackets.
progress() {
  [ $fetcher = curl ] || return 0
  detail=$(curl --silent --max-time 10 ${trust:+--cacert "$trust"} "$1" 2>/dev/null | sed -n 's/.*"detail" *: *"\([^"\\]*\)".*/\1/p')
  [ -z "$detail" ] || printf ' (%s)' "$detail" | plain
}

# Of what strangers say nothing reaches the terminal that would move its cursor.
plain() { tr -d '\000-\010\013-\037\177'; }

sha256() {
  if has sha256sum; then
    sha256sum <"$1"
  elif has shasum; then
    shasum -a 256 <"$1"
  else
    openssl dgst -sha256 -r <"$1"
  fi | awk '{ print $1 }'
}

# Why the collector cannot be reached, and what would open the way.
unreachable() {
  authority=${1#*://}
  authority=${authority%%/*}
  case $authority in
    *]:*) port=${authority##*]:} host=${authority%:*} ;;
    *]) port='' host=$authority ;;
    *:*) port=${authority##*:} host=${authority%:*} ;;
    *) port='' host=$authority ;;
  esac
  [ -n "$port" ] || case $1 in https:*) port=443 ;; *) port=80 ;; esac
  hint=''
  [ -z "$ambient_proxy" ] || [ -n "$proxy" ] || hint=" A proxy is set in the environment here, but the agent would not use it: give it with --proxy."
  case $fetch_code in
    "$EXIT_NAME_UNKNOWN") refuse $EXIT_NAME_UNKNOWN "DNS: the name in ${proxy:-$1} is unknown to this machine ($fetch_words). Use the collector's address instead, or put the name into DNS or /etc/hosts.$hint" ;;
    "$EXIT_CONNECTION_REFUSED")
      refuse $EXIT_CONNECTION_REFUSED "TCP: no connection to ${proxy:-$1} (${fetch_words:-no answer}). Is the collector running there? A firewall on its machine is opened by: $(firewall_command "$port")$(outgoing_firewall "$port").$hint"
      ;;
    "$EXIT_TLS_FAILED") refuse $EXIT_TLS_FAILED "TLS: $host does not prove who it is ($fetch_words). Give its certificate authority with --ca-file, or an enrolment string with --token-file; and look at this machine's clock ($(date -u '+%Y-%m-%d %H:%M') UTC)." ;;
    "$EXIT_NO_ROOM") refuse $EXIT_NO_ROOM "There is no room left under $OPT. Free some space, then run this again." ;;
    "$EXIT_DOWNLOAD_FAILED") refuse $EXIT_DOWNLOAD_FAILED "The download from $1 was cut off, again and again ($fetch_words). Run this again to go on." ;;
    *) refuse $EXIT_NOT_A_COLLECTOR "HTTP: what answers at $1 is not a Tidemark collector, or does not serve downloads (${http_status:+HTTP status $http_status; }${fetch_words:-no answer}). Name the right address with --server.$hint" ;;
  esac
}

firewall_command() {
  if has firewall-cmd && ! has ufw; then
    printf 'sudo firewall-cmd --permanent --add-port=%s/tcp && sudo firewall-cmd --reload' "$1"
  elif has nft && ! has ufw; then
    printf 'sudo nft insert rule inet filter input tcp dport %s accept' "$1"
  else
    printf 'sudo ufw allow %s/tcp' "$1"
  fi
}

outgoing_firewall() {
  { has ufw && ufw status verbose 2>/dev/null | grep -q 'deny (outgoing)\|reject (outgoing)'; } || return 0
  printf '; on this machine: sudo ufw allow out %s/tcp' "$1"
}

# The collector's own authority, when a fingerprint vouches for it.
pin_authority() {
  case $target in https:*) ;; *) return 0 ;; esac
  { [ -n "$pinned" ] && [ -z "$ca_file" ]; } || return 0
  fetch "$target$DOWNLOADS/ca.pem" "$staging/ca.pem" blindly || unreachable "$target"
  awk '/-----BEGIN CERTIFICATE-----/ { inside = 1; next } /-----END CERTIFICATE-----/ { exit } inside' "$staging/ca.pem" |
    if has base64; then base64 -d; else openssl base64 -d; fi >"$staging/ca.der" 2>/dev/null
  if [ "$(sha256 "$staging/ca.der")" != "$pinned" ]; then
    refuse $EXIT_TLS_FAILED "TLS: the certificate authority at $target is not the one that the enrolment string was made for. Someone may stand in between, or the collector was set up anew: make a new enrolment string there."
  fi
  trust=$staging/ca.pem
  [ "$(configured caFile)" = "$ETC/ca.pem" ] || given="$given --ca-file $ETC/ca.pem"
}

# The list of what there is. A collector behind something that passes reports alone is no reason to fail: the script knows its origin.
fetch_list() {
  origin=$target
  if ! fetch "$origin$DOWNLOADS/release.json" "$staging/release.json"; then
    { [ "$fetch_code" -eq $EXIT_NOT_A_COLLECTOR ] && [ "$TIDEMARK_URL" != "$target" ]; } || unreachable "$origin"
    origin=$TIDEMARK_URL
    fetch "$origin$DOWNLOADS/release.json" "$staging/release.json" || unreachable "$origin"
  fi
  pause_max_s=16
  grep -q '"files"' "$staging/release.json" || { http_status=200 fetch_words='no list of downloads' fetch_code=$EXIT_NOT_A_COLLECTOR && unreachable "$origin"; }
  fetch "$origin$DOWNLOADS/SHA256SUMS" "$staging/SHA256SUMS" || unreachable "$origin"
  fetch "$origin$DOWNLOADS/SHA256SUMS.sig" "$staging/SHA256SUMS.sig" || unreachable "$origin"
  archive=tidemark-agent-$TIDEMARK_VERSION.tar.gz
  archive_sum=$(listed_sum "$archive")
  [ -n "$archive_sum" ] ||
    refuse $EXIT_DOWNLOAD_FAILED "The collector was upgraded since this script was fetched from it. Fetch it again from $origin$DOWNLOADS/agent-install-linux.sh and run that."
}

listed_sum() { awk -v name="$1" '$2 == name { print $1; exit }' "$staging/SHA256SUMS"; }

size_of() { tr -d ' \n' <"$staging/release.json" | sed -n "s/.*\"$1\":{[^}]*\"sizeBytes\":\([0-9]*\).*/\1/p"; }

# download NAME SUM
download() {
  bytes=$(size_of "$1")
  step "Downloading $1${bytes:+ ($((bytes / 1024)) KB)}"
  for again in no yes; do
    fetch "$origin$DOWNLOADS/$1" "$staging/$1" resume || unreachable "$origin"
    [ "$(sha256 "$staging/$1")" != "$2" ] || return 0
    rm -f "$staging/$1"
    [ $again = yes ] || say '    Its checksum is wrong; trying once more.'
  done
  refuse $EXIT_CHECKSUM_WRONG "The checksum of $1 is wrong: what $origin serves is damaged, or is changed on the way. Nothing was installed; tell whoever runs the collector."
}

# Checked by the runtime, whose own sum stands in this script: no OpenSSL of an older system can verify Ed25519.
check_signature() {
  "$1" -e '
    const { createPublicKey, verify } = require("node:crypto"), { readFileSync } = require("node:fs");
    const [, sums, signature, key] = process.argv;
    const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(key, "base64")]);
    const publicKey = createPublicKey({ key: spki, format: "der", type: "spki" });
    process.exit(verify(null, readFileSync(sums), publicKey, readFileSync(signature)) ? 0 : 1);
  ' "$staging/SHA256SUMS" "$staging/SHA256SUMS.sig" "$TIDEMARK_KEY" 2>/dev/null
}

wrong_signature() {
  refuse $EXIT_SIGNATURE_WRONG "The list of downloads at $origin is not signed by the collector that this script came from ($TIDEMARK_URL). Fetch the script from $origin$DOWNLOADS/agent-install-linux.sh, or find out who stands in between."
}

fetch_runtime() {
  runtime=$OPT/runtimes/$TIDEMARK_NODE/node
  new_runtime=''
  if [ -x "$runtime" ] && [ "$("$runtime" --version 2>/dev/null)" = "v$TIDEMARK_NODE" ]; then return 0; fi
  package=tidemark-runtime-$TIDEMARK_NODE-linux-$architecture.tar.gz
  if has xz; then package=${package%.gz}.xz; fi
  package_sum=$(printf '%s' "$TIDEMARK_RUNTIMES" | tr ';' '\n' | awk -v name="$package" '$2 == name { print $1; exit }')
  [ -n "$package_sum" ] || refuse $EXIT_UNSUPPORTED_SYSTEM "The collector has no runtime for this processor ($package)."
  bytes=$(size_of "$package")
  check_room "$OPT" $((${bytes:-46000000} / 1024 + 140000))
  download "$package" "$package_sum"
  new_runtime=$staging/runtime
  must mkdir "$new_runtime"
  must unpack "$staging/$package" "$new_runtime"
  rm -f "$staging/$package"
  words=$("$new_runtime/node" --version 2>&1)
  [ "$words" = "v$TIDEMARK_NODE" ] || refuse $EXIT_UNSUPPORTED_SYSTEM "The runtime does not run here ($words). It needs libstdc++ (Debian: libstdc++6, RHEL: libstdc++) and a file system under $OPT that is not mounted noexec."
  runtime=$new_runtime/node
}

unpack() {
  case $1 in
    *.xz) tar -xJof "$1" -C "$2" ;;
    *) tar -xzof "$1" -C "$2" ;;
  esac
}

fetch_agent() {
  check_signature "$runtime" || wrong_signature
  if [ -n "$new_runtime" ] && [ "$(listed_sum "$package")" != "$package_sum" ]; then wrong_signature; fi
  # Another build of the same version is a version of its own: what runs is never changed in place.
  new_target='' new_agent=''
  for place in "$TIDEMARK_VERSION" "$TIDEMARK_VERSION-$(printf '%.8s' "$archive_sum")"; do
    if [ "$(cat "$OPT/versions/$place/ARCHIVE" 2>/dev/null)" = "$archive_sum" ]; then new_target=versions/$place && return 0; fi
    [ -n "$new_target" ] || [ -e "$OPT/versions/$place" ] || new_target=versions/$place
  done
  [ -n "$new_target" ] || new_target=versions/$TIDEMARK_VERSION-$$
  check_room "$OPT" 8192
  download "$archive" "$archive_sum"
  new_agent=$staging/agent
  must mkdir "$new_agent"
  must unpack "$staging/$archive" "$new_agent"
  rm -f "$staging/$archive"
  printf '%s\n' "$archive_sum" >"$new_agent/ARCHIVE" || no_room
  if [ "$(cat "$new_agent/VERSION")" != "$TIDEMARK_VERSION" ] || [ "$(cat "$new_agent/NODE")" != "$TIDEMARK_NODE" ]; then
    refuse $EXIT_DOWNLOAD_FAILED "The collector was upgraded since this script was fetched from it. Fetch it again from $origin$DOWNLOADS/agent-install-linux.sh and run that."
  fi
}

# ------------------------------------------------------------------------------------------------ user, files, configuration

make_user() {
  if id "$AGENT_USER" >/dev/null 2>&1; then return 0; fi
  step "Making the system user $AGENT_USER"
  made_user=yes
  nologin=/usr/sbin/nologin
  [ -x $nologin ] || nologin=/sbin/nologin
  [ -x $nologin ] || nologin=/bin/false
  if has useradd; then
    { has getent && getent group "$AGENT_USER" >/dev/null; } || must groupadd --system "$AGENT_USER"
    # Its messages about a home that there is not to be are of no use.
    must useradd --system --gid "$AGENT_USER" --no-create-home --home-dir /nonexistent --shell $nologin "$AGENT_USER"
  else
    must addgroup -S "$AGENT_USER"
    must adduser -S -D -H -h /nonexistent -s $nologin -G "$AGENT_USER" "$AGENT_USER"
  fi
}

# The new program beside the old one; nothing that runs is touched.
put_files() {
  step "Putting the program into $OPT"
  made_target='' made_runtime=''
  must mkdir -p "$OPT/versions" "$OPT/runtimes" "$OPT/bin"
  if [ -n "$new_runtime" ]; then
    must chown -R 0:0 "$new_runtime"
    must chmod 0755 "$new_runtime" "$new_runtime/node"
    [ -d "$OPT/runtimes/$TIDEMARK_NODE" ] || made_runtime=$OPT/runtimes/$TIDEMARK_NODE
    rm -rf "$OPT/runtimes/$TIDEMARK_NODE"
    must mv "$new_runtime" "$OPT/runtimes/$TIDEMARK_NODE"
    runtime=$OPT/runtimes/$TIDEMARK_NODE/node
  fi
  if [ -n "$new_agent" ]; then
    must chown -R 0:0 "$new_agent"
    must chmod -R u=rwX,go=rX "$new_agent"
    must mv "$new_agent" "$OPT/$new_target"
    made_target=yes
  fi
  wrapper >"$staging/wrapper" || no_room
  must chmod 0755 "$staging/wrapper"
  must mv "$staging/wrapper" "$OPT/bin/tidemark-agent"
  must mkdir -p /usr/local/bin
  if [ -L $COMMAND ] || [ ! -e $COMMAND ]; then must ln -sfn "$OPT/bin/tidemark-agent" $COMMAND; fi
  must mkdir -p "$ETC" /var/lib/tidemark
  if [ ! -d "$STATE" ]; then must mkdir -m 0700 "$STATE" && must chown "$AGENT_USER:$AGENT_USER" "$STATE"; fi
}

wrapper() {
  cat <<'WRAPPER'
#!/bin/sh
# Runs the installed Tidemark agent: its own Node.js, with the flags that it ships with.
root=/opt/tidemark-agent
version=$root/$(readlink $root/current)
read -r node <"$version/NODE" || exit 78
flags=
while read -r flag; do flags="$flags $flag"; done <"$version/flags"
# shellcheck disable=SC2086 # one word a flag
exec "$root/runtimes/$node/node" $flags "$version/tidemark-agent.cjs" "$@"
WRAPPER
}

# The new agent, before it is the current one.
new_agent_command() {
  flags=''
  while read -r flag || [ -n "$flag" ]; do flags="$flags $flag"; done <"$OPT/$new_target/flags"
  # shellcheck disable=SC2086 # one word a flag
  "$runtime" $flags "$OPT/$new_target/tidemark-agent.cjs" "$@"
}

# What may have to be put back.
keep_copies() {
  must mkdir "$staging/before"
  for file in "$ETC/agent.yaml" "$ETC/ca.pem" "$ETC/agent.token" "$OPT/bin/tidemark-agent" "$OPT/downloads-key" "$(service_file)"; do
    [ ! -f "$file" ] || must cp -p "$file" "$staging/before/$(printf '%s' "$file" | tr / _)"
  done
  for file in "$ETC"/postgres-*.password; do printf '%s\n' "$file"; done >"$staging/before/passwords" || no_room
  # Last: with it the copies are whole.
  [ -z "$installed" ] || printf '%s\n' "$old_target" >"$staging/before/target" || no_room
}

# put_back [DIRECTORY]: of the copies that keep_copies made.
put_back() {
  copies=${1:-$staging/before}
  for file in "$ETC/agent.yaml" "$ETC/ca.pem" "$ETC/agent.token" "$OPT/bin/tidemark-agent" "$OPT/downloads-key" "$(service_file)"; do
    copy=$copies/$(printf '%s' "$file" | tr / _)
    if [ -f "$copy" ]; then
      cmp -s "$copy" "$file" || cp -p "$copy" "$file"
    else
      rm -f "$file"
    fi
  done
}

configure() {
  if [ "$trust" = "$staging/ca.pem" ] || [ -n "$ca_file" ]; then
    must cp "$trust" "$staging/ca-new.pem"
    must chmod 0644 "$staging/ca-new.pem"
    must mv "$staging/ca-new.pem" "$ETC/ca.pem"
  fi
  if [ -n "$given" ]; then
    step "Configuring $ETC/agent.yaml"
    eval "new_agent_command configure --config \"\$ETC/agent.yaml\" $given"
    configured_with=$?
    [ $configured_with -eq 0 ] || refuse $configured_with 'The configuration was not changed, for the reason above.'
  fi
  [ ! -f "$ETC/agent.yaml" ] || own_configuration
  words=$(new_agent_command check-config --config "$ETC/agent.yaml" 2>&1)
  checked_with=$?
  [ $checked_with -eq 0 ] || { warn "$words" && refuse $EXIT_CONFIGURATION "The configuration in $ETC/agent.yaml is wrong, as said above: put it right, then run this again."; }
}

# After the collector has taken this machine in: a role that was made stays made.
adopt_postgres() {
  [ $postgres_auto = yes ] || return 0
  step 'Looking for PostgreSQL servers of this machine'
  new_agent_command postgres adopt --config "$ETC/agent.yaml" --yes --owner "$AGENT_USER" || warn 'What is said above is left to do by hand; everything else goes on.'
  own_configuration
}

own_configuration() {
  must chown "root:$AGENT_USER" "$ETC/agent.yaml"
  must chmod 0640 "$ETC/agent.yaml"
}

# A secret of this machine's own, which the collector knows by its hash. `enroll` changes nothing when it is asked again.
enroll() {
  if [ -z "$installed" ] || [ ! -s "$ETC/agent.token" ] || [ -n "$given$token_file" ]; then
    step "Enrolling at $target"
    set -- --config "$ETC/agent.yaml" --secret-file "$ETC/agent.token"
    [ -z "$token_file" ] || set -- "$@" --token-file "$token_file"
    # What it says is said again, and better, when a report was confirmed or waits.
    new_agent_command enroll "$@" >"$staging/enrolled"
    enrolled_with=$?
    [ $enrolled_with -eq 0 ] || refuse $enrolled_with 'The collector did not enrol this node, for the reason above.'
  fi
  protect_token
}

# Where systemd hands the secret over, nobody but root can read it; elsewhere the agent's group has to.
protect_token() {
  if hands_over; then
    must chown root:root "$ETC/agent.token"
    must chmod 0600 "$ETC/agent.token"
  else
    must chown "root:$AGENT_USER" "$ETC/agent.token"
    must chmod 0640 "$ETC/agent.token"
  fi
}

# ------------------------------------------------------------------------------------------------ the service

hands_over() {
  [ $init = systemd ] || return 1
  # LoadCredential= came with systemd 247; Ubuntu 20.04 and RHEL 8 are older.
  systemd_version=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
  [ "${systemd_version:-0}" -ge 247 ]
}

service_file() {
  case $init in
    systemd) printf '/etc/systemd/system/tidemark-agent.service' ;;
    *) printf '/etc/init.d/tidemark-agent' ;;
  esac
}

service_text() {
  case $init in
    openrc) openrc_script ;;
    sysv) sysv_script ;;
    systemd)
      if hands_over; then
        systemd_unit
      else
        systemd_unit | sed 's|^LoadCredential=.*|Environment=TIDEMARK_TOKEN_FILE=/etc/tidemark/agent.token|'
      fi
      ;;
  esac
}

systemd_unit() {
  cat <<'UNIT'
# Made by agent-install-linux.sh, which writes it anew at each upgrade: changes of your own go into `systemctl edit tidemark-agent`.
[Unit]
Description=Tidemark agent, reports how this machine is to its collector
Wants=network-online.target
After=network-online.target
# It starts again for ever: a machine that is not watched is the one that needs it.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=/opt/tidemark-agent/bin/tidemark-agent run --config /etc/tidemark/agent.yaml --data-dir /var/lib/tidemark/agent
User=tidemark-agent
Group=tidemark-agent
UMask=0077
# The secret is root's alone; the agent finds it in its CREDENTIALS_DIRECTORY.
LoadCredential=token:/etc/tidemark/agent.token
StateDirectory=tidemark/agent
StateDirectoryMode=0700
Restart=always
RestartSec=5
TimeoutStopSec=15
# A guard against a leak; the agent takes a quarter of it.
MemoryMax=256M
TasksMax=64

# It reads, talks to its collector and to PostgreSQL, and writes into its state directory. Everything else is taken away.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
PrivateDevices=yes
LockPersonality=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
# AF_UNIX: PostgreSQL's sockets under /run/postgresql; AF_INET, AF_INET6: the collector, PostgreSQL and HTTP endpoints;
# AF_NETLINK: by it alone the kernel tells the machine's own addresses.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

# What is given up, and why:
# ProtectHome=read-only and not yes: with yes the disks under /home could not be measured (they would all look empty).
ProtectHome=read-only
# PrivateTmp=yes would hide the fullness of a /tmp of its own, and PostgreSQL's sockets where they are in /tmp.
PrivateTmp=no
# PrivateUsers=yes would make `peer` authentication at PostgreSQL impossible: its server would see the user nobody.
PrivateUsers=no
# ProtectProc=invisible would hide PostgreSQL's processes, by which unwatched servers are found. ProcSubset=pid would hide /proc/stat,
# /proc/meminfo and /proc/diskstats, which are what is measured.
ProtectProc=default
ProcSubset=all
# PrivateNetwork=yes is not for a program that reports over the network; its counters of traffic are the machine's.
PrivateNetwork=no
# MemoryDenyWriteExecute=yes forbids what V8, the engine of Node.js, does: compile to memory.
MemoryDenyWriteExecute=no

[Install]
WantedBy=multi-user.target
UNIT
}

openrc_script() {
  cat <<'OPENRC'
#!/sbin/openrc-run
# Made by agent-install-linux.sh, which writes it anew at each upgrade.
description="Tidemark agent, reports how this machine is to its collector"
supervisor=supervise-daemon
command=/opt/tidemark-agent/bin/tidemark-agent
command_args="run --config /etc/tidemark/agent.yaml --data-dir /var/lib/tidemark/agent --token-file /etc/tidemark/agent.token"
command_user=tidemark-agent:tidemark-agent
umask=077
respawn_delay=5
# For ever.
respawn_max=0
output_logger="logger -t tidemark-agent"
error_logger="logger -t tidemark-agent"

depend() {
  need localmount
  # Without a network its reports wait on disk, and that is better than not to look.
  use net dns logger
  after postgresql
}
OPENRC
}

sysv_script() {
  cat <<'SYSV'
#!/bin/sh
# Made by agent-install-linux.sh, which writes it anew at each upgrade. Starts the agent again for ever.
# chkconfig: 2345 95 05
### BEGIN INIT INFO
# Provides:          tidemark-agent
# Required-Start:    $remote_fs $network
# Required-Stop:     $remote_fs $network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Tidemark agent
# Description:       Reports how this machine is to its Tidemark collector.
### END INIT INFO
PATH=/usr/sbin:/usr/bin:/sbin:/bin
pid_file=/run/tidemark-agent.pid

supervisor() {
  pid=$(cat $pid_file 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && echo "$pid"
}

# In place of this process, so that a signal reaches it.
become_agent() {
  umask 077
  set -- /opt/tidemark-agent/bin/tidemark-agent run --config /etc/tidemark/agent.yaml --data-dir /var/lib/tidemark/agent --token-file /etc/tidemark/agent.token
  command -v setpriv >/dev/null && exec setpriv --reuid=tidemark-agent --regid=tidemark-agent --init-groups "$@"
  exec chroot --userspec=tidemark-agent:tidemark-agent / "$@"
}

supervise() {
  echo $$ >$pid_file
  restarts=0
  trap 'trap "" TERM; kill "$agent" 2>/dev/null; wait "$agent"; rm -f $pid_file $pid_file.restarts; exit 0' TERM
  while :; do
    become_agent &
    agent=$!
    wait "$agent"
    restarts=$((restarts + 1))
    echo $restarts >$pid_file.restarts
    sleep 5 &
    agent=$!
    wait "$agent"
  done
}

start() {
  supervisor >/dev/null && return 0
  rm -f $pid_file $pid_file.restarts
  if command -v logger >/dev/null; then
    ("$0" supervise 2>&1 </dev/null | logger -t tidemark-agent) >/dev/null 2>&1 &
  else
    "$0" supervise </dev/null >/dev/null 2>&1 &
  fi
  for second in 1 2 3 4 5; do
    supervisor >/dev/null && return 0
    sleep 1
  done
  echo "tidemark-agent did not start within $second seconds" >&2
  return 1
}

stop() {
  pid=$(supervisor) || return 0
  kill "$pid"
  for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 1
  done
  echo "tidemark-agent did not stop within $second seconds" >&2
  return 1
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  restart | force-reload) stop && start ;;
  supervise) supervise ;;
  status)
    if pid=$(supervisor); then echo "tidemark-agent runs (process $pid)"; else echo 'tidemark-agent does not run' && exit 3; fi
    ;;
  *) echo "Usage: $0 {start|stop|restart|status}" >&2 && exit 2 ;;
esac
SYSV
}

put_service() {
  step "Putting the service into $(service_file)"
  service_text >"$staging/service" || no_room
  if [ $init = systemd ]; then must chmod 0644 "$staging/service"; else must chmod 0755 "$staging/service"; fi
  must chown root:root "$staging/service"
  cmp -s "$staging/service" "$(service_file)" || must mv "$staging/service" "$(service_file)"
  [ $init != systemd ] || must systemctl daemon-reload
}

enable_service() {
  case $init in
    systemd) systemctl enable --quiet tidemark-agent.service ;;
    openrc) rc-update add tidemark-agent default >/dev/null ;;
    sysv) if has update-rc.d; then update-rc.d tidemark-agent defaults >/dev/null; elif has chkconfig; then chkconfig --add tidemark-agent; fi ;;
  esac || warn 'The service could not be enabled: it will not start by itself when this machine does.'
}

restart_service() {
  case $init in
    systemd) systemctl restart tidemark-agent.service ;;
    openrc) rc-service tidemark-agent restart ;;
    sysv) /etc/init.d/tidemark-agent restart ;;
  esac
}

service_runs() {
  case $init in
    systemd) systemctl is-active --quiet tidemark-agent.service ;;
    openrc) rc-service tidemark-agent status >/dev/null 2>&1 ;;
    sysv) /etc/init.d/tidemark-agent status >/dev/null 2>&1 ;;
  esac
}

# How often it was started again since it was started.
restarts() {
  case $init in
    systemd) systemctl show --property=NRestarts tidemark-agent.service 2>/dev/null | sed -n 's/^NRestarts=\([0-9]*\)$/\1/p' ;;
    sysv) cat /run/tidemark-agent.pid.restarts 2>/dev/null ;;
  esac
}

service_log() {
  case $init in
    systemd) journalctl --unit=tidemark-agent.service --lines=15 --no-pager --output=cat 2>/dev/null ;;
    *) grep -h tidemark-agent /var/log/syslog /var/log/messages 2>/dev/null | tail -n 15 ;;
  esac | sed 's/^/    /' >&2
}

# ------------------------------------------------------------------------------------------------ SELinux

SELINUX_PLACES='/opt/tidemark-agent/(bin|runtimes)(/.*)?'

label_files() {
  { has selinuxenabled && selinuxenabled; } || return 0
  step 'Labelling the program for SELinux'
  if has semanage && { semanage fcontext -a -t bin_t "$SELINUX_PLACES" 2>/dev/null || semanage fcontext -m -t bin_t "$SELINUX_PLACES"; }; then
    restorecon -RF "$OPT" || warn "restorecon failed: run \`restorecon -RF $OPT\` when the service does not start."
  else
    chcon -R -t bin_t "$OPT/bin" "$OPT/runtimes" || warn "chcon failed: run \`chcon -R -t bin_t $OPT/bin $OPT/runtimes\` when the service does not start."
  fi
}

# ------------------------------------------------------------------------------------------------ switch, prove, or go back

# Atomic: at no moment is there no current version.
point_current() {
  rm -f "$OPT/.current-$$"
  ln -s "$1" "$OPT/.current-$$" && "$runtime" -e 'require("node:fs").renameSync(process.argv[1], process.argv[2])' "$OPT/.current-$$" "$OPT/current"
}

# A first installation that did not come to its end leaves nothing; an upgrade leaves what was before.
undo_files() {
  stage=undone
  put_back
  drop_new_version
  [ -z "$installed" ] || return 0
  rm -rf "${OPT:?}/versions" "$OPT/runtimes" "${OPT:?}/bin" "$OPT/current" "$OPT/downloads-key"
  [ ! -L "$COMMAND" ] || rm -f "$COMMAND"
  # Those of an earlier installation stay, as its configuration does.
  for file in "$ETC"/postgres-*.password; do grep -qxF -e "$file" "$staging/before/passwords" || rm -f "$file"; done
  rmdir "$STATE" /var/lib/tidemark "$ETC" 2>/dev/null
  [ -z "$made_user" ] || remove_user
}

drop_new_version() {
  [ -z "${made_target:-}" ] || rm -rf "${OPT:?}/$new_target"
  [ -z "${made_runtime:-}" ] || rm -rf "$made_runtime"
}

roll_back() {
  stage=undone
  step "Going back to what was before (version $old_version)"
  put_back
  must_point "$old_target"
  [ "$init" != systemd ] || systemctl daemon-reload
  drop_new_version
  restart_service || warn 'The version before did not start either; look at its log.'
  if [ "$new_target" = "$old_target" ]; then
    warn 'With what was changed the agent did not report, so what was before was put back. What it said stands above; nothing waiting was lost.'
  else
    warn "Version $TIDEMARK_VERSION did not report, so version $old_version with its configuration was put back. What it said stands above; nothing waiting was lost."
  fi
}

must_point() { point_current "$1" || warn "The link $OPT/current could not be put back: run \`ln -sfn $1 $OPT/current\`."; }

# Waits for the collector's word. A service that falls again and again is not waited for.
confirm() {
  step 'Waiting for the collector to confirm a report'
  started=$(restarts)
  set -- confirm --config "$ETC/agent.yaml" --since "$since_ms"
  "$OPT/bin/tidemark-agent" "$@" --timeout "${TIDEMARK_CONFIRM_SECONDS:-60}" >"$staging/confirmed" &
  child=$!
  while kill -0 "$child" 2>/dev/null; do
    fallen=$(restarts)
    if [ "${fallen:-0}" -ge $((${started:-0} + 2)) ]; then
      kill "$child" 2>/dev/null
      wait "$child" 2>/dev/null
      child=''
      return $EXIT_SERVICE_NOT_STARTED
    fi
    sleep 0.2 2>/dev/null || sleep 1
  done
  wait "$child"
  confirmed_with=$?
  child=''
  if [ $confirmed_with -eq 0 ]; then
    case $("$OPT/bin/tidemark-agent" "$@" --timeout 5 --json) in *'"state":"pending"'*) state=pending ;; *) state=confirmed ;; esac
  fi
  return $confirmed_with
}

start_and_prove() {
  since_ms=$(date +%s)000
  step 'Starting the service'
  if restart_service && service_runs; then
    confirm
    outcome=$?
  else
    outcome=$EXIT_SERVICE_NOT_STARTED
  fi
  [ $outcome -ne 0 ] || return 0
  cat "$staging/confirmed" >&2 2>/dev/null
  [ $outcome -ne $EXIT_SERVICE_NOT_STARTED ] || { warn 'The last lines of its log:' && service_log; }
  if [ $stage = switched ]; then exit $EXIT_ROLLED_BACK; fi
  case $outcome in
    "$EXIT_SERVICE_NOT_STARTED") refuse $EXIT_SERVICE_NOT_STARTED "The service did not start; its last lines stand above. Put that right, then: $(start_words)" ;;
    "$EXIT_CREDENTIAL_REJECTED") refuse $EXIT_CREDENTIAL_REJECTED 'The collector rejects this node. Make an enrolment string there (tidemark-collector enroll) and run this again with --token-file.' ;;
    "$EXIT_NOT_CONFIRMED") refuse $EXIT_NOT_CONFIRMED 'The collector has not confirmed a report of this node in time. The agent goes on trying; how it stands: tidemark-agent status' ;;
    *) refuse $outcome 'No report was confirmed, for the reason above. The agent goes on trying; how it stands: tidemark-agent status' ;;
  esac
}

start_words() {
  case $init in
    systemd) printf 'systemctl enable --now tidemark-agent' ;;
    openrc) printf 'rc-service tidemark-agent start' ;;
    sysv) printf '/etc/init.d/tidemark-agent start' ;;
  esac
}

# The versions but the current one and the one before it, and runtimes that neither wants.
prune() {
  wanted=" $(cat "$OPT/current/NODE" 2>/dev/null) $(cat "$OPT/${old_target:-current}/NODE" 2>/dev/null) "
  for directory in "$OPT"/versions/*; do
    case $directory in "$OPT/$new_target" | "$OPT/$old_target") continue ;; esac
    # Run again without a new version, the one before is the only other that there is.
    [ "$new_target" != "$old_target" ] || { wanted="$wanted$(cat "$directory/NODE" 2>/dev/null) " && continue; }
    rm -rf "$directory"
  done
  for directory in "$OPT"/runtimes/*; do
    case $wanted in *" ${directory##*/} "*) ;; *) rm -rf "$directory" ;; esac
  done
}

# ------------------------------------------------------------------------------------------------ the whole

install() {
  begun=$(date +%s)
  check_system
  [ $dry_run = yes ] || { take_lock && heal; }
  look_around
  read_token
  choose_server
  choose_fetcher
  [ $dry_run = no ] || { dry_install && return; }
  make_staging
  step "Reaching $target"
  pause_max_s=2
  pin_authority
  fetch_list
  check_room /etc 1024
  check_room /var/lib 16384
  fetch_runtime
  fetch_agent
  stage=files
  keep_copies
  make_user
  put_files
  label_files
  configure
  enroll
  adopt_postgres
  put_service
  printf '%s\n' "$TIDEMARK_KEY" >"$OPT/downloads-key" || no_room
  if [ -n "$installed" ]; then stage=switched; else stage=started; fi
  point_current "$new_target" || no_room
  finish
}

# An upgrade that was killed before it was proven, by kill -9 or a power cut, is no version to go back to: what was before it is.
heal() {
  for left in "$OPT"/.staging-*/before/target; do
    [ -f "$left" ] || continue
    old_target=$(cat "$left")
    [ -f "$OPT/$old_target/tidemark-agent.cjs" ] || continue
    runtime=$OPT/runtimes/$(cat "$OPT/$old_target/NODE")/node
    warn "An earlier run of this was cut off before the collector had confirmed a report. First what was before it is put back ($old_target)."
    # A secret that was made since is the one that the collector knows.
    [ ! -f "$ETC/agent.token" ] || must cp -p "$ETC/agent.token" "${left%/target}/$(printf '%s' "$ETC/agent.token" | tr / _)"
    # Interrupted here, it is done again by the next run: the copies are not this one's to remove.
    put_back "${left%/target}"
    must_point "$old_target"
    [ "$init" != systemd ] || systemctl daemon-reload
    # One that falls again and again is started from there by itself.
    if service_runs; then restart_service; fi
    rm -f "$left"
  done
}

# From here on there is nothing to go back from.
proven() {
  stage=proven
  rm -f "$staging/before/target"
}

make_staging() {
  [ -d "$OPT" ] || made_opt=yes
  must mkdir -p "$OPT"
  # Of installations that were killed: the lock says that none is under way.
  rm -rf "$OPT"/.staging-* "$OPT"/.current-*
  staging=$OPT/.staging-$$
  must mkdir -m 0700 "$staging"
}

finish() {
  if [ $start = no ]; then
    proven
    [ ! -f "$staging/enrolled" ] || cat "$staging/enrolled"
    say "Installed version $TIDEMARK_VERSION and not started, as asked: nothing is reported yet. To start it: $(start_words)"
    return
  fi
  enable_service
  start_and_prove
  proven
  prune
  cat "$staging/confirmed"
  if [ "$state" = pending ]; then
    say "Installed version $TIDEMARK_VERSION in $(($(date +%s) - begun)) s; it waits to be approved, as said above."
  else
    say "Installed version $TIDEMARK_VERSION in $(($(date +%s) - begun)) s; the collector has confirmed a report of this node."
  fi
}

# Says what would be done. Looks, and changes nothing: not even a temporary file.
dry_install() {
  say "This is what would be done; nothing is changed."
  step "Reach $target and download version $TIDEMARK_VERSION of the agent from it"
  if [ -x "$OPT/runtimes/$TIDEMARK_NODE/node" ]; then
    say "    Node.js $TIDEMARK_NODE is here already"
  else
    say "    and Node.js $TIDEMARK_NODE for linux-$architecture ($(if has xz; then printf xz; else printf gzip; fi)), checked by its sum and the collector's signature"
  fi
  id "$AGENT_USER" >/dev/null 2>&1 || step "Make the system user $AGENT_USER"
  step "Put the program into $OPT/versions/$TIDEMARK_VERSION and its command to $COMMAND"
  [ -z "$given" ] || step "Change $ETC/agent.yaml:$given"
  [ $postgres_auto = no ] || step 'Make a role for the agent in the PostgreSQL servers of this machine, and watch them'
  if [ -z "$token_file" ] && [ ! -s "$ETC/agent.token" ]; then step 'Ask to join: someone has to approve this node'; fi
  [ -z "$token_file" ] || step "Enrol with $token_file"
  step "Put the service into $(service_file)"
  if [ $start = yes ]; then
    if [ -n "$installed" ]; then step "Switch from version $old_version, restart, and go back if the collector confirms no report"; else step 'Start it and wait for the collector to confirm a report'; fi
  fi
}

# ------------------------------------------------------------------------------------------------ removal
# The same in agent-uninstall-linux.sh, to the letter: a test compares.
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

DOWNLOADS=/documentation/downloads

# What the caller's environment says about Node.js or Tidemark is not what the service will hear.
forget_environment() {
  for name in $(env | sed -n 's/^\(NODE_[A-Z_]*\)=.*/\1/p;s/^\(TIDEMARK_[A-Z_]*\)=.*/\1/p'); do
    case $name in
      TIDEMARK_CONFIRM_SECONDS | TIDEMARK_URL | TIDEMARK_KEY | TIDEMARK_RUNTIMES | TIDEMARK_FINGERPRINT | TIDEMARK_VERSION | TIDEMARK_NODE) ;;
      *) unset "$name" ;;
    esac
  done
}

main() {
  set -u
  umask 022
  LC_ALL=C
  export LC_ALL
  PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  forget_environment
  stage='' staging='' made_opt='' made_user='' child='' lock_held=no
  exec </dev/null
  read_options "$@"
  check_root
  guard
  if [ $action = uninstall ]; then
    [ $dry_run = yes ] || take_lock
    uninstall
  else
    install
  fi
}

# In braces, so that half of this line runs nothing either.
{ main "$@"; exit; }
