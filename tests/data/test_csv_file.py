"""CSV as tools and people write it."""

import numpy as np
import pytest

from ssd_keras import data
from ssd_keras.data import verdict
from ssd_keras.errors import UserError
from tests.data import samples

SIZE = np.array([48, 64, 48, 64])
# The box of all of these: xmin 8, ymin 6, xmax 40, ymax 30 in an image of 64x48.
BOX = [6, 8, 30, 40]
SHARES = "0.125,0.125,0.625,0.625"  # xmin, ymin, xmax, ymax


@pytest.fixture
def read(tmp_path):
    """Writes a.jpg to c.jpg and a file of the text, and reads it."""

    def read(text, *, options="", split="", name="boxes.csv", encoding="utf-8", classes=None):
        for seed, stem in enumerate("abc"):
            samples.picture(tmp_path / f"{stem}.jpg", seed=seed)
        content = text if isinstance(text, bytes) else text.encode(encoding)
        (tmp_path / name).write_bytes(content)
        spec = f"csv:{tmp_path}/{name}{options}" + (f"#{split}" if split else "")
        return data.load_source(spec, classes)

    return read


def pixels(source, index=0):
    return (source.ground_truth()[index].boxes * SIZE).round(3).tolist()


def kinds(source):
    return [p.kind for p in source.problems]


HEADERS = {
    "plain": ("image,xmin,ymin,xmax,ymax,class", "a.jpg,8,6,40,30,cat"),
    "Udacity": ("frame,xmin,xmax,ymin,ymax,class_id", "a.jpg,8,40,6,30,cat"),
    "Udacity, CrowdAI": (
        "xmin,ymin,xmax,ymax,Frame,Label,Preview URL",
        "8,6,40,30,a.jpg,cat,http://x/y",
    ),
    "TF tutorials": (
        "filename,width,height,class,xmin,ymin,xmax,ymax",
        "a.jpg,64,48,cat,8,6,40,30",
    ),
    "TF tutorials of another size": (
        "filename,width,height,class,xmin,ymin,xmax,ymax",
        "a.jpg,128,96,cat,16,12,80,60",
    ),
    "Open Images": (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
        "IsDepiction,IsInside",
        "a,xclick,cat,1,0.125,0.625,0.125,0.625,0,0,0,0,0",
    ),
    "Kaggle": ("image_id,width,height,bbox,source,class", 'a,64,48,"[8.0, 6.0, 32.0, 24.0]",x,cat'),
    "Kaggle with sizes named": ("image_id,bbox_xywh,label", 'a,"[8, 6, 32, 24]",cat'),
    "corners in a cell": ("image_id,bbox_xyxy,label", 'a.jpg,"8 6 40 30",cat'),
    "VinBigData": (
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max",
        "a,cat,3,R1,8,6,40,30",
    ),
    "centre": ("image,x_center,y_center,width,height,label", "a.jpg,24,18,32,24,cat"),
    "centre and the image": (
        "image,image_width,image_height,label,x_center,y_center,width,height",
        "a.jpg,64,48,cat,24,18,32,24",
    ),
    "centre, w, h and the image": (
        "image,width,height,label,cx,cy,w,h",
        "a.jpg,64,48,cat,24,18,32,24",
    ),
    "sizes": ("image,x,y,w,h,class", "a.jpg,8,6,32,24,cat"),
    "sizes of a box": ("image,x,y,width,height,class", "a.jpg,8,6,32,24,cat"),
    "bbox_x": ("image_name,bbox_x,bbox_y,bbox_width,bbox_height,category", "a.jpg,8,6,32,24,cat"),
    "xmin and sizes": ("image,xmin,ymin,width,height,class", "a.jpg,8,6,32,24,cat"),
    "left, top": ("image,left,top,width,height,class", "a.jpg,8,6,32,24,cat"),
    "left, right": ("image,left,top,right,bottom,class", "a.jpg,8,6,40,30,cat"),
    "x1 to x2": ("img_path,x1,y1,x2,y2,class_name", "a.jpg,8,6,40,30,cat"),
    "x0 to x1": ("image,x0,y0,x1,y1,class", "a.jpg,8,6,40,30,cat"),
    "GTSRB": (
        "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId",
        "a.jpg;64;48;8;6;40;30;cat",
    ),
    "LISA": (
        "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;"
        "Lower right corner Y;Occluded,On another road;Origin file",
        "a.jpg;cat;8;6;40;30;0,0;x.avi",
    ),
    "name before number": (
        "image,xmin,ymin,xmax,ymax,class_id,class_name",
        "a.jpg,8,6,40,30,7,cat",
    ),
    "an index of pandas": (",image,xmin,ymin,xmax,ymax,class", "0,a.jpg,8,6,40,30,cat"),
    "upper case and blanks": (" Image , X Min,Y Min,X Max,Y Max , Class ", "a.jpg,8,6,40,30,cat"),
    "a comment": ("# image,xmin,ymin,xmax,ymax,class", "a.jpg,8,6,40,30,cat"),
    "quotes": ('"image","xmin","ymin","xmax","ymax","class"', '"a.jpg","8","6","40","30","cat"'),
    "bars": ("image|xmin|ymin|xmax|ymax|class", "a.jpg|8|6|40|30|cat"),
    "tabs": ("image\txmin\tymin\txmax\tymax\tclass", "a.jpg\t8\t6\t40\t30\tcat"),
    "Excel's sep": ("sep=;\nimage;xmin;ymin;xmax;ymax;class", "a.jpg;8;6;40;30;cat"),
    "decimal commas": ("image;xmin;ymin;xmax;ymax;class", "a.jpg;8,0;6,0;40,00;30,0;cat"),
    # The first box is no size: it would leave its image.
    "no header": ("a.jpg,30,6,40,30,cat", "a.jpg,8,6,40,30,cat"),
    "no header and semicolons": ("a.jpg;30;6;40;30;cat", "a.jpg;8;6;40;30;cat"),
    "no header and decimal commas": ("b.jpg;30,5;6;40,5;30;cat", "b.jpg;8,0;6,0;40,0;30,0;cat"),
    "numbers of pandas": ("0,1,2,3,4,5", "a.jpg,30,6,40,30,cat\na.jpg,8,6,40,30,cat"),
    "AutoML": ("TRAIN,gs://bucket/x/a.jpg,cat,0.125,0.125,,,0.625,0.625,,", ""),
    "AutoML of eight corners": (
        "UNASSIGNED,gs://bucket/a.jpg,cat,0.125,0.125,0.625,0.125,0.625,0.625,0.125,0.625",
        "",
    ),
    "Vertex AI": ("training,gs://bucket/x/a.jpg,cat,0.125,0.125,,,0.625,0.625,,", ""),
    "marks in words": (
        "image,xmin,ymin,xmax,ymax,class,difficult,iscrowd,is_group_of",
        "a.jpg,8,6,40,30,cat,No,FALSE,-1",
    ),
    "a path of Windows": ("image,xmin,ymin,xmax,ymax,class", "C:\\photos\\a.jpg,8,6,40,30,cat"),
    "a path of another machine": ("image,xmin,ymin,xmax,ymax,class", "/home/x/a.jpg,8,6,40,30,cat"),
    "another case": ("image,xmin,ymin,xmax,ymax,class", "A.JPG,8,6,40,30,cat"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_columns_are_found_by_their_names(read, name):
    source = read("\n".join(HEADERS[name]))
    assert source.classes == ("cat",)
    assert pixels(source)[-1] == BOX
    assert not [p for p in source.problems if p.action in ("left out", "refused")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n\r\n"])
def test_encodings_and_ends_of_lines(read, encoding, end):
    text = "image,xmin,ymin,xmax,ymax,class", "a.jpg,8,6,40,30,cat", "b.jpg,8,6,40,30,개", ""
    source = read(end.join(text), encoding=encoding)
    assert source.classes == ("cat", "개")
    assert [pixels(source, i) for i in range(2)] == [[BOX], [BOX]]


VIA = (
    "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    "region_attributes\n"
)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ('{"name":"rect","x":8,"y":6,"width":32,"height":24}', BOX),
        ('{"name":"polygon","all_points_x":[8,40,20],"all_points_y":[30,10,6]}', BOX),
        ('{"name":"circle","cx":20,"cy":20,"r":4}', [16, 16, 24, 24]),
        ('{"name":"ellipse","cx":20,"cy":20,"rx":4,"ry":2}', [18, 16, 22, 24]),
    ],
)
@pytest.mark.parametrize(
    "attributes", ['{"class":"cat"}', '{"animal":"cat"}', '{"type":{"cat":true}}']
)
def test_regions_of_via(read, shape, expected, attributes):
    cells = [cell.replace('"', '""') for cell in (shape, attributes)]
    source = read(
        f'{VIA}a.jpg,1,"{{}}",1,0,"{cells[0]}","{cells[1]}"\nb.jpg,1,"{{}}",0,0,"{{}}","{{}}"\n'
    )
    assert source.classes == ("cat",)
    assert pixels(source) == [expected]
    assert kinds(source) == ["no_objects"]


@pytest.mark.parametrize(
    ("shape", "attributes", "kind"),
    [
        ('{"name":"point","cx":8,"cy":6}', '{"class":"cat"}', "no_box"),
        ('{"name":"rect","x":8,"y":6,"width":"?","height":1}', '{"class":"cat"}', "no_box"),
        ('{"name":"rect","x":8', '{"class":"cat"}', "no_box"),
        ("[" * 9000, '{"class":"cat"}', "no_box"),
        (
            '{"name":"rect","x":8,"y":6,"width":3,"height":1}',
            '{"size":"1","hue":"2"}',
            "unknown_class",
        ),
    ],
)
def test_regions_that_are_no_objects_are_counted(read, shape, attributes, kind):
    cells = [cell.replace('"', '""') for cell in (shape, attributes)]
    good = '"{""name"":""rect"",""x"":8,""y"":6,""width"":32,""height"":24}","{""class"":""cat""}"'
    source = read(f'{VIA}b.jpg,1,{{}},1,0,{good}\na.jpg,1,{{}},1,0,"{cells[0]}","{cells[1]}"\n')
    assert kinds(source)[:1] == [kind]
    assert verdict.judge(source).lost == {kind: 1}


REFUSED = {
    "an unknown image column": (
        "picture_of_it,xmin,ymin,xmax,ymax,class\na.jpg,1,2,3,4,cat",
        ["no column of the image", "picture_of_it, xmin, ymin"],
    ),
    "no class": ("image,xmin,ymin,xmax,ymax\na.jpg,1,2,3,4", ["the class", ",class=NAME"]),
    "half a box": ("image,xmin,ymin,class\na.jpg,1,2,cat", ["the box (xmax, ymax)"]),
    "no height": ("image,x,y,w,class\na.jpg,1,2,3,cat", ["the box (h)"]),
    "no box": ("image,class\na.jpg,cat", ["the box (xmin, ymin, xmax, ymax, or x, y, w, h)"]),
    "misspelt": (
        "image,xmin,ymin,xmaxx,ymax,class\na.jpg,1,2,3,4,cat",
        ["the box (xmax)", "Did you mean 'xmax'?"],
    ),
    "nothing known": (
        "bild,links,oben,rechts,unten,klasse\na.jpg,1,2,3,4,cat",
        ["the image", "the class", "the box", "bild, links"],
    ),
    "four corners": (
        "image,x1,y1,x2,y2,x3,y3,x4,y4,class\na.jpg,1,2,3,4,5,6,7,8,cat",
        ["more than two corners", "x3"],
    ),
    "one name twice": ("image,x,y,w,h,class,X\na.jpg,1,2,3,4,cat,5", ["2 columns 'x'"]),
    "a list of strings": ("image_id,PredictionString\na,cat 0.5 1 2 3 4", ["the class", "the box"]),
    "too many columns without names": ("a.jpg,1,2,3,4,cat,0.9\n", ["no header", "7 columns"]),
    "too few columns without names": ("a.jpg,1,2,3,4\n", ["no header", "5 columns"]),
    "class before the box without names": ("a.jpg,cat,1,2,3,4\n", ["no header"]),
    "YOLO with a file without names": ("a.jpg,0,0.5,0.5,0.25,0.5\n", ["no header"]),
    "blanks": ("a.jpg 1 2 3 4 cat\nb.jpg 1 2 3 4 cat\n", ["no column of the image"]),
    "corners or sizes": (
        "a.jpg,1,2,30,40,cat\nb.jpg,30,20,10,9,cat\na.jpg,3,2,30,40,cat\n",
        ["second corner or its size (1 of 3 boxes", "image,x,y,w,h,class"],
    ),
    "xmin, xmax, ymin, ymax without names": (
        "".join(f"a.jpg,{20 + i},{50 + i},{3 + i},{9 + i},cat\n" for i in range(9)),
        ["does not say"],
    ),
    "one list of four numbers": (
        'image,bbox,class\na.jpg,"[1, 2, 30, 40]",cat\n',
        ["call the column bbox_xyxy or bbox_xywh"],
    ),
    "a large object in the middle of each image": (
        "image,bbox,class\n" + 'a.jpg,"[12, 9, 40, 30]",cat\nb.jpg,"[11, 8, 38, 31]",cat\n' * 20,
        [
            "second corner or its size (0 of 40 boxes can be no corners, 0 of 40 no sizes)",
            "from 12, 9 to 40, 30, or from 12, 9 and 40 x 30 large",
            "bbox_xyxy or bbox_xywh",
        ],
    ),
    "a large object in the middle of each image without names": (
        "a.jpg,12,9,40,30,cat\nb.jpg,11,8,38,31,cat\n" * 20,
        [
            "0 of 40 no sizes",
            "image,xmin,ymin,xmax,ymax,class or image,x,y,w,h,class as first line",
        ],
    ),
    "a line that no size can be among many": (
        "a.jpg,12,9,40,30,cat\nb.jpg,11,8,38,31,cat\n" * 20 + "c.jpg,30,9,40,30,cat\n",
        ["1 of 41 no sizes"],
    ),
    "shares": (
        "image,xmin,ymin,xmax,ymax,class\n" + f"a.jpg,{SHARES},cat\n" * 2,
        [",units=shares"],
    ),
    "shares without names": (
        f"a.jpg,{SHARES},cat\na.jpg,0.5,0.5,0.75,0.75,cat\n",
        [",units=shares"],
    ),
    "shares that may be sizes": (f"a.jpg,{SHARES},cat\n", ["0 of 1 no sizes"]),
    "Open Images in pixels": (
        "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\na,cat,8,40,6,30,0",
        [",units=pixels"],
    ),
    "AutoML with few columns": ("TRAIN,gs://b/a.jpg,cat,0.1,0.1,0.5,0.5\n", ["11 columns"]),
    "commas in numbers between commas": (
        'image,xmin,ymin,xmax,ymax,class\na.jpg,"8,0","6,0","40,0","30,0",cat\n',
        ["may mean 8.0 or 80", "semicolons"],
    ),
    "thousands between commas, without a header": (
        'a.jpg,"1,024","1,006","1,040",1100,cat\n',
        ["may mean 1.024 or 1024"],
    ),
    "nothing": ("", ["is empty"]),
    "blank lines": ("\n \n,,,\n", ["is empty"]),
    "zero bytes": (b"\x00" * 400, ["no text"]),
    "an image": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)), ["boxes.csv"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_understood_is_refused(read, name):
    text, reasons = REFUSED[name]
    with pytest.raises(UserError) as caught:
        read(text)
    for reason in reasons:
        assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


HEAD = "image,xmin,ymin,xmax,ymax,class\na.jpg,8,6,40,30,cat\n"
LINES = {
    "an open quote": ('b.jpg,1,2,3,4,"cat\nb.jpg,8,6,40,30,cat', "broken_line"),
    "inches": ('b.jpg,8,6,40,30,19" cat', None),
    "a comma in a name": ("b, c.jpg,8,6,40,30,cat", "broken_line"),
    "another delimiter": ("b.jpg;8;6;40;30;cat", "broken_line"),
    "an underscore": ("b.jpg,1_0,6,40,30,cat", "broken_box"),
    "thousands": ('b.jpg,"1,234",6,40,30,cat', "broken_box"),
    "a decimal comma": ('b.jpg,"1,5",6,"40,5",30,cat', "broken_box"),
    "Arabic digits": ("b.jpg,٨,6,40,30,cat", "broken_box"),
    "a huge number": ("b.jpg,1e999,6,40,30,cat", "not_finite"),
    "numbers missing": ("b.jpg,,,,,cat", "broken_box"),
    "a class missing": ("b.jpg,8,6,40,30,", "unknown_class"),
    "a header again": ("image,xmin,ymin,xmax,ymax,class", "repeated_header"),
    "trailing commas": ("b.jpg,8,6,40,30,cat,,", None),
    "no finding": ("b.jpg,,,,,No finding", "no_objects"),
    "an image only": ("b.jpg", "no_objects"),
    "a long cell": ("b.jpg,8,6,40,30," + "x" * 200_000, "broken_line"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_costs_no_other(read, name):
    line, kind = LINES[name]
    source = read(f"{HEAD}{line}\nc.jpg,8,6,40,30,cat\n")
    assert pixels(source) == [BOX]
    assert pixels(source, len(source) - 1) == [BOX]
    assert kinds(source)[:1] == [kind] * (kind is not None)
    found = verdict.judge(source)
    lost = kind and kind not in ("no_objects", "repeated_header")
    assert found.read == 2 + bool(lost) + ("inches" in name or "trailing" in name) + (
        name == "an open quote"
    )
    assert sum(found.lost.values()) == bool(lost)


def twenty(contradicting):
    """Twenty lines of corners, some of them swapped."""
    lines = [f"a.jpg,{i},{i},{i + 20},{i + 15},cat" for i in range(20)]
    for i in range(contradicting):
        lines[7 * (i + 1) % 20] = f"b.jpg,{50 - i},30,{20 - i},9,dog"
    return "\n".join(lines)


def test_one_line_that_contradicts_is_refused_and_the_others_stay(read):
    source = read(twenty(1))
    assert [(p.kind, p.action, p.place.rsplit(":", 1)[-1]) for p in source.problems][:2] == [
        ("layout", "noted", source.problems[0].place.rsplit(":", 1)[-1]),
        ("swapped_corners", "refused", "8"),
    ]
    assert [len(truth) for truth in source.ground_truth()] == [19, 0]
    assert pixels(source)[0] == [0, 0, 15, 20]
    assert verdict.judge(source).classes_lost == {"dog": 1}


def test_many_lines_that_contradict_stop(read):
    with pytest.raises(UserError, match=r"\(5 of 20 boxes can be no corners, "):
        read(twenty(5))


def test_sizes_of_most_lines_are_those_of_all(read):
    source = read(
        "".join(f"a.jpg,{20 + i},{15 + i},{10 + i % 9},{20 - i},cat\n" for i in range(12))
    )
    assert pixels(source)[0] == [15, 20, 35, 30]
    assert "x, y, w, h" in source.problems[0].message


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([[20 + i, 15, 10, 9] for i in range(4)], [15, 20, 24, 30]),
        ([[i, i, 20 + i, 15 + i] for i in range(20)], [0, 0, 15, 20]),
    ],
)
def test_a_list_of_numbers_is_judged_over_the_file(read, boxes, expected):
    source = read("image,bbox,class\n" + "".join(f'a.jpg,"{box}",cat\n' for box in boxes))
    assert pixels(source)[0] == expected
    assert kinds(source) == ["layout"]


def test_wheat_heads_are_sizes_of_one_class(read):
    line = 'a,64,48,"[8.0, 6.0, 32.0, 24.0]",usask_1\n'
    source = read("image_id,width,height,bbox,source\n" + line, options=",class=wheat")
    assert (source.classes, pixels(source)) == (("wheat",), [BOX])


@pytest.mark.parametrize("unit", ["shares", "percent", "pixels"])
def test_the_user_states_the_unit(read, unit):
    scale = {"shares": SIZE, "percent": SIZE / 100, "pixels": [1, 1, 1, 1]}[unit]
    ymin, xmin, ymax, xmax = np.array(BOX) / scale
    source = read(
        f"image,xmin,ymin,xmax,ymax,class\na.jpg,{xmin},{ymin},{xmax},{ymax},cat",
        options=f",units={unit}",
    )
    assert pixels(source) == [BOX]


def test_numbers_as_classes_are_in_their_order(read):
    lines = "".join(f"a.jpg,{n},6,40,30,{n}.0\n" for n in (10, 2, 1))
    assert read("image,xmin,ymin,xmax,ymax,class\n" + lines).classes == ("1", "2", "10")


def test_a_group_of_open_images_is_a_crowd_with_its_described_class(read, tmp_path):
    (tmp_path / "class-descriptions-boxable.csv").write_text('/m/01,Cat\n/m/02,"Dog, small"\n')
    head = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n"
    source = read(f"{head}a,/m/01,0.1,0.2,0.1,0.2,1\na,/m/02,0.1,0.2,0.1,0.2,0\n")
    assert source.classes == ("Cat", "Dog, small")
    assert source.ground_truth()[0].crowd.tolist() == [True, False]
    assert len(data.load_source(f"csv:{tmp_path}")) == 1


SPLIT = "image,xmin,ymin,xmax,ymax,class,set\n" + "".join(
    f"{stem}.jpg,8,6,40,30,cat,{split}\n"
    for stem, split in zip("abc", ("train", "VALIDATION", "test"), strict=True)
)


@pytest.mark.parametrize(
    ("split", "expected"),
    [("train", ["a"]), ("val", ["b"]), ("test", ["c"]), ("", ["a", "b", "c"])],
)
def test_a_split_is_a_column(read, split, expected):
    source = read(SPLIT, split=split)
    assert [truth.image_id for truth in source.ground_truth()] == expected
    assert kinds(source) == ([] if split else ["all_splits"])


def test_a_split_that_is_not_there_is_named(read):
    with pytest.raises(UserError, match=r"no split 'tran' in .*Did you mean 'train'"):
        read(SPLIT, split="tran")


def test_of_several_files_the_split_names_one(read, tmp_path):
    read(HEAD, name="train_labels.csv")
    read(HEAD.replace("cat", "dog"), name="test_labels.csv")
    assert data.load_source(f"csv:{tmp_path}#train").classes == ("cat",)
    assert data.load_source(f"csv:{tmp_path}#test").classes == ("dog",)
    with pytest.raises(UserError, match=r"2 \.csv files: test_labels.csv, train_labels.csv"):
        data.load_source(f"csv:{tmp_path}")


def test_an_image_in_two_splits_is_refused(read):
    rows = ["a.jpg,8,6,40,30,cat,train", "./a.jpg,1,2,9,9,dog,val", "b.jpg,8,6,40,30,cat,train"]
    text = "\n".join(["image,xmin,ymin,xmax,ymax,class,split", *rows])
    source = read(text, split="train")
    assert [truth.image_id for truth in source.ground_truth()] == ["b"]
    (problem,) = source.problems
    assert (problem.kind, problem.action, problem.lost) == ("two_splits", "refused", ("cat",))
    assert "the split 'val'" in problem.message
    assert [len(truth) for truth in read(text).ground_truth()] == [2, 1]


def test_a_line_of_another_size_is_refused(read):
    head = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    source = read(head + "a.jpg,64,48,cat,8,6,40,30\na.jpg,128,96,dog,80,60,120,90\n")
    assert pixels(source) == [BOX]
    (problem,) = source.problems
    assert (problem.kind, problem.action, problem.lost) == ("other_size", "refused", ("dog",))
    assert problem.place.endswith(":3")
    assert "128x96" in problem.message
    assert "boxes.csv:2 64x48" in problem.message


def test_a_size_that_a_line_leaves_out_is_that_of_the_others(read):
    head = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    source = read(head + "a.jpg,,,cat,16,12,80,60\na.jpg,128,96,dog,80,60,120,90\n")
    assert pixels(source) == [BOX, [30, 40, 45, 60]]


@pytest.mark.parametrize("column", ["iscrowd", "difficult"])
def test_a_mark_that_says_neither_yes_nor_no_is_refused(read, column):
    head = f"image,xmin,ymin,xmax,ymax,class,{column}\n"
    source = read(head + "a.jpg,8,6,40,30,cat,maybe\na.jpg,1,1,9,9,cat,Yes\n")
    (problem,) = source.problems
    assert (problem.kind, problem.action, problem.lost) == ("broken_mark", "refused", ("cat",))
    assert "'maybe'" in problem.message
    (truth,) = source.ground_truth()
    assert [bool(truth.crowd[0]), bool(truth.difficult[0])] == [
        column == "iscrowd",
        column == "difficult",
    ]


def test_names_of_one_file_are_one_image(read):
    source = read(f"{HEAD}./a.jpg,1,1,9,9,cat\nA.jpg,2,2,9,9,cat\n")
    assert len(source) == 1
    assert len(pixels(source)) == 3


def test_images_of_one_stem_have_ids_that_differ(read, tmp_path):
    for place in ("left/a.jpg", "right/a.jpg", "right/c.jpg"):
        samples.picture(tmp_path / place)
    lines = [f"{name},30,6,40,30,cat" for name in ("left/a.jpg", "right/a.jpg", "right/c.jpg")]
    source = read("\n".join(lines))
    assert [truth.image_id for truth in source.ground_truth()] == ["left/a", "right/a", "c"]


def test_objects_of_an_image_that_is_missing_are_counted(read):
    source = read(HEAD + "gone.jpg,8,6,40,30,dog\ngone.jpg,9,6,40,30,dog\ngone.jpg,9,6,x,30,dog\n")
    found = verdict.judge(source)
    assert source.classes == ("cat",)
    assert (found.kept, found.lost) == (1, {"missing_image": 2, "broken_box": 1})
    assert found.images_lost == {"missing_image": 1}
    assert found.classes_lost == {"dog": 3}


def test_a_folder_with_a_comma_in_its_name(tmp_path):
    samples.picture(tmp_path / "a, b" / "pictures" / "a.jpg")
    (tmp_path / "a, b" / "boxes.csv").write_text(HEAD)
    folder = tmp_path / "a, b"
    source = data.load_source(f"csv:{folder}/boxes.csv,images={folder}/pictures")
    assert pixels(source) == [BOX]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (",image=x", "There is no option 'image'.*Did you mean 'images=DIR'"),
        (",units=share", "There is no unit 'share'.*Did you mean 'shares'"),
        (",images=nowhere", "There is no folder 'nowhere'"),
    ],
)
def test_misspelt_options_are_named(read, options, reason):
    with pytest.raises(UserError, match=reason):
        read(HEAD, options=options)
