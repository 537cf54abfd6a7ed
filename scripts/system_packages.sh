#!/bin/sh
# Debian packages that qdq can use: installed when root, else named. Never uses sudo.
#   bubblewrap   the server's sandbox
#   libatomic1   Qualcomm's libQnnSystem.so, which the extra [qnn] brings, is linked against it
set -u
missing=
command -v bwrap >/dev/null 2>&1 || missing="$missing bubblewrap"
if [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ]; then
    ldconfig -p 2>/dev/null | grep -q 'libatomic\.so\.1' || missing="$missing libatomic1"
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq >/dev/null 2>&1
    # shellcheck disable=SC2086
    apt-get install -y -qq $missing >/dev/null 2>&1 && exit 0
fi
echo "Not found:$missing. Without bubblewrap stages run in plain child processes, without libatomic1" >&2
echo "no QNN target works; 'qdq doctor' tells." >&2
exit 0
