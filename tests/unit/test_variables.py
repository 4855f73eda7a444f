"""What `${NAME}` stands for in visualpath.yaml, for vpctl."""

import os

import pytest
from click.testing import CliRunner

from visualpath.ctl.main import main
from visualpath.runtime.variables import Variables


@pytest.fixture
def variables(tmp_path, monkeypatch):
    """The variables beside a visualpath.yaml, with these lines in secrets.env."""

    def read(text=None):
        if text is not None:
            (tmp_path / "secrets.env").write_text(text)
        return Variables(tmp_path / "visualpath.yaml")

    monkeypatch.setenv("VP_HERE", "from the environment")
    return read


def test_the_environment_has_them(variables):
    assert variables()["VP_HERE"] == "from the environment"


@pytest.mark.parametrize(
    "line",
    [
        "VP_A=s3 cret", 'VP_A="s3 cret"', "VP_A='s3 cret'", "# mine\n  VP_A=s3 cret \n", "VP_A = s3 cret",
        'VP_A="s3 " "cret"', "VP_A='s3'\\ cret", "VP_A=s3\\\n cret",
    ],
)  # fmt: skip
def test_secrets_env_has_more_of_them_as_systemd_reads_it(variables, line):
    assert variables(line)["VP_A"] == "s3 cret"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'"x\$y\"z\q\\"', r'x$y"z\q' + "\\"),
        (r'un\quo\\ted "q"', r'unquo\ted "q"'),
        (r"""'si\ngle "d"'""", r'si\ngle "d"'),
        ('a"b"c', 'a"b"c'),
        ('"a"b"c"', 'ab"c"'),
        ('"two\nlines"', "two\nlines"),
        ("last#no comment; this", "last#no comment; this"),
        ("", ""),
    ],
)
def test_quotes_and_backslashes_are_systemds(variables, written, meant):
    """As systemd 252 gave them to a service: `systemd-run --pipe -p EnvironmentFile=... env -0`."""
    assert variables(f"VP_A={written}\nVP_B=1\n")["VP_A"] == meant


@pytest.mark.parametrize("text", ["#VP_A=1\n; VP_A=2\n", "# it goes on \\\nVP_A=1\n", "export VP_A=1"])
def test_a_comment_is_no_value(variables, text):
    assert "VP_A" not in variables(text)


def test_the_file_comes_before_the_environment_as_for_what_systemd_starts(variables):
    assert variables("VP_HERE=from the file")["VP_HERE"] == "from the file"


def test_a_name_that_nobody_knows_is_an_error(variables):
    with pytest.raises(KeyError):
        variables("VP_A=1")["VP_B"]


def test_a_name_that_nobody_knows_stands_for_itself_where_no_value_is_needed(tmp_path):
    assert Variables(tmp_path / "visualpath.yaml", needed=False)["VP_NO_SUCH"] == "${VP_NO_SUCH}"


@pytest.fixture
def withheld(variables, monkeypatch, tmp_path):
    """secrets.env may not be read; root could."""

    def refuse(path, *_args, **_options):
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(type(tmp_path), "read_text", refuse)
    return variables("VP_A=1")


def test_a_name_in_a_file_that_may_not_be_read_stands_for_itself(withheld, tmp_path):
    assert (withheld["VP_A"], withheld.withheld) == ("${VP_A}", tmp_path / "secrets.env")


def test_vpctl_reads_a_configuration_whose_secrets_lie_beside_it(write_config):
    path = write_config("streams: {cam1: {source: 'rtsp://u:${VP_CAM1}@camera/x'}}\nextractors: {face: {}}\n")
    path.with_name("secrets.env").write_text("VP_CAM1=s3cret\n")
    assert CliRunner().invoke(main, ["--config", str(path), "down"]).exit_code == 0
