"""The manifests of models: what they may say, and how they are told that they are wrong."""

import textwrap
from pathlib import Path

import pytest

import facemoment
from visualpath.core.errors import ConfigError, ModelError
from visualpath.models.manifest import installed_manifests, read_catalogue, read_manifest

GOOD = """
    models:
      net:
        needed_by: ["face: some"]
        licence: MIT
        licence_url: https://example.test/licence
        origin: https://example.test
        file: net.onnx
        size: 5
        sha256: "{}"
        urls: [https://example.test/net.onnx]
""".format("a" * 64)


@pytest.fixture
def manifest(tmp_path):
    def write(text, name="models.yaml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_a_model_has_the_name_of_its_key(manifest):
    assert read_manifest(manifest(GOOD))["net"].name == "net"


def test_a_single_file_is_what_lies_in_the_store(manifest):
    assert read_manifest(manifest(GOOD))["net"].files == {"net.onnx": (5, "a" * 64)}


def test_the_members_of_a_pack_are_what_lies_in_the_store(manifest):
    members = f'    members: {{a.onnx: {{size: 7, sha256: "{"b" * 64}"}}}}'
    model = read_manifest(manifest(GOOD.replace("net.onnx\n        size", f"net.zip\n    {members}\n        size")))[
        "net"
    ]
    assert (model.files, model.size_bytes) == ({"a.onnx": (7, "b" * 64)}, 7)


@pytest.mark.parametrize(
    ("change", "command"),
    [
        (("", ""), "vpctl models pull net"),
        (("sha256", "#"), "vpctl models pull net --trust"),
        (("urls: [", "how: make net #"), "vpctl models add FILE net"),
    ],
)
def test_the_command_that_brings_a_model(manifest, change, command):
    assert read_manifest(manifest(GOOD.replace(*change)))["net"].command == command


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("licence:", "license:"), 5, "models.net.license: unknown key; did you mean 'licence'?"),
        (("size: 5", "size: five"), 9, "models.net.size: Expected `int"),
        (("size: 5", "size: 0"), 9, "models.net.size: Expected `int` >= 1"),
        (("a" * 64, "A" * 64), 10, "models.net.sha256: Expected `str` matching regex"),
        (
            ("https://example.test/net.onnx", "file:///etc/passwd"),
            11,
            "models.net.urls.0: Expected `str` matching regex",
        ),
        (("https://example.test/net.onnx", "https://me:secret@example.test/n"), 11, "models.net.urls.0: Expected"),
        (("net.onnx\n", "../net.onnx\n"), 8, "models.net.file: Expected `str` matching regex"),
        (("net:", "../net:"), 3, "models.../net: a name has letters"),
        (("urls: [https://example.test/net.onnx]", "urls: []"), 3, "models.net: lacks urls (or how:"),
        (("models:", "model:"), 2, "model: unknown key; a manifest has `models:` alone"),
        (("net.onnx\n", "net.onnx\n        members: {a.onnx: {size: 1, sha256: x}}\n"), 9, "models.net.members"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(manifest, change, line, message):
    path = manifest(GOOD.replace(*change, 1))
    with pytest.raises(ConfigError) as error:
        read_manifest(path)
    assert str(error.value).startswith(f"{path}:{line}: {message}")


def test_all_that_an_entry_lacks_is_told_at_once(manifest):
    path = manifest("models: {net: {licence: MIT, file: net.onnx}}")
    with pytest.raises(ConfigError) as error:
        read_manifest(path)
    lacking = "needed_by, licence_url, origin, urls (or how: the command that makes its file)"
    assert str(error.value) == f"{path}:1: models.net: lacks {lacking}"


def test_the_manifest_of_the_page_for_authors_can_be_read(manifest):
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    [text] = [block for block in page.split("```yaml\n")[1:] if block.startswith("models:")]
    (model,) = read_manifest(manifest(text.partition("```")[0])).values()
    assert (model.command, model.checksummed) == ("vpctl models pull lamp-net", True)


def test_a_manifest_that_cannot_be_used_hides_no_other(manifest):
    catalogue = read_catalogue([manifest("models: 5", "bad.yaml"), manifest(GOOD)])
    assert (list(catalogue.models), len(catalogue.problems)) == (["net"], 1)


def test_the_same_model_in_two_manifests_is_one(manifest):
    assert read_catalogue([manifest(GOOD, "a.yaml"), manifest(GOOD, "b.yaml")]).problems == []


def test_another_model_of_the_same_name_is_left_out_and_told(manifest):
    catalogue = read_catalogue([manifest(GOOD, "a.yaml"), manifest(GOOD.replace("size: 5", "size: 6"), "b.yaml")])
    assert catalogue.models["net"].size == 5
    assert "net is another model in a manifest before it" in catalogue.problems[0]


def test_an_unknown_model_is_told_with_the_nearest(manifest):
    with pytest.raises(ModelError, match="no manifest has a model 'nett'; did you mean 'net'"):
        read_catalogue([manifest(GOOD)]).find("nett")


def test_an_unknown_model_is_told_with_what_is_wrong_with_manifests(manifest):
    with pytest.raises(ModelError, match=r"bad\.yaml.*must be models by name"):
        read_catalogue([manifest("models: 5", "bad.yaml")]).find("net")


def test_a_package_is_found_without_being_imported(install_plugins, monkeypatch):
    folder = install_plugins("[visualpath.models]\nheavy = heavy\n", heavy="raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(folder)
    (heavy,) = [problem for problem in installed_manifests()[1] if problem.startswith("heavy")]
    assert heavy == "heavy: there is no models.yaml beside heavy; install it again"


def test_facemoments_manifest_can_be_read():
    models = read_manifest(Path(facemoment.__file__).with_name("models.yaml"))
    assert {"buffalo_l", "enet_b0_8_best_vgaf", "yolo11n-pose"} <= set(models)
