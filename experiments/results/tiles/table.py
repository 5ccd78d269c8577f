"""A table of what run.sh measured, mean and range over seeds: table.py OUT, which it writes too."""

import json
import sys
from pathlib import Path

COLUMNS = {
    "AP50": ("voc", "ap50"),
    "AP": ("coco", "AP"),
    "AP small": ("coco", "APs"),
    "AP medium": ("coco", "APm"),
}
WHOLE = {"whole": "whole scenes", "tiles": "tiles"}


def measured(out: Path) -> dict[tuple[str, str], list[dict]]:
    """Metrics of all seeds, by how was trained and how was looked."""
    found = {}
    for path in sorted(out.glob("*-*/judged_*/metrics.json")):
        trained = path.parts[-3].partition("-")[0]
        looked = "whole" if path.parts[-2].endswith("none") else "tiles"
        found.setdefault((trained, looked), []).append(json.loads(path.read_text()))
    return found


def cell(metrics: list[dict], place: tuple[str, str]) -> str:
    """Mean (least-most) of a number."""
    values = [of[place[0]][place[1]] for of in metrics]
    return f"{sum(values) / len(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def main():
    """Prints the table and writes it to table.md."""
    out = Path(sys.argv[1])
    found = measured(out)
    lines = [
        f"| trained on | looked at | seeds | {' | '.join(COLUMNS)} |",
        "|---" * (3 + len(COLUMNS)) + "|",
    ]
    for (trained, looked), metrics in sorted(found.items(), reverse=True):
        cells = [cell(metrics, place) for place in COLUMNS.values()]
        what = f"{WHOLE[trained]} | {WHOLE[looked]} | {len(metrics)}"
        lines.append(f"| {what} | {' | '.join(cells)} |")
    counts = {(of["images"], of["objects"]) for metrics in found.values() for of in metrics}
    ((images, objects),) = counts
    lines += ["", f"Each number is measured on {images} scenes with {objects:,} objects."]
    text = "\n".join(lines) + "\n"
    (out / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
