#!/usr/bin/env bash
# Cars in large aerial scenes: trained on whole images and on tiles, looked at as a whole and in
# tiles; one class, the same number of steps and of images a step.
#
#   run.sh AERIAL_CARS_FOLDER OUT [SEEDS]     (WEIGHTS=file of ImageNet weights, STEPS=600)
#
# OUT gets scenes/, a run folder for each training, and AP of each pair in OUT/table.md. What is
# there already is not done again.
set -euo pipefail
data=$1 out=$2 seeds=${3:-"0 1 2"}
here=$(dirname "$0") steps=${STEPS:-600} batch=8
mkdir -p "$out"
[ -f "$out/scenes/val/instances.json" ] ||
  python "$here/scenes.py" --data="$data" --out="$out/scenes"

train() { # name, seed, flags
  local folder="$out/$1-$2" seed=$2
  shift 2
  [ -f "$folder/finished" ] || {
    # The number of epochs that has so many steps follows from the images that there are.
    local images
    images=$(python "$here/count.py" "coco:$out/scenes/train" "$@")
    local epochs=$((steps * batch / images))
    python -m experiments.train --model=SSD_MobileNet_300 --finest_stride=8 --box_scale=coco \
      --backbone_weights="${WEIGHTS:-imagenet}" --train_data="coco:$out/scenes/train" \
      --run_dir="$folder" --batch_size=$batch --epochs=$((epochs > 0 ? epochs : 1)) \
      --max_boxes=100 --seed="$seed" "$@"
    touch "$folder/finished"
  }
  for tiles in none 512; do
    local report="$folder/judged_$tiles"
    [ -f "$report/metrics.json" ] ||
      python -m experiments.evaluate --run_dir="$folder" --data="coco:$out/scenes/val" \
        --out="$report" --tiles=$tiles
  done
}

for seed in $seeds; do
  train whole "$seed"
  train tiles "$seed" --tiles=512
done
python "$here/table.py" "$out"
