#!/bin/bash
# A sweep on a Slurm cluster:  sbatch sweeps/clusters/slurm.sh
#
# To change, these eight lines and nothing else: the nodes, what of each, for how long (sbatch's own options come first), and
# four places that every node can reach (the environment comes first: SWEEP=mine.yaml sbatch …).
#SBATCH --nodes=2
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#
# Five minutes before the time is up the sweep stops cleanly and the job queues again; then, as after scancel or a failure, the
# same command goes on. A worker node that is lost does not end the job: its trials go on elsewhere.
#SBATCH --job-name=kdray
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
SWEEP=${SWEEP:-/shared/kdray/sweep.yaml}
RESULTS=${RESULTS:-/shared/kdray/results}
DATA=${DATA:-/shared/kdray/data}
VENV=${VENV:-/shared/kdray/venv}

set -u
export PATH="$VENV/bin:$PATH"
# Whoever reaches a Ray can run code as its owner, and other users reach these nodes: only who has the token is let in.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]} last=${nodes[-1]} workers=$((${#nodes[@]} - 1))
# The head's address as another node sees it, and a port of the job's own: two jobs may share a node.
ip=$(srun --nodes=1 --ntasks=1 --nodelist="$last" getent ahostsv4 "$head" | awk 'NR == 1 {print $1}')
address=$ip:$((20000 + SLURM_JOB_ID % 10000))

kdray='' again=''
end() {  # however the job ends, the Ray that it started ends with it
    status=$?
    trap '' TERM INT USR1
    jobs -p | xargs -r kill
    wait
    if [ -n "$again" ] && [ "$status" = 130 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
    exit "$status"
}
stop() {  # kdray stops cleanly at SIGTERM, with status 130; as long as it does not run there is nothing to wait for
    if [ -z "$kdray" ]; then exit 130; fi
    kill "$kdray"
}
trap end EXIT
trap stop TERM INT
trap 'again=yes; stop' USR1

start_ray() {  # on so many nodes: an option of srun that says which, then options of ray start
    local number=$1 which=$2
    shift 2
    srun --nodes="$number" --ntasks="$number" "$which" --cpus-per-task="$SLURM_CPUS_PER_TASK" --no-kill --kill-on-bad-exit=0 \
        ray start "$@" --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" \
        --min-worker-port=0 --max-worker-port=0 --disable-usage-stats --block &
}

wait_for_nodes() {  # at most five minutes; kdray counts the nodes once, as it starts
    python - "$address" "$1" <<'END' &
import sys, time, ray
address, wanted, until = sys.argv[1], int(sys.argv[2]), time.monotonic() + 300
while time.monotonic() < until:
    try:
        ray.init(address, log_to_driver=False, logging_level="CRITICAL", ignore_reinit_error=True)
        if sum(node["Alive"] for node in ray.nodes()) >= wanted:
            sys.exit()
    except ConnectionError:
        pass
    time.sleep(1)
sys.exit(f"fewer than {wanted} nodes have joined Ray at {address}")
END
    wait $!
}

start_ray 1 --nodelist="$head" --head --node-ip-address="$ip" --port="${address#*:}" --include-dashboard=false
wait_for_nodes 1 || exit 1
if [ "$workers" -gt 0 ]; then
    start_ray "$workers" --exclude="$head" --address="$address"
    wait_for_nodes $((1 + workers))    # the sweep runs on those that came
fi

kdray run "$SWEEP" --results "$RESULTS" --data "$DATA" --address "$address" &
kdray=$!
while kill -0 "$kdray" 2>/dev/null; do wait "$kdray"; done    # a signal ends wait before kdray ends
wait "$kdray"
