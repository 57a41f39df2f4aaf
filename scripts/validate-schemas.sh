#!/bin/sh
# Check every certificate, evidence and registry of this repository against its schema.
#
# usage: scripts/validate-schemas.sh [PATH...]
set -eu
if [ "$#" -eq 0 ]; then
  set -- docs/certifications/models.csv
  # Nothing has been certified yet in a new repository.
  [ -z "$(find certifications -name '*.json' 2>/dev/null | head -n 1)" ] || set -- "$@" certifications
fi
exec "${APRQA:-aprqa}" validate "$@"
