"""Small data sets that the tests write."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

VOC_OBJECT = (
    "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{xmin}</xmin>"
    "<ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
)


def picture(path: Path, *, width=64, height=48, seed=0, mode="RGB", **options) -> Path:
    """Writes an image of smooth noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    small.resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(path, **options)
    return path


def voc_object(name="cat", box=(5, 6, 30, 40), difficult=0) -> str:
    """An <object> with `box` (xmin, ymin, xmax, ymax) as VOC writes it."""
    xmin, ymin, xmax, ymax = box
    return VOC_OBJECT.format(
        name=name, difficult=difficult, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax
    )


def voc_image(
    root: Path, stem: str, objects="", *, size=(64, 48), extension=".jpg", annotation=None, **image
) -> Path:
    """Adds an image and its annotation to a VOC folder; returns the annotation's path."""
    picture(root / "JPEGImages" / f"{stem}{extension}", **image)
    path = root / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = (
        "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    )
    text = f"<annotation><filename>{stem}{extension}</filename>{stated}{objects}</annotation>"
    path.write_text(text if annotation is None else annotation)
    return path


def coco(root: Path, *, images=None, annotations=None, categories=None) -> Path:
    """Writes a COCO folder of two images with an object each, or what is given instead."""
    for index in range(2):
        picture(root / "images" / f"{index}.jpg", seed=index)
    content = {
        "images": images
        or [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(2)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 7, "bbox": [4, 5, 20, 30], "iscrowd": 0}
            for i in range(2)
        ]
        + (annotations or []),
        "categories": categories or [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
    (root / "instances.json").write_text(json.dumps(content))
    return root


def as_coco(source, root: Path) -> str:
    """A source written as COCO, boxes in pixels; the images stay where they are."""
    root.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index, truth in enumerate(source.ground_truth()):
        images.append(
            {"id": index, "file_name": truth.path, "width": truth.width, "height": truth.height}
        )
        scale = np.array([truth.height, truth.width] * 2)
        for label, box in zip(truth.labels, np.round(truth.boxes * scale), strict=True):
            ymin, xmin, ymax, xmax = (float(v) for v in box)
            bbox = [xmin, ymin, xmax - xmin, ymax - ymin]
            annotations.append({"image_id": index, "category_id": int(label), "bbox": bbox})
    categories = [{"id": i, "name": name} for i, name in enumerate(source.classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))
    return f"coco:{root}"


def as_yolo(source, root: Path) -> str:
    """A source written as YOLO with a data.yaml, images linked into it."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "labels").mkdir()
    for truth in source.ground_truth():
        path = Path(truth.path)
        (root / "images" / path.name).symlink_to(path)
        boxes = truth.boxes.astype(np.float64)
        centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        lines = [
            f"{label} {c[1]:.17g} {c[0]:.17g} {s[1]:.17g} {s[0]:.17g}\n"
            for label, c, s in zip(truth.labels, centre, size, strict=True)
        ]
        (root / "labels" / f"{path.stem}.txt").write_text("".join(lines))
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(source.classes))
    (root / "data.yaml").write_text(f"train: images  # all of them\nnames:\n{names}")
    return f"yolo:{root}"


def as_csv(source, root: Path) -> str:
    """A source written as CSV, boxes in pixels."""
    root.mkdir(parents=True, exist_ok=True)
    lines = ["filename,xmin,ymin,xmax,ymax,class,difficult\n"]
    for truth in source.ground_truth():
        scale = np.array([truth.height, truth.width] * 2)
        for label, box, hard in zip(
            truth.labels, np.round(truth.boxes * scale), truth.difficult, strict=True
        ):
            ymin, xmin, ymax, xmax = (int(v) for v in box)
            name = source.classes[label]
            lines.append(f"{truth.path},{xmin},{ymin},{xmax},{ymax},{name},{int(hard)}\n")
    (root / "boxes.csv").write_text("".join(lines))
    return f"csv:{root}/boxes.csv"
