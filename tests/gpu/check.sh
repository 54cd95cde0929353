#!/usr/bin/env bash
# bash check.sh PACK [PYTHON [-- STEP...]]: check recon3d on this machine's GPU with a pack made by pack.py.
# No network, nothing installed, nothing written but a temporary folder, removed at the end, and $OUT.
# Prints one table, line by line. The whole ends within RECON3D_CHECK_SECONDS (460).
# Exit status: 0 all worked on the GPU; 3 all worked, but there is no GPU; 1 something failed; 2 cannot start.
set -u
pack=$(realpath "${1:?usage: bash check.sh PACK [PYTHON]}") || exit 2
python=${2:-python3}
[ "${3:-}" = -- ] && steps=(--only "${@:4}") || steps=()
seconds=${RECON3D_CHECK_SECONDS:-460}
work=$(mktemp -d "${TMPDIR:-/tmp}/recon3d-check-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
mkdir "$work"/{cache,tmp,numba,dask,cuda}

"$python" -I "$pack/unpack.py" "$pack" "$work" || exit 2

export PYTHONPATH="$work/source:$work/site"
export LD_LIBRARY_PATH="$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONNOUSERSITE=1
export TMPDIR="$work/tmp" XDG_CACHE_HOME="$work/cache" XDG_CONFIG_HOME="$work/cache"
export NUMBA_CACHE_DIR="$work/numba" DASK_CONFIG="$work/dask" CUDA_CACHE_PATH="$work/cuda"
cd "$work/source" || exit 2
# No exec: the trap must run.
"$python" -m tests.gpu.check --data "$pack/data" --work "$work" --seconds $((seconds - SECONDS)) "${steps[@]}"
