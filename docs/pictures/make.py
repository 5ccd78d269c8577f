"""Makes the pictures of docs/guide.md and docs/guide.ko.md, in both languages.

What they show is computed by the library: default boxes, matching, codes, mining, suppression and
average precision of drawn shapes. Korean needs a font that has Hangul, such as fonts-nanum.

    python docs/pictures/make.py
"""

from pathlib import Path

import numpy as np
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image, ImageDraw

from ssd_keras import boxes, drawing, figures, sheets
from ssd_keras.box_networks.published_anchors import Pyramid, scale_anchors
from ssd_keras.evaluation.voc import average_precision, curve
from ssd_keras.model_table import model_table
from ssd_keras.objectives.mining import hard_negatives

FOLDER = Path(__file__).parent
SIDE = 300
KOREAN = {
    "circle": "원",
    "star": "별",
    "triangle": "삼각형",
    "Classification: what?": "분류: 무엇인가?",
    "Localisation: what and where?": "위치 찾기: 무엇이 어디에?",
    "Detection: each object": "객체 검출: 객체마다",
    "Segmentation: each pixel": "분할: 픽셀마다",
    "Image": "이미지",
    "Core Network": "코어 네트워크",
    "MobileNet, ResNet, ...": "MobileNet, ResNet 등",
    "feature maps": "특징 지도",
    "Box Network": "박스 네트워크",
    "SSD, DSSD, YOLO": "SSD, DSSD, YOLO",
    "Boxes, classes, scores": "상자, 클래스, 점수",
    "{0} x {0} cells, {1} boxes": "{0} x {0} 셀, 상자 {1}개",
    "Default boxes that learn an object": "객체를 배우는 기본 상자",
    "One of them, and its code": "그중 하나와 그 부호",
    "default box": "기본 상자",
    "object": "객체",
    "positives: {0}": "양성: {0}개",
    "hard negatives: {0}": "어려운 음성: {0}개",
    "{0} other default boxes do not count": "나머지 기본 상자 {0}개는 세지 않음",
    "Before suppression: {0}": "억제 전: {0}개",
    "After suppression: {0}": "억제 후: {0}개",
    "SSD: each map predicts for itself": "SSD: 지도마다 따로 예측",
    "DSSD: coarse maps come back": "DSSD: 거친 지도의 정보가 되돌아옴",
    "deconvolution": "디컨볼루션",
    "prediction": "예측",
    "recall": "재현율",
    "precision": "정밀도",
    "average precision {0:.2f}": "평균 정밀도 {0:.2f}",
    "hit": "적중",
    "false": "오검출",
}
ORANGE, BLUE, GREEN, RED = drawing.PALETTE[:4]
CLASSES = ("circle", "star", "triangle")


# --- what is computed


def polygon(points: int, center, radius: float, inner: float = 1.0) -> list[tuple[float, float]]:
    """Corners of a star, or of a regular polygon where `inner` is 1."""
    angles = np.arange(points) * 2 * np.pi / points - np.pi / 2
    radii = np.where(np.arange(points) % 2, radius * inner, radius)
    return [
        (center[0] + r * np.cos(a), center[1] + r * np.sin(a))
        for r, a in zip(radii, angles, strict=True)
    ]


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A picture of a circle, a star and a triangle, and the mask `[3, H, W]` of each."""
    rows = np.linspace(205, 235, SIDE)[:, None, None]
    ground = np.broadcast_to(rows + np.array([-12, 0, 8]), (SIDE, SIDE, 3)).astype(np.uint8)
    shapes = (
        (polygon(64, (105, 165), 68), (196, 104, 84)),
        (polygon(10, (222, 96), 50, 0.45), (92, 120, 168)),
        (polygon(3, (236, 228), 30), (104, 152, 96)),
    )
    picture, masks = Image.fromarray(ground), []
    for corners, color in shapes:
        ImageDraw.Draw(picture).polygon(corners, fill=color)
        mask = Image.new("L", picture.size)
        ImageDraw.Draw(mask).polygon(corners, fill=1)
        masks.append(np.asarray(mask))
    return np.asarray(picture), np.stack(masks)


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """The smallest upright boxes `[N, 4]` around masks `[N, H, W]`, normalised."""
    found = []
    for mask in masks:
        ys, xs = np.nonzero(mask)
        found.append((ys.min(), xs.min(), ys.max() + 1, xs.max() + 1))
    return (np.array(found) / SIDE).astype("float32")


def map_sides(name: str = "SSD_MobileNet_300") -> list[int]:
    """Cells a side of each map of a model, finest first."""
    row = next(row for row in model_table() if row["name"] == name)
    return [int(side) for side in row["maps"].split()]


def levels() -> tuple[boxes.Level, ...]:
    """The default boxes of SSD_MobileNet_300, level by level."""
    sides = map_sides()
    rule = scale_anchors(Pyramid((SIDE, SIDE), len(sides), ()))
    return rule.levels([(side, side) for side in sides], (SIDE, SIDE))


def matches(truth: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Which object each default box learns, or -1."""
    return np.asarray(boxes.match(truth, anchors))


def mined(truth: np.ndarray, anchors: np.ndarray, matched: np.ndarray) -> np.ndarray:
    """The hard negatives of a network that is the surer of an object the more a box overlaps it."""
    loss = np.asarray(boxes.iou(anchors, truth)).max(1)
    return np.asarray(hard_negatives(loss[None], (matched >= 0)[None]))[0]


def half_learned(truth: np.ndarray, anchors: np.ndarray, matched: np.ndarray) -> tuple:
    """Boxes, scores and labels of a network whose codes come half the way to the right ones."""
    positive = np.flatnonzero(matched >= 0)
    wanted, anchors = truth[matched[positive]], anchors[positive]
    found = np.asarray(boxes.decode(0.5 * np.asarray(boxes.encode(wanted, anchors)), anchors))
    scores = np.asarray(boxes.iou_aligned(found, wanted))
    return found, scores, matched[positive]


def suppressed(found: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> tuple:
    """What is left of them after suppression, with the settings of a detector."""
    table = np.zeros((1, len(found), len(CLASSES)), "float32")
    table[0, np.arange(len(found)), labels] = scores
    left = boxes.suppress(found[None], table, xla=False)
    count = int(np.asarray(left["count"])[0])
    return tuple(np.asarray(left[name])[0, :count] for name in ("boxes", "scores", "labels"))


# --- how it is shown


def translator(language: str):
    """From an English text to that of the language, with its numbers."""

    def say(text: str, *numbers) -> str:
        return (KOREAN[text] if language == "ko" else text).format(*numbers)

    return say


def tasks(say) -> np.ndarray:
    """One picture, asked four questions."""
    picture, masks = scene()
    truth, names = boxes_of(masks), [say(name) for name in CLASSES]
    whole = drawing.draw_boxes(picture, [[0, 0, 1, 1]], [0], names)
    one = drawing.draw_boxes(picture, truth[:1], [0], names)
    every = drawing.draw_boxes(picture, truth, range(3), names)
    painted = picture.astype(float)
    for label, mask in enumerate(masks):
        painted[mask > 0] = 0.25 * painted[mask > 0] + 0.75 * np.array(drawing.class_color(label))
    titles = (
        "Classification: what?",
        "Localisation: what and where?",
        "Detection: each object",
        "Segmentation: each pixel",
    )
    columns = [[whole], [one], [every], [painted.astype(np.uint8)]]
    return sheets.grid(columns, [say(title) for title in titles])


def parts(say) -> figures.Figure:
    """A detector: a Core Network and a Box Network."""
    figure = figures.Figure(figsize=(9, 2.1), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 18), ylim=(0, 4))
    axes.set_axis_off()
    picture, masks = scene()
    axes.imshow(picture, extent=(0.2, 3, 0.8, 3.6), aspect="auto", zorder=2)
    found = drawing.draw_boxes(picture, boxes_of(masks), range(3), [say(name) for name in CLASSES])
    axes.imshow(found, extent=(15, 17.8, 0.8, 3.6), aspect="auto", zorder=2)
    for x, color, name, examples in (
        (4.0, BLUE, "Core Network", "MobileNet, ResNet, ..."),
        (11.0, ORANGE, "Box Network", "SSD, DSSD, YOLO"),
    ):
        shape = FancyBboxPatch((x, 1.1), 3, 2.2, boxstyle="round,pad=0.1", fc=rgb(color), ec="k")
        axes.add_patch(shape)
        axes.text(x + 1.5, 2.5, say(name), ha="center", weight="bold")
        axes.text(x + 1.5, 1.6, say(examples), ha="center", fontsize=8)
    for index, side in enumerate((1.8, 1.2, 0.8, 0.5)):
        low = (8.0 + 0.55 * index, 2.2 - side / 2)
        axes.add_patch(Rectangle(low, 0.4, side, fc=rgb(GREEN), ec="k"))
    for start, end in ((3.1, 3.8), (7.2, 7.9), (10.2, 10.8), (14.2, 14.9)):
        axes.annotate("", (end, 2.2), (start, 2.2), arrowprops={"arrowstyle": "->"})
    for x, text in ((1.6, "Image"), (9.1, "feature maps"), (16.4, "Boxes, classes, scores")):
        axes.text(x, 0.2, say(text), ha="center", fontsize=9)
    return figure


def default_boxes(say) -> np.ndarray:
    """The boxes of one cell of four maps, on their grids."""
    picture, columns, titles = scene()[0], [], []
    for level in levels()[:4]:
        side, per_cell = level.map_size[0], len(level.sizes)
        canvas = Image.fromarray(picture)
        draw = ImageDraw.Draw(canvas)
        for line in np.arange(1, side) * SIDE / side:
            draw.line((line, 0, line, SIDE), fill=(170, 170, 170))
            draw.line((0, line, SIDE, line), fill=(170, 170, 170))
        first = (side // 2 * side + side // 2) * per_cell
        shown = boxes.default_boxes([level])[first : first + per_cell]
        nameless = [""] * per_cell
        columns.append(
            [drawing.draw_boxes(canvas, shown, range(per_cell), CLASSES, captions=nameless)]
        )
        titles.append(say("{0} x {0} cells, {1} boxes", side, f"{level.count:,}"))
    return sheets.grid(columns, titles)


def matching(say) -> np.ndarray:
    """Which default boxes learn the objects, and the code of one of them."""
    picture, masks = scene()
    truth, anchors = boxes_of(masks), boxes.default_boxes(levels())
    matched, names = matches(truth, anchors), [say(name) for name in CLASSES]
    left = drawing.matched_boxes(enlarged(picture), truth, range(3), names, anchors, matched)
    overlap = np.where(matched == 1, np.asarray(boxes.iou(truth[1:2], anchors))[0], 0)
    chosen = int(overlap.argmax())
    code = np.asarray(boxes.encode(truth[1:2], anchors[chosen : chosen + 1]))[0]
    pair = np.stack([truth[1], anchors[chosen]])
    right = drawing.draw_boxes(
        enlarged(picture),
        pair,
        [0, 1],
        names,
        colors=[RED, BLUE],
        captions=[say("object"), say("default box")],
    )
    numbers = ", ".join(
        f"{n} {v:+.2f}" for n, v in zip(("dy", "dx", "dh", "dw"), code, strict=True)
    )
    titles = (
        say("Default boxes that learn an object"),
        f"{say('One of them, and its code')}: {numbers}",
    )
    return sheets.grid([[left], [right]], titles)


def negatives(say) -> np.ndarray:
    """The negatives that count, three for each positive."""
    picture, masks = scene()
    truth, anchors = boxes_of(masks), boxes.default_boxes(levels())
    matched = matches(truth, anchors)
    hard = mined(truth, anchors, matched)
    panels = []
    for chosen, color in ((matched >= 0, GREEN), (hard, RED)):
        canvas = Image.fromarray(enlarged(picture))
        for box in anchors[chosen]:
            corners = [float(c) * canvas.width for c in (box[1], box[0], box[3], box[2])]
            ImageDraw.Draw(canvas).rectangle(corners, outline=color)
        panels.append([np.asarray(canvas)])
    counts = (matched >= 0).sum(), hard.sum()
    rest = say("{0} other default boxes do not count", f"{len(anchors) - sum(counts):,}")
    titles = (say("positives: {0}", counts[0]), f"{say('hard negatives: {0}', counts[1])}; {rest}")
    return sheets.grid(panels, titles)


def suppression(say) -> np.ndarray:
    """Boxes of a half-trained network, and those that are left."""
    picture, masks = scene()
    truth, anchors = boxes_of(masks), boxes.default_boxes(levels())
    before = half_learned(truth, anchors, matches(truth, anchors))
    after = suppressed(*before)
    names = [say(name) for name in CLASSES]
    first = drawing.draw_boxes(
        enlarged(picture), before[0], before[2], names, captions=[""] * len(before[0])
    )
    second = drawing.draw_boxes(enlarged(picture), after[0], after[2], names, after[1])
    titles = (
        say("Before suppression: {0}", len(before[0])),
        say("After suppression: {0}", len(after[0])),
    )
    return sheets.grid([[first], [second]], titles)


def decoder(say) -> figures.Figure:
    """The maps of SSD and of DSSD, and where they predict from."""
    figure = figures.Figure(figsize=(9.5, 4.2), dpi=100, layout="constrained")
    sides = map_sides()
    titles = ("SSD: each map predicts for itself", "DSSD: coarse maps come back")
    for axes, title, back in zip(figure.subplots(1, 2), titles, (False, True), strict=True):
        axes.set(xlim=(-0.8, 7.2), ylim=(-2.6, 7.5), title=say(title))
        axes.set_axis_off()
        for index, side in enumerate(sides):
            height, last = side**0.5, index == len(sides) - 1
            column(axes, index, 4.5, height, BLUE, str(side))
            foot = 4.5 - height / 2
            if index:
                arrow(axes, (index - 0.75, 4.5), (index - 0.25, 4.5))
            # The coarsest map is predicted from as it is.
            if back and not last:
                column(axes, index, 0.2, height * 0.55, GREEN, "")
                arrow(axes, (index, foot - 0.1), (index, 0.2 + height * 0.275 + 0.05))
                start = (index + 0.75, 0.2) if index < len(sides) - 2 else (index + 0.9, foot)
                arrow(axes, start, (index + 0.25, 0.2), GREEN)
                foot = 0.2 - height * 0.275
            arrow(axes, (index, foot - 0.1), (index, -1.7), ORANGE)
        axes.text(2.5, -2.3, say("prediction"), ha="center", color=rgb(RED))
        if back:
            axes.text(5.15, 0.9, say("deconvolution"), fontsize=9, color=rgb(GREEN))
    return figure


def precision(say) -> figures.Figure:
    """Average precision of six detections of four objects."""
    hits = np.array([True, True, False, True, False, False])
    recall, precisions = curve(hits, 4)
    area = average_precision(recall, precisions, "all_point")
    figure = figures.Figure(figsize=(5.6, 3.4), dpi=100, layout="constrained")
    axes = figure.subplots()
    best = np.maximum.accumulate(precisions[::-1])[::-1]
    axes.fill_between([0, *recall], [best[0], *best], step="pre", color=rgb(BLUE), alpha=0.35)
    for number, (hit, x, y) in enumerate(zip(hits, recall, precisions, strict=True), start=1):
        axes.plot(x, y, "o" if hit else "x", color=rgb(GREEN if hit else RED))
        axes.annotate(
            f"{number} {say('hit' if hit else 'false')}", (x, y), (6, 3), textcoords="offset points"
        )
    axes.set(xlim=(0, 1.05), ylim=(0, 1.1), xlabel=say("recall"), ylabel=say("precision"))
    axes.set_title(say("average precision {0:.2f}", area))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def column(axes, x: float, middle: float, height: float, color, text: str) -> None:
    """A map, seen from its side."""
    low = (x - 0.2, middle - height / 2)
    axes.add_patch(Rectangle(low, 0.4, height, fc=rgb(color), ec="k"))
    axes.text(x, middle + height / 2 + 0.15, text, ha="center", fontsize=9)


def arrow(axes, start, end, color=(60, 60, 60)) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": rgb(color)})


def rgb(color) -> tuple[float, ...]:
    """A colour for matplotlib."""
    return tuple(part / 255 for part in color)


def enlarged(picture: np.ndarray) -> np.ndarray:
    return sheets.fit(picture, 420, max_width=420)


PICTURES = {
    "tasks": tasks,
    "parts": parts,
    "default_boxes": default_boxes,
    "matching": matching,
    "negatives": negatives,
    "suppression": suppression,
    "decoder": decoder,
    "precision": precision,
}


def main() -> None:
    for name, make in PICTURES.items():
        for language in ("en", "ko"):
            path = figures.save(make(translator(language)), FOLDER / f"{name}.{language}.png")
            Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
            print(path.relative_to(FOLDER.parent), path.stat().st_size)


if __name__ == "__main__":
    main()
