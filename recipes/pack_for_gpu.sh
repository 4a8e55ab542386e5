#!/bin/sh
# Packs what recipes/timed_training.py imports beside PyTorch, for a machine
# that reaches no package registry:
#
#   sh recipes/pack_for_gpu.sh carried.tar.gz [PACK]
#
# There, in a copy of this checkout, with carried.tar.gz and the data pack:
#
#   mkdir site && tar xzf carried.tar.gz -C site
#   PYTHONPATH=.:site python3 recipes/timed_training.py RECIPE.yaml \
#       --pack PACK --time_limit 600 --output_folder OUT
#
# That machine needs Linux on x86-64 and a Python (PYTHON_VERSION, 3.12) with
# torch, torchaudio, numpy and scipy. Checkout, packages and data together must
# not exceed LIMIT_MIB (64).
set -eu

archive=${1:?give the archive to write}
data=${2:-}
limit=${LIMIT_MIB:-64}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The versions that are installed here, with which it can be rehearsed.
wanted=$(python3 - <<'END'
from importlib.metadata import version

for name in """
    speechbrain HyperPyYAML ruamel.yaml PyYAML soundfile cffi pycparser
    sentencepiece huggingface_hub packaging filelock tqdm tabulate
    typing_extensions
""".split():
    print(f"{name}=={version(name)}")
END
)
platforms=
for name in 2_28 2_27 2_26 2_24 2_17 2_12 2_5; do
    platforms="$platforms --platform manylinux_${name}_x86_64"
done
# shellcheck disable=SC2086  # several words
python3 -m pip install --quiet --no-deps --no-compile --target "$folder" \
    --only-binary=:all: --implementation cp \
    --python-version "${PYTHON_VERSION:-3.12}" $platforms \
    --platform manylinux2014_x86_64 --platform manylinux1_x86_64 $wanted
rm -rf "$folder/bin"
tar czf "$archive" -C "$folder" .

total=0
for path in "$archive" ${data:+"$data"} $(git ls-files 2>/dev/null); do
    size=$(du -skL "$path")
    total=$((total + ${size%%[!0-9]*}))
done
total=$((total / 1024))
echo "Checkout, packages and data: $total MiB of $limit."
if [ "$total" -gt "$limit" ]; then
    echo "Error: too large; make the data smaller, or raise LIMIT_MIB." >&2
    exit 1
fi
