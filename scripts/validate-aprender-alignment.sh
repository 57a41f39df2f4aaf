#!/bin/sh
# Compare playbooks and models.csv with the family contracts of aprender.
#
# usage: scripts/validate-aprender-alignment.sh [PATH]
#
# PATH is a checkout of aprender; beside this repository unless given. Exit code 1 when something
# contradicts its contracts, 2 with a notice when it is not there.
set -eu
exec "${APRQA:-aprqa}" align "${1:-../aprender}"
