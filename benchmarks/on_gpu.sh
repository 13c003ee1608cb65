#!/bin/sh
# All that needs a GPU, in one script that ends within 9 minutes on one H100 or H200. Before it, where the data are:
#     python -m benchmarks.gpu_pack --out .gpu
# Results go to the folder that is named, or to $OUT. Each part has its own time limit: one that is cut off leaves
# what it has written and the next one starts.
set -u
OUT=${1:-${OUT:-benchmarks/results/gpu}}
PACKED=${PACKED:-.gpu}
MINUTES=${MINUTES:-4}
export PYTHONPATH=. PYTHONUNBUFFERED=1
mkdir -p "$OUT"

part() {  # seconds, name, command
    limit=$1 name=$2
    shift 2
    echo "== $name"
    timeout "$limit" "$@" 2>&1 | tee "$OUT/$name.txt"
}

part 330 training python benchmarks/gpu_training.py --packed "$PACKED" --out "$OUT/fabnet-0" --minutes "$MINUTES" \
    --precision bfloat16 --fused
part 120 speed python benchmarks/train_speed.py --sizes 64 256 --batches 8 32 128 --steps 50
