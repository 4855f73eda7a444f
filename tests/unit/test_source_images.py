"""A folder of pictures as a source."""

import wave
from itertools import islice

import av
import numpy as np
import pytest
import simplejpeg

from visualbase import jpeg
from visualbase.errors import SourceError
from visualbase.sources import open_source
from visualbase.sources.synthetic import Pattern, draw, read_number

GROUND = Pattern(width=128, height=112).ground()


def numbered(number):
    return jpeg.encode(draw(GROUND, number, 0))


def write(path, number):
    """The picture in the format of the path's suffix."""
    if path.suffix == ".jpg":
        path.write_bytes(numbered(number))
        return
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        codec = {".png": "png", ".bmp": "bmp", ".tiff": "tiff"}[path.suffix]
        out = container.add_stream(codec, rate=1)
        out.width, out.height, out.pix_fmt = 128, 112, "bgr24" if codec == "bmp" else "rgb24"
        container.mux(out.encode(av.VideoFrame.from_ndarray(draw(GROUND, number, 0), format="rgb24")))
        container.mux(out.encode())


def numbers(source, limit=100):
    pictures = islice(source.pictures(), limit)
    return [read_number(jpeg.decode(p.jpeg, width_at_least=None, pixel_format="gray")) for p in pictures]


@pytest.fixture
def folder(tmp_path):
    """1.jpg, 2.jpg, 10.jpg and 11.jpg, each showing its own number."""
    for number in (1, 2, 10, 11):
        write(tmp_path / f"{number}.jpg", number)
    return tmp_path


def test_pictures_come_in_natural_order(folder):
    assert numbers(open_source(str(folder))) == [1, 2, 10, 11]


def test_jpegs_are_handed_on_byte_by_byte(folder):
    found = [picture.jpeg for picture in open_source(str(folder)).pictures()]
    assert found == [numbered(number) for number in (1, 2, 10, 11)]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_other_formats_are_read_too(tmp_path, suffix):
    write(tmp_path / f"7{suffix}", 7)
    assert numbers(open_source(str(tmp_path))) == [7]


def test_a_folder_has_10_pictures_a_second(folder):
    assert [p.t_ns for p in open_source(str(folder)).pictures()] == [0, 10**8, 2 * 10**8, 3 * 10**8]


def test_an_address_says_how_many_a_second(folder):
    source = open_source(f"images://{folder}?fps=2.5")
    assert ([p.t_ns for p in source.pictures()][1], source.info.fps) == (400_000_000, 2.5)


def test_a_pattern_names_some_of_them(folder):
    assert numbers(open_source(f"images://{folder}/1*.jpg")) == [1, 10, 11]
    assert numbers(open_source(f"{folder}/?.jpg")) == [1, 2]


def test_an_address_may_be_percent_encoded(tmp_path):
    (tmp_path / "a b").mkdir()
    write(tmp_path / "a b" / "1.jpg", 1)
    assert numbers(open_source(f"images://{tmp_path}/a%20b")) == [1]


def test_a_file_with_a_wildcard_in_its_name_is_that_file(tmp_path):
    write(tmp_path / "[1].jpg", 5)
    assert numbers(open_source(str(tmp_path / "[1].jpg"))) == [5]


def test_what_is_no_picture_and_what_is_hidden_is_left_alone(folder):
    (folder / "notes.txt").write_text("hello")
    (folder / ".3.jpg").write_bytes(numbered(3))
    (folder / "4.jpg").mkdir()
    source = open_source(str(folder))
    assert (numbers(source), source.dropped["damaged"]) == ([1, 2, 10, 11], 0)


@pytest.mark.parametrize("damage", [b"", b"no picture", numbered(2)[:-300]], ids=["empty", "text", "cut short"])
def test_a_damaged_picture_is_counted_and_the_others_keep_their_times(folder, damage):
    (folder / "2.jpg").write_bytes(damage)
    source = open_source(str(folder))
    assert [p.t_ns for p in source.pictures()] == [0, 2 * 10**8, 3 * 10**8]
    assert source.dropped["damaged"] == 1


def test_a_picture_that_has_gone_is_counted(folder):
    source = open_source(str(folder))
    (folder / "10.jpg").unlink()
    assert (numbers(source), source.dropped["damaged"]) == ([1, 2, 11], 1)


def test_sizes_may_differ(folder):
    (folder / "3.jpg").write_bytes(jpeg.encode(np.zeros((48, 64, 3), np.uint8)))
    sizes = [(p.width, p.height) for p in open_source(str(folder)).pictures()]
    assert sizes == [(128, 112), (128, 112), (64, 48), (128, 112), (128, 112)]


def with_orientation(data, orientation):
    exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0" % orientation
    return data[:2] + exif + data[2:]


def test_a_jpeg_that_lies_on_its_side_is_turned_upright(tmp_path):
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(np.rot90(draw(GROUND, 9, 0))), 90, "rgb", "420")
    (tmp_path / "1.jpg").write_bytes(with_orientation(data, 6))
    assert numbers(open_source(str(tmp_path))) == [9]


def test_a_jpeg_that_exif_calls_upright_is_handed_on(tmp_path):
    (tmp_path / "1.jpg").write_bytes(with_orientation(numbered(9), 1))
    assert [picture.jpeg for picture in open_source(str(tmp_path)).pictures()] == [with_orientation(numbered(9), 1)]


def test_a_photo_with_a_film_behind_it_is_read(tmp_path):
    (tmp_path / "1.jpg").write_bytes(numbered(9) + b"\0\0\0\x18ftypmp42" + numbered(3)[2:500])
    assert numbers(open_source(str(tmp_path))) == [9]


def test_what_a_pattern_names_and_has_no_picture_in_it_is_counted(folder):
    with wave.open(str(folder / "3.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    source = open_source(f"{folder}/*")
    assert (numbers(source), source.dropped["damaged"]) == ([1, 2, 10, 11], 1)


def test_a_picture_too_large_for_a_jpeg_is_counted(folder):
    with av.open(str(folder / "3.png"), "w", format="image2", options={"update": "1"}) as container:
        out = container.add_stream("png", rate=1)
        out.width, out.height, out.pix_fmt = 65_504, 4, "gray"
        container.mux(out.encode(av.VideoFrame.from_ndarray(np.zeros((4, 65_504), np.uint8), format="gray")))
        container.mux(out.encode())
    source = open_source(str(folder))
    assert (numbers(source), source.dropped["damaged"]) == ([1, 2, 10, 11], 1)


@pytest.mark.parametrize("made_first", ["1.jpg", "01.jpg"])
def test_names_of_the_same_number_come_in_the_same_order_everywhere(tmp_path, monkeypatch, made_first):
    listed = [made_first, *({"1.jpg", "01.jpg"} - {made_first})]
    for name, number in (("1.jpg", 1), ("01.jpg", 2)):
        (tmp_path / name).write_bytes(numbered(number))
    monkeypatch.setattr("os.listdir", lambda _: listed)
    assert numbers(open_source(str(tmp_path))) == [2, 1]


def test_a_loop_goes_on_in_time(folder):
    source = open_source(str(folder), loop=True)
    assert [p.t_ns for p in islice(source.pictures(), 10)] == [n * 10**8 for n in range(10)]


def test_a_loop_whose_pictures_have_gone_is_an_error(folder):
    pictures = open_source(str(folder), loop=True).pictures()
    next(pictures)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(SourceError, match="none of its 4 pictures can be read"):
        list(pictures)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("{}", "no pictures there"),
        ("{}/*.jpg", "no pictures there"),
        ("images://{}/gone", "no such folder"),
        ("images://host/folder", "'host' is another host"),
        ("images://{}?fps=0", "Expected `float` >= 0.001"),
        ("images://{}?rate=5", "unknown field `rate`"),
        ("images://{}?fps=5&fps=6", "a key stands there twice"),
    ],
)
def test_a_wrong_address_is_refused_with_the_reason(tmp_path, address, said):
    with pytest.raises(SourceError, match=said):
        open_source(address.format(tmp_path))


def test_a_folder_of_damaged_pictures_is_refused(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"none")
    with pytest.raises(SourceError, match="none of its 1 pictures can be read"):
        open_source(str(tmp_path))
