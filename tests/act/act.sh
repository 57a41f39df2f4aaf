#!/usr/bin/env bash
# act.sh RESULTDIR REPO [act arguments...]
#
# One hermetic, offline run of a workflow of REPO (a git working tree) with `act` in host mode.
#   act.sh out/run1 path/to/repo push -W .github/workflows/ci.yml --json
#
# RESULTDIR is emptied first and then holds: log (act's output), rc (exit status), artifacts/ (of the stub actions),
# gh/ (what answers for GitHub leaves), work/. The exit status is act's; 124 = ACT_TIMEOUT struck (act has no job
# timeout of its own); 2 = wrong use.
#
# Environment (all optional):
#   ACT            the act program (default: act from PATH)
#   ACT_MAP        what remote names mean: owner/repo@ref=DIR entries, blank between them ("." = REPO; no blanks in DIR)
#   ACT_TIMEOUT    seconds for the whole run (300)
#   STUB_PYTHON    the Python that the setup-python stub offers (default: pythonX.Y, then python3)
#   STUB_REPOS     JSON {"owner/name": "path of a git repository"} for the checkout stub
#   SEED           folder whose content the artifacts of the run begin with
#   GH_REPO RUN_ID RUN_ATTEMPT  github.repository (octo/consumer), github.run_id (42), github.run_attempt (1)
#   FAKE_GITHUB    command that serves GitHub's API: it gets the folder RESULTDIR/gh as its last argument and must write
#                  the port it listens on to RESULTDIR/gh/port; without it nobody answers
#   NETNS=0        do not isolate the network
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -ge 2 ] || { sed -n '2,4p' "${BASH_SOURCE[0]}" >&2; exit 2; }

# 1. Loopback-only network namespace: nothing can leave this machine. `unshare -n` needs root, `-rn` a user namespace.
if [ "${NETNS:-1}" = 1 ]; then
  for flags in -n -rn; do
    if unshare "$flags" true 2>/dev/null; then
      NETNS=up exec unshare "$flags" bash "${BASH_SOURCE[0]}" "$@"
    fi
  done
  echo "act.sh: no network namespaces here, running without" >&2
elif [ "${NETNS:-1}" = up ]; then                    # bring the loopback interface up (SIOCSIFFLAGS, IFF_UP | IFF_RUNNING)
  python3 -c 'import fcntl,socket,struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))'
fi

repo=$(cd "$2" && pwd)
if [ -d "$1" ] && [ -n "$(ls -A "$1")" ] && [ ! -e "$1/.act-run" ]; then
  echo "act.sh: $1 is not empty and not the result of an earlier run" >&2
  exit 2
fi
rm -rf "$1"
mkdir -p "$1"
res=$(cd "$1" && pwd)
touch "$res/.act-run"
mkdir "$res"/{art,cache,work,home,gh,artifacts}
shift 2
run_id=${RUN_ID:-42}
if [ -n "${SEED:-}" ]; then
  cp -r "$SEED" "$res/artifacts/$run_id"
fi

# 2. The double of GitHub, if one is wanted.
url=http://127.0.0.1:9
if [ -n "${FAKE_GITHUB:-}" ]; then
  # shellcheck disable=SC2086 # a command line
  $FAKE_GITHUB "$res/gh" > "$res/gh/log" 2>&1 &
  fake=$!
  trap 'kill $fake 2>/dev/null || true' EXIT
  for _ in $(seq 1000); do
    [ -s "$res/gh/port" ] && break
    kill -0 $fake 2>/dev/null || { echo "act.sh: the double of GitHub did not start" >&2; cat "$res/gh/log" >&2; exit 2; }
    sleep 0.02
  done
  url=http://127.0.0.1:$(cat "$res/gh/port")
fi
port=$(python3 -c 'import socket;s=socket.socket();s.bind(("127.0.0.1",0));print(s.getsockname()[1])')

# 3. Names that need no network: ACT_MAP, and every actions/NAME@REF that the YAML files mention -> the stub of that
#    NAME. One that has no stub cannot be fetched, and a run that reaches it fails.
map=()
scanned=("$repo")
for entry in ${ACT_MAP:-}; do
  dir=${entry#*=}
  [ "$dir" = . ] && dir=$repo
  map+=(--local-repository "${entry%%=*}=$(cd "$dir" && pwd)")
  scanned+=("$dir")
done
stubs=$res/stubs
mkdir "$stubs"
for stub in "$here"/stubs/*/; do
  cp -r "$stub" "$here/stubs/lib.js" "$stubs/"
  cp "$here/stubs/lib.js" "$stubs/$(basename "$stub")/"
done
while IFS= read -r ref; do
  name=${ref#actions/}
  name=${name%%[@/]*}
  [ -d "$stubs/$name" ] && map+=(--local-repository "actions/$name@${ref##*@}=$stubs/$name")
done < <({ grep -rhoE '\bactions/[A-Za-z0-9_.-]+(/[A-Za-z0-9_./-]+)?@[A-Za-z0-9_./-]+' \
             --include='*.yml' --include='*.yaml' --exclude-dir=node_modules --exclude-dir=.venv --exclude-dir=.cache \
             "${scanned[@]}" || true; } | sort -u)

# 4. Run. The whole environment of the caller would reach the steps in host mode: HOME is ours.
rc=0
env -u GITHUB_TOKEN -u GH_TOKEN \
  ACT_DISABLE_VERSION_CHECK=1 XDG_CONFIG_HOME="$res/home/.config" NO_COLOR=1 \
timeout -k 10 "${ACT_TIMEOUT:-300}" "${ACT:-act}" -C "$repo" "$@" \
  -P ubuntu-latest=-self-hosted -P ubuntu-24.04=-self-hosted -P self-hosted=-self-hosted \
  "${map[@]}" \
  --action-offline-mode --pull=false --rm --action-cache-path "$res/work" \
  --artifact-server-path "$res/art" --artifact-server-addr 127.0.0.1 --artifact-server-port "$port" \
  --cache-server-path "$res/cache" --cache-server-addr 127.0.0.1 \
  --env HOME="$res/home" --env STUB_ARTIFACTS="$res/artifacts" --env GITHUB_REPOSITORY="${GH_REPO:-octo/consumer}" \
  --env GITHUB_API_URL="$url" --env GITHUB_GRAPHQL_URL="$url/graphql" \
  --env GITHUB_RUN_ID="$run_id" --env GITHUB_RUN_NUMBER=7 --env GITHUB_RUN_ATTEMPT="${RUN_ATTEMPT:-1}" \
  -s GITHUB_TOKEN=ghs_fake_token_for_tests --defaultbranch main --actor octocat \
  --env-file /dev/null --secret-file /dev/null --var-file /dev/null --input-file /dev/null \
  > "$res/log" 2>&1 < /dev/null || rc=$?
echo "$rc" > "$res/rc"
exit $rc
