#!/usr/bin/env bash
# Two hosts on one machine: namespaces of their own for network, host name, shared memory and processes, joined by a veth pair.
# Starts MPI ranks in both, and can take one of the hosts away while they run.
#
#   hosts.sh [--mpi openmpi|mpich] [--mpirun COMMAND] [--ranks N] [--kill ranks|host|link] [--after TEXT] COMMAND…
#
#   --mpirun      the launcher (mpirun.openmpi or mpirun.mpich)
#   --ranks N     ranks on each host (1)
#   --kill WHAT   once COMMAND has printed TEXT: kill the second host's ranks with SIGKILL, or all its processes, or cut its
#                 network. The first host's ranks must end within 15 s (60 s for the network, which might come back), and
#                 the run must fail.
#   --after TEXT  a line of the output to wait for before killing ("work")
#
# Exits with COMMAND's exit code, or, with --kill, with 0 when the run ended as it must. Needs root, iproute2 and util-linux.
set -uo pipefail

mpi=openmpi mpirun='' ranks=1 kill='' after=work
while [[ ${1:-} == --* ]]; do
  case $1 in
    --mpi) mpi=$2 ;;
    --mpirun) mpirun=$2 ;;
    --ranks) ranks=$2 ;;
    --kill) kill=$2 ;;
    --after) after=$2 ;;
    *) echo "hosts.sh: unknown option $1" >&2 && exit 2 ;;
  esac
  shift 2
done
[[ $# -gt 0 ]] || { echo 'hosts.sh: give a command to run' >&2 && exit 2; }
mpirun=${mpirun:-mpirun.$mpi}
for program in ip unshare nsenter pgrep "$mpirun"; do
  command -v "$program" >/dev/null || { echo "hosts.sh: $program is missing" >&2 && exit 2; }
done

work=$(mktemp -d)
pids=()
# Namespaces and the veth pair go with the last process in them.
trap 'for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$work"' EXIT

printf '127.0.0.1 localhost\n10.77.0.1 first\n10.77.0.2 second\n' >"$work/hosts"

# start NAME UNSHARE_FLAGS…: begins a host; its process is in $work/NAME.pid
start() {
  local name=$1 flags=("${@:2}") setup
  setup="hostname $name && mount --bind $work/hosts /etc/hosts && mount -t tmpfs tmpfs /dev/shm &&
    mount -t sysfs sysfs /sys && ip link set lo up &&
    touch $work/$name.ready && exec sleep infinity"
  unshare --net --uts --ipc --mount "${flags[@]}" bash -c "$setup" 2>"$work/$name.err" &
  local pid=$!
  pids+=("$pid")
  for _ in $(seq 100); do
    [[ -e $work/$name.ready ]] && break
    sleep 0.05
  done
  [[ -e $work/$name.ready ]] ||
    { echo "hosts.sh: cannot make the namespaces of host $name: $(<"$work/$name.err")" >&2 && exit 2; }
  # with a process namespace of its own the host is unshare's child
  [[ " ${flags[*]} " == *' --fork '* ]] && pid=$(pgrep -P "$pid")
  echo "$pid" >"$work/$name.pid"
}

# ranks_of PID: the ranks in the network namespace of a process; they know their number
ranks_of() {
  local entry
  for entry in /proc/[0-9]*; do
    [[ $(readlink "$entry/ns/net" 2>/dev/null) == "$(readlink "/proc/$1/ns/net")" ]] || continue
    tr '\0' '\n' 2>/dev/null <"$entry/environ" | grep -qE '^(OMPI_COMM_WORLD_RANK|PMI_RANK)=' && echo "${entry#/proc/}"
  done
}

# The first host keeps the machine's process numbers, so that the launcher on it can reach the second.
start first
start second --pid --fork --kill-child --mount-proc
first=$(<"$work/first.pid") second=$(<"$work/second.pid")
pids+=("$second")
link=mt$$
ip link add "${link}a" netns "$first" type veth peer name "${link}b" netns "$second" || exit 2
nsenter -t "$first" --net ip address add 10.77.0.1/24 dev "${link}a"
nsenter -t "$first" --net ip link set "${link}a" up
nsenter -t "$second" --net ip address add 10.77.0.2/24 dev "${link}b"
nsenter -t "$second" --net ip link set "${link}b" up
for _ in $(seq 100); do # the carrier takes a moment, and MPI passes over interfaces without one
  [[ $(nsenter -t "$first" --net ip -o link show up | grep -c 'state UP') -ge 1 &&
    $(nsenter -t "$second" --net ip -o link show up | grep -c 'state UP') -ge 1 ]] && break
  sleep 0.05
done

# In the place of ssh: [-x] HOST COMMAND…
cat >"$work/remote" <<EOF
#!/bin/bash
while [[ \$1 == -* ]]; do shift; done
host=\$1 && shift
exec nsenter -t "\$(cat $work/\$host.pid)" --net --uts --ipc --mount --pid --wd="$PWD" -- bash -c "\$*"
EOF
chmod +x "$work/remote"

if [[ $mpi == openmpi ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  launcher=("$mpirun" --oversubscribe --bind-to none --host "first:$ranks,second:$ranks" -np $((2 * ranks))
    --mca plm_rsh_agent "$work/remote" --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24
    -x PATH)
else
  launcher=("$mpirun" -launcher rsh -launcher-exec "$work/remote" -hosts "first:$ranks,second:$ranks"
    -np $((2 * ranks)))
fi

: >"$work/out" >"$work/err"
nsenter -t "$first" --net --uts --ipc --mount --wd="$PWD" -- "${launcher[@]}" "$@" >"$work/out" 2>"$work/err" </dev/null &
run=$!
pids+=("$run")
tail -q -n +1 -f --pid="$run" "$work/out" &
tail -q -n +1 -f --pid="$run" "$work/err" >&2 &

if [[ -n $kill ]]; then
  for _ in $(seq 600); do
    grep -q -- "$after" "$work/out" && break
    sleep 0.1
    kill -0 "$run" 2>/dev/null && continue
    echo "hosts.sh: the run ended before it printed \"$after\"" >&2
    exit 1
  done
  mapfile -t left < <(ranks_of "$first")
  mapfile -t lost < <(ranks_of "$second")
  [[ ${#left[@]} -gt 0 && ${#lost[@]} -gt 0 ]] || { echo 'hosts.sh: a host has no ranks' >&2 && exit 1; }
  began=$(date +%s%N)
  case $kill in
    ranks) kill -KILL "${lost[@]}" ;; # the launcher's daemon lives on
    host) kill -KILL "$second" ;;
    link) nsenter -t "$second" --net ip link set "${link}b" down ;;
    *) echo "hosts.sh: --kill $kill" >&2 && exit 2 ;;
  esac
  patience=$([[ $kill == link ]] && echo 60 || echo 15)
  while kill -0 "${left[@]}" 2>/dev/null; do
    sleep 0.05
    [[ $(date +%s%N) -lt $((began + patience * 1000000000)) ]] && continue
    echo "hosts.sh: the ranks go on $patience s after losing the second host" >&2
    exit 1
  done
  echo "hosts.sh: the ranks ended $((($(date +%s%N) - began) / 1000000)) ms after losing the second host"
  for _ in $(seq 100); do
    kill -0 "$run" 2>/dev/null || break
    sleep 0.1
  done
  if kill -0 "$run" 2>/dev/null; then
    # Open MPI's mpirun waits for the daemon that it cannot reach until TCP gives up.
    [[ $kill == link ]] && echo 'hosts.sh: the launcher waits on' && exit
    echo 'hosts.sh: the launcher waits on although all its ranks ended' >&2
    exit 1
  fi
  wait "$run"
  code=$?
  sleep 0.3 # what tail has not shown yet
  echo "hosts.sh: the launcher ended with $code"
  [[ $code -ne 0 ]]
  exit
fi
wait "$run"
code=$?
sleep 0.3 # what tail has not shown yet
exit "$code"
