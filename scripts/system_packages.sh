#!/bin/sh
# Debian packages that the server can use: installed when root, else named. Never uses sudo.
set -u
command -v bwrap >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq >/dev/null 2>&1
    apt-get install -y -qq bubblewrap >/dev/null 2>&1 && exit 0
fi
echo "Not found: bubblewrap. Without it stages run in plain child processes; 'qdq doctor' tells." >&2
exit 0
