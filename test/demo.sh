#!/usr/bin/env bash
# `npm run demo`: a real Django site goes live, is deployed again, broken, saved, and rolled back, in a folder of its own.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
npm run --silent build

ROOT=$PWD
DEMO=$(mktemp -d "${TMPDIR:-/tmp}/deployer-demo.XXXXXX")
SITE=$DEMO/www/example
PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
SERVER=

deployer() {
  printf '$ deployer %s\n' "$*"
  (cd "$DEMO" && node "$ROOT/bin/deployer.cjs" "$@")
}

stop_server() {
  [ -n "$SERVER" ] && kill "$SERVER" 2>/dev/null && wait "$SERVER" 2>/dev/null
  SERVER=
}
trap stop_server EXIT

act() { printf '\n\033[1m--- %s\033[0m\n' "$*"; }
tell() { printf '    %s\n' "$@"; }

show_page() {
  tell 'The page that is served now:'
  curl -sS -H 'Host: www.example.com' "http://127.0.0.1:$PORT/" | sed -e 's/<[^>]*>//g' -e '/^ *$/d' -e 's/^ */      | /'
}

wait_for_page() {
  local tries
  for tries in $(seq 100); do
    curl -sf -o "$DEMO/page" -H 'Host: www.example.com' "http://127.0.0.1:$PORT/version" && return
    sleep 0.1
  done
  cat "$DEMO/gunicorn.log"
  return 1
}

commit() {
  git -C "$DEMO/project" add -A
  git -C "$DEMO/project" -c user.name=Demo -c user.email=demo@example.com commit -qm "$1"
}

act 'A Git repository with a small Django project: models, two migrations, templates, static files'
cp -r test/support/project "$DEMO/project"
{
  printf -- '--no-index\n--find-links "%s"\n' "$("$PYTHON" test/support/wheelhouse.py)"
  cat test/support/project/requirements.txt
  echo tinylib==1
} >"$DEMO/project/requirements.txt"
git init -q --initial-branch=main "$DEMO/project"
commit 'Version 1'
git -C "$DEMO/project" --no-pager log --oneline

act 'One line of configuration for the site, written by siteadd'
deployer siteadd www.example.com "$DEMO/project" --deploy-path="$SITE" --backup-path="$DEMO/backups" \
  --python="$PYTHON" --shared-files=.env --shared-dirs=data --shared-dirs=media --health-check=/health
cat "$DEMO/sites.yml"

act 'The first deploy is refused: the site needs a file that no repository should hold'
deployer deploy www.example.com && exit 1
tell 'We put it there:'
echo SECRET_KEY=demo-secret-key >"$SITE/shared/.env"

act 'The first deploy, once more: nothing is live, nothing serves'
deployer deploy www.example.com
tell 'We start Gunicorn as it says:'
"$SITE/current/.venv/bin/python" "$SITE/current/.venv/bin/gunicorn" --chdir "$SITE/current" --no-control-socket \
  --bind "127.0.0.1:$PORT" --workers 2 config.wsgi >"$DEMO/gunicorn.log" 2>&1 &
SERVER=$!
wait_for_page
show_page

act 'A second version: a new release, a backup of the old one, a reload that drops no request'
echo 2 >"$DEMO/project/VERSION"
commit 'Version 2'
deployer deploy www.example.com
show_page

act 'A third version is broken: a syntax error in urls.py'
echo 3 >"$DEMO/project/VERSION"
echo 'urlpatterns = [' >>"$DEMO/project/config/urls.py"
commit 'Version 3, broken'
deployer deploy www.example.com && exit 1
tell 'It never went live: the deploy was undone by itself.'
show_page

act 'A fourth is broken where no check looks: it raises when it is asked'
git -C "$DEMO/project" checkout -q HEAD~1 -- config/urls.py
echo 4 >"$DEMO/project/VERSION"
sed -i 's/^def health(request):/&\n    raise RuntimeError("version 4 cannot answer")/' "$DEMO/project/guestbook/views.py"
commit 'Version 4, broken at its first request'
deployer deploy www.example.com && exit 1
show_page

act 'A good fifth version'
git -C "$DEMO/project" checkout -q HEAD~2 -- guestbook/views.py
echo 5 >"$DEMO/project/VERSION"
commit 'Version 5'
deployer deploy www.example.com
show_page

act 'Rolled back by hand: the previous good release is served again'
deployer rollback www.example.com
show_page

act 'The end. Gunicorn is stopped; nothing of this runs any more'
stop_server
tell "Look around:  cd $DEMO && ls -l www/example www/example/releases backups" \
  "              cat $DEMO/www/example/.deployer/history/*" \
  "Clean up:     rm -rf $DEMO"
