import type { Site } from './config/site.ts';
import { lines, type Script, sh } from './shell.ts';

/**
 * The shell functions that every script of a site may use, and nothing that runs by itself. `lenient`: the release may be
 * one that an older configuration made, so what it lacks is told, and is no failure.
 */
export function prelude(site: Site, { lenient }: { readonly lenient: boolean }): Script {
  return lines(
    lenient ? sh`lenient=1` : sh`lenient=`,
    ANSWERS,
    sh`
      site_environment() {
        ${exports(site)}
      }
      environment_file() {
        ${site.envFile === undefined ? sh`:` : sh`load_environment ${site.envFile}`}
      }
      virtual_environment() {
        VIRTUAL_ENV=$PWD/${site.venv}
        [ -x "$VIRTUAL_ENV/bin/python" ] || missing "there is no virtualenv at $VIRTUAL_ENV" || return 0
        PATH=$VIRTUAL_ENV/bin:$PATH
        export VIRTUAL_ENV PATH
      }
      project() {
        ${project(site)}
      }`,
    site.envFile === undefined ? sh`` : LOAD_ENVIRONMENT,
    IN_RELEASE,
  );
}

const ANSWERS = sh`
  answer() { printf '%s=%s\0' "$1" "$2" >&3; }
  skip() { answer skip "$1"; exit 0; }
  fail() { answer error failed; answer message "$1"; [ $# -lt 2 ] || answer hint "$2"; exit 1; }
  program() { file=$1; shift; "$PYTHON" -BES "$TOOLS/$file" "$@"; }
  missing() { [ -n "$lenient" ] || fail "$@"; answer warning "$1"; return 1; }
  name_of() { name=\${1%"\${1##*[!/]}"}; printf '%s\n' "\${name##*/}"; }
  live() { link=$(readlink current) || return 0; name_of "$link"; }`;

function exports(site: Site): Script {
  const pairs = Object.entries(site.env).map(([name, value]) => sh`export ${`${name}=${value}`}`);
  return pairs.length === 0 ? sh`:` : lines(...pairs);
}

/** Prints the folder of manage.py, relative to the release that is the working directory. */
function project(site: Site): Script {
  if (site.projectPath !== undefined) {
    return sh`
      [ -f ${`${site.projectPath}/manage.py`} ] || fail ${`project_path: there is no manage.py in ${site.projectPath}`}
      printf '%s\n' ${site.projectPath}`;
  }
  return sh`
    if [ -f manage.py ]; then echo .; return; fi
    found=$(find . -maxdepth 4 -name manage.py -type f ! -path '*/node_modules/*' ! -path ${`*/${site.venv}/*`} | sort)
    [ -n "$found" ] || fail 'there is no manage.py in the repository, at its root or down to three folders deep' 'name its folder: project_path: FOLDER'
    [ "$(printf '%s\n' "$found" | wc -l)" -eq 1 ] || fail "several folders hold a manage.py: $(echo $found)" 'name the one to deploy: project_path: FOLDER'
    printf '%s\n' "\${found%/manage.py}"`;
}

/** KEY=VALUE lines, read and never sourced: an optional `export`, one pair of quotes around the value, # comments. */
const LOAD_ENVIRONMENT = sh`
  load_environment() {
    [ -f "$1" ] || missing "env_file: there is no $1 in the release" 'list it under shared_files, or commit it' || return 0
    number=0
    while IFS= read -r line || [ -n "$line" ]; do
      number=$((number + 1))
      line=\${line%"$(printf '\r')"}
      line=\${line#"\${line%%[![:space:]]*}"}
      line=\${line#export }
      case $line in '#'*) continue ;; *=*) ;; *) continue ;; esac
      key=\${line%%=*}
      value=\${line#*=}
      case $key in
        ''|[0-9]*|*[!A-Za-z0-9_]*) answer warning "env_file: line $number is no KEY=VALUE"; continue ;;
        UID|EUID|PPID) continue ;;
      esac
      case $value in
        \"*\"|\'*\') value=\${value#?}; value=\${value%?} ;;
      esac
      case $key in *[a-z]*) name=$(printf %s "$key" | tr a-z A-Z) ;; *) name=$key ;; esac
      case $name in
        *PASSWORD*|*PASSWD*|*PASSPHRASE*|*SECRET*|*TOKEN*|*CREDENTIAL*|*PRIVATE*|*DSN*|*KEY|*KEYS) answer secret "$value" ;;
        PASS|*_PASS|PWD|*_PWD|PW|*_PW|AUTH|*_AUTH) answer secret "$value" ;;
      esac
      export "$key=$value"
    done <"$1"
  }`;

/** `in_release ID . COMMAND…` runs in the release's folder, `in_release ID project COMMAND…` in that of manage.py. */
const IN_RELEASE = sh`
  in_release() (
    cd "releases/$1"
    unset RELEASE RUN TOOLS PYTHON
    environment_file
    site_environment
    virtual_environment
    if [ "$2" = project ]; then place=$(project); else place=$2; fi
    cd "$place"
    shift 2
    exec "$@"
  )
  manage() { id=$1; shift; in_release "$id" project python manage.py "$@"; }
  django() {
    file=$1 id=$2
    shift 2
    in_release "$id" project env DEPLOYER_PROGRAM="$TOOLS/$file" DEPLOYER_RUN_DIR="$RUN" \
      DEPLOYER_DEPLOY_PATH="$PWD" DEPLOYER_RELEASE="$id" "$@" \
      python manage.py shell --verbosity 0 -c 'import os; exec(compile(open(os.environ["DEPLOYER_PROGRAM"]).read(), os.environ["DEPLOYER_PROGRAM"], "exec"))'
  }`;
