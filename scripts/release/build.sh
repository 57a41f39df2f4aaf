#!/bin/sh
# build.sh TAG: the wheel of this tree in dist/, if the tag is that of its version.
set -eu
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' aprqa_ci/__init__.py)
if [ "$1" != "v$version" ]; then
    echo "the tag is $1 and the version is $version" >&2
    exit 2
fi
python3 -m venv build/venv
build/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
build/venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
ls -l dist
