#!/bin/sh
# Finds a Python that can run aprqa and hands over to it. A bare runner has nothing else of ours yet,
# so this is plain sh; everything after it is Python.
set -eu
# One pipe for both: lines of two pipes may change places, and text between stop-commands must not.
exec 2>&1

fail() {
    echo "::error title=aprqa needs Python 3.11 or newer::$1"
    exit 2
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

here=$(dirname "$0")
if [ -n "${INPUT_PYTHON:-}" ]; then
    new_enough "$INPUT_PYTHON" || fail "The input python names something else; leave it out or mend it."
    exec "$INPUT_PYTHON" -I "$here/bootstrap.py"
fi
for name in python3 python3.14 python3.13 python3.12 python3.11 python \
    "${RUNNER_TOOL_CACHE:-/opt/hostedtoolcache}"/Python/3.1[1-9].*/*/bin/python3; do
    if new_enough "$name"; then
        exec "$name" -I "$here/bootstrap.py"
    fi
done
fail "There is none on this runner. Install one, use actions/setup-python before this step, or name one with the input python."
