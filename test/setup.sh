#!/usr/bin/env bash
# Puts there what the tests need, and says what it does; quick when everything is there. Run it, or source it for
# PYTHON_TOOLS (a folder with ruff and mypy) and TARGET_PYTHONS (the interpreters of the target's unit tests).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

PACKAGES=(bash busybox ca-certificates curl dash e2fsprogs docker.io fish git gzip openssh-server openssl patchelf
  postgresql python3 python3-pip python3-venv sudo tar tcsh uwsgi-core uwsgi-plugin-python3 zsh)
PYTHON=/usr/bin/python3
PYTHON_TOOLS=node_modules/.cache/deployer/python-tools
PINNED_TOOLS=(mypy==1.14.1 ruff==0.17.6) # the last mypy that checks against Python 3.8
TEST_USERS=(deployer-test deployer-serves) # who deploys, and whose Gunicorn another one deploys to

say() { printf 'setup: %s\n' "$*"; }
give_up() {
  say "$@" >&2
  exit 1
}

check_node() {
  node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major * 100 + +minor >= 2019 ? 0 : 1)' ||
    give_up "Node 20.19 or newer is needed, this is $(node --version)"
}

install_packages() {
  local missing=() package
  for package in "${PACKAGES[@]}"; do is_there "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0

  can_install || give_up "these packages are missing; install them with: sudo apt-get install ${missing[*]}"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
  say "installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# As root on Debian; elsewhere only in CI, which has nobody to ask.
can_install() {
  command -v apt-get && { [ "$(id -u)" -eq 0 ] || { [ "${CI-}" = true ] && sudo -n true; }; }
} >/dev/null 2>&1

is_there() {
  case $1 in
    docker.io) command -v docker && [ -x /usr/sbin/dockerd ] ;;
    ca-certificates) [ -e /etc/ssl/certs/ca-certificates.crt ] ;;
    e2fsprogs) [ -x /usr/sbin/mkfs.ext4 ] ;;
    openssh-server) [ -x /usr/sbin/sshd ] ;;
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' ;;
    python3) [ -x "$PYTHON" ] ;;
    python3-pip) "$PYTHON" -c 'import pip' ;;
    uwsgi-plugin-python3) [ -e /usr/lib/uwsgi/plugins/python3_plugin.so ] ;;
    python3-venv) "$PYTHON" -c 'import ensurepip' ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

install_node_modules() {
  [ package-lock.json -nt node_modules/.package-lock.json ] || return 0
  say 'npm ci'
  npm ci --include=dev --no-audit --no-fund
}

install_python_tools() {
  [ "$(cat "$PYTHON_TOOLS/complete" 2>/dev/null)" != "${PINNED_TOOLS[*]}" ] || return 0
  say "making a Python environment with ${PINNED_TOOLS[*]}"
  rm -rf "$PYTHON_TOOLS"
  "$PYTHON" -m venv "$PYTHON_TOOLS"
  "$PYTHON_TOOLS/bin/pip" install --quiet --disable-pip-version-check "${PINNED_TOOLS[@]}"
  echo "${PINNED_TOOLS[*]}" >"$PYTHON_TOOLS/complete"
}

make_test_users() {
  [ "$(id -u)" -eq 0 ] || return 0
  local user
  for user in "${TEST_USERS[@]}"; do
    ! id "$user" >/dev/null 2>&1 || continue
    say "making the account $user: some tests run as an ordinary user"
    useradd --create-home --shell /bin/sh "$user"
  done
  usermod --password '*' "${TEST_USERS[0]}" # no password fits, but the account is not locked: sshd refuses those
}

find_target_pythons() {
  TARGET_PYTHONS=("$PYTHON")
  local candidate
  for candidate in python3.8 "${HOME-}"/.pyenv/versions/3.8.*/bin/python3; do
    candidate=$("$candidate" -c 'import sys; print(sys.executable)' 2>/dev/null) || continue
    TARGET_PYTHONS+=("$candidate")
    break
  done
  say "the target's unit tests run on ${TARGET_PYTHONS[*]}"
  if [ ${#TARGET_PYTHONS[@]} -eq 1 ]; then
    say 'no Python 3.8 here (python3.8 on PATH, or ~/.pyenv/versions/3.8.*): what runs on the target is not tested on it'
    [ "${DEPLOYER_REQUIRE_PYTHON38-}" != 1 ] || give_up 'DEPLOYER_REQUIRE_PYTHON38=1 asks for it'
  fi
}

check_node
install_packages
install_node_modules
install_python_tools
make_test_users
find_target_pythons
