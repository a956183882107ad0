#!/bin/sh
# Gives Git the user and the password of a repository: as GIT_ASKPASS (`askpass.sh "Password for 'https://host': "`) and
# as a credential helper (`askpass.sh get`), which Git asks first: the prompt of an askpass names the user in its argv,
# and a token may stand in the user's place. Nothing is given to another host, to which a server might redirect.
case ${1-} in
  get)
    host=
    while IFS= read -r line && [ -n "$line" ]; do
      case $line in host=*) host=${line#host=} ;; esac
    done
    [ "$host" = "${DEPLOYER_GIT_HOST-}" ] || exit 0
    printf 'username=%s\npassword=%s\n' "${DEPLOYER_GIT_USER-}" "${DEPLOYER_GIT_PASSWORD-}"
    ;;
  *"//${DEPLOYER_GIT_HOST-}': " | *"@${DEPLOYER_GIT_HOST-}': ")
    case $1 in
      Username*) printf '%s\n' "${DEPLOYER_GIT_USER-}" ;;
      Password*) printf '%s\n' "${DEPLOYER_GIT_PASSWORD-}" ;;
    esac
    ;;
esac
