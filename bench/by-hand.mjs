// Deploys as somebody who knows how would write them by hand: one POSIX script each, that does the steps of deployer.

import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PYTHON } from './lab.mjs';

/** A project whose heavy steps (pip, the Django starts) are programs that only say that they ran. */
export const STUBS = {
  fill: (folder) => {
    writeFileSync(join(folder, 'manage.py'), '# a stub\n');
    writeFileSync(join(folder, 'app.py'), 'application = None\n');
    writeFileSync(join(folder, 'requirements.txt'), '');
    writeFileSync(join(folder, 'install'), INSTALL);
    writeFileSync(join(folder, 'python'), STUB);
    for (const name of ['install', 'python']) chmodSync(join(folder, name), 0o755);
  },
  site: {
    shared_dirs: ['data', 'media'],
    shared_files: ['settings.ini'],
    restart: { command: 'echo restarted' },
    commands: { dependencies: './install' },
  },
};

const INSTALL = `#!/bin/sh
mkdir -p .venv/bin && ln -s ../../python .venv/bin/python && echo 'requirements satisfied'
`;

/** Its answer to \`validate\` is what the one of a real project without new migrations would be. */
const STUB = `#!/bin/sh
if [ -n "\${DEPLOYER_RUN_DIR-}" ]; then
  echo empty > "$DEPLOYER_RUN_DIR/migrations"
  echo collect > "$DEPLOYER_RUN_DIR/static"
fi
echo "$*"
`;

/** Lock, checks, and what the steps have in common. */
const begin = (place) => `set -eu
cd '${place}'
mkdir -p releases shared backups history
exec 9>lock; flock -n 9 || { echo 'another deploy is running' >&2; exit 5; }
for tool in git tar gzip '${PYTHON}'; do command -v "$tool" > /dev/null || { echo "no $tool" >&2; exit 3; }; done
for folder in . releases shared backups; do [ -w "$folder" ] || { echo "$folder is not writable" >&2; exit 3; }; done
[ "$(df -Pk . | awk 'NR == 2 { print $4 }')" -gt 102400 ] || { echo 'no room' >&2; exit 3; }
[ -L current ] || [ ! -e current ] || { echo 'current is no link' >&2; exit 3; }
id=$(date -u +%Y%m%d_%H%M%S_%N)
release=$PWD/releases/$id
switched=no
undo() {
  code=$?
  [ "$code" -ne 0 ] || return 0
  if [ "$switched" = yes ]; then ln -s "$previous" switch/current; mv -f switch/current .; fi
  rm -rf "$release"
  exit "$code"
}
trap undo EXIT
`;

const codeOf = (repository) => `echo '== backup'
if [ -L current ]; then
  previous=$(readlink current)
  tar -czf "backups/$id.part" -C releases --exclude=.venv "\${previous##*/}"
  gzip -t "backups/$id.part" && tar -tzf "backups/$id.part" > /dev/null
  mv "backups/$id.part" "backups/$id.tar.gz"
fi
echo '== code'
[ -d repo.git ] || git init -q --bare repo.git
git -C repo.git fetch -q '${repository}' +main:main
commit=$(git -C repo.git rev-parse main)
echo '== release'
mkdir "$release"
GIT_INDEX_FILE=$PWD/index git --git-dir=repo.git read-tree "$commit"
GIT_INDEX_FILE=$PWD/index git --git-dir=repo.git --work-tree="$release" checkout-index -a -f
echo "$commit" > "$release/REVISION"
echo '== shared'
for name in data media; do mkdir -p "shared/$name"; rm -rf "$release/$name"; ln -s "../../shared/$name" "$release/$name"; done
`;

const end = (restart) => `echo '== activate'
mkdir -p switch; rm -f switch/current
ln -s "releases/$id" switch/current
switched=yes
mv -f switch/current .
echo '== restart'
${restart}
echo "good $(date -u +%Y-%m-%dT%H:%M:%SZ) $commit" > "history/$id"
switched=no
echo '== cleanup'
ls -1d releases/* | sort -r | tail -n +6 | xargs -r rm -rf
ls -1d backups/* | sort -r | tail -n +6 | xargs -r rm -f
`;

/** The work of STUBS.site. */
export const stubbedByHand = (repository, place) => `${begin(place)}
${codeOf(repository)}
ln -s ../../shared/settings.ini "$release/settings.ini"
cd "$release"
echo '== dependencies'
./install
echo '== validate'
.venv/bin/python manage.py check
echo '== migrate: nothing to apply'
echo '== static'
.venv/bin/python manage.py collectstatic --noinput
echo '== boot test'
.venv/bin/python boot.py
cd ../..
${end("( cd current && sh -c 'echo restarted' )")}`;

/** The work of a site with the Django project of the tests, that nothing serves. */
export const djangoByHand = (repository, place) => `export SECRET_KEY=bench
${begin(place)}
${codeOf(repository)}
hash=$(sha256sum < "$release/requirements.txt" | cut -c1-12)
mkdir -p envs
[ -e "envs/$hash/complete" ] || {
  rm -rf "envs/$hash"
  '${PYTHON}' -m venv "envs/$hash"
  "envs/$hash/bin/pip" install -q -r "$release/requirements.txt"
  : > "envs/$hash/complete"
}
ln -s "../../envs/$hash" "$release/.venv"
cd "$release"
echo '== validate'
.venv/bin/python manage.py shell -v0 -c 'from django.core.management import call_command as c; c("check"); c("migrate", plan=True)' > plan
grep -q 'No planned' plan || .venv/bin/python manage.py migrate
echo '== static'
.venv/bin/python manage.py collectstatic --noinput > /dev/null
cd ../..
${end(':')}`;
