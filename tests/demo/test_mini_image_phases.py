"""The demo's own builder of images is heard as diskimage-builder is."""

from tests.builders.workshop import Heard
from trellis.builders.dib_log import DibLog
from trellis.demo import mini_image


def test_its_phases_are_seen(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(mini_image, "_PHASE_S", 0.0)
    assert 0 == mini_image.main(["-t", "raw", "-o", str(tmp_path / "x"), "debian-minimal"])

    heard = Heard()
    log = DibLog(heard)
    for line in capsys.readouterr().out.splitlines():
        log.line(line)

    phases = ["root", "extra-data", "pre-install", "install", "post-install", "cleanup"]
    assert ["elements", *phases, "converting"] == heard.phases
