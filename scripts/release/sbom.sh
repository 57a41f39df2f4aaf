#!/bin/sh
# sbom.sh: what is installed with the wheel in dist/, as CycloneDX files beside it, one for each lock that people install.
#
# Made of the locks alone, in an environment of its own: nothing of it is there when the wheel is built.
set -eu
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' aprqa_ci/__init__.py)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
mkdir -p build dist
python3 -m venv build/sbom-venv
build/sbom-venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/sbom.txt
# The version is computed from the package, which is not installed here.
sed "s/^dynamic = .*/version = \"$version\"/" pyproject.toml > build/sbom-pyproject.toml
for lock in run hub github attest; do
    build/sbom-venv/bin/cyclonedx-py requirements "requirements/$lock.txt" --pyproject build/sbom-pyproject.toml \
        --mc-type application --output-reproducible --spec-version 1.6 --output-format JSON \
        --output-file "dist/aprqa_ci-$version-$lock.cdx.json"
done
ls -l dist
