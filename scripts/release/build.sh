#!/bin/sh
# build.sh TAG: the wheel of this commit in dist/, if the tag is that of its version.
#
# The same commit gives the same bytes wherever it is built: the files are taken from git, for those of a checkout have
# the modes of its umask, and their time is the commit's.
set -eu
umask 022
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' aprqa_ci/__init__.py)
if [ "$1" != "v$version" ]; then
    echo "the tag is $1 and the version is $version" >&2
    exit 2
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
rm -rf build/source build/venv
mkdir -p build/source
git archive --format=tar --output=build/source.tar HEAD
tar -x --no-same-permissions -f build/source.tar -C build/source
python3 -m venv build/venv
build/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
build/venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist build/source
ls -l dist
