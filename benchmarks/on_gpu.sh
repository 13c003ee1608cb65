#!/bin/sh
# All that needs a GPU, in one script that ends within 9 minutes on one H100 or H200. Before it, where the data are:
#     python -m benchmarks.gpu_pack --out .gpu
# and after it, there again: python -m benchmarks.gpu_results FOLDER
# Results go to the folder that is named, or to $OUT. Each part has its own time limit, 505 s in all: one that is cut
# off leaves what it has written, and the next one starts.
set -u
OUT=${1:-${OUT:-benchmarks/results/gpu}}
PACKED=${PACKED:-.gpu}
MINUTES=${MINUTES:-4}
PYTHON=${PYTHON:-python3}
export PYTHONPATH=. PYTHONUNBUFFERED=1
mkdir -p "$OUT"

part() {  # seconds, name, command; a process that outlives its part must not hold the next one up, so no pipe
    limit=$1 name=$2
    shift 2
    echo "== $name" | tee -a "$OUT/log.txt"
    timeout -k 5 "$limit" "$@" >>"$OUT/log.txt" 2>&1 </dev/null
    echo "== $name ended with $?" >>"$OUT/log.txt"
    tail -n 30 "$OUT/log.txt"
}

PARTS="--out $OUT --packed $PACKED"
TESTS=$(grep -rl --include='*.py' 'mark\.gpu' tests/fabnet | sort)  # the others need more than PyTorch
part 60 tests $PYTHON -m pytest -m gpu -v -W default -p no:cacheprovider --noconftest --continue-on-collection-errors $TESTS
part 100 steps $PYTHON benchmarks/gpu_steps.py $PARTS
part 50 loader $PYTHON benchmarks/gpu_loading.py $PARTS
part 270 training $PYTHON benchmarks/gpu_training.py $PARTS --minutes "$MINUTES"
part 25 probe $PYTHON benchmarks/gpu_probe.py $PARTS
