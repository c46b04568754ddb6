"""Every page of the gallery runs, draws pictures, and finds its own claims true."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from c_files import needs_compiler

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
if not GALLERY.is_dir():
    pytest.skip("the documentation is not here", allow_module_level=True)

MARKS = {
    "plot_18_web_service": pytest.mark.filterwarnings("default"),  # those of the packages
    "plot_19_microcontroller": needs_compiler,
}
PAGES = [
    pytest.param(path, id=path.stem, marks=MARKS.get(path.stem, ()))
    for path in sorted(GALLERY.glob("plot_*.py"))
]


def test_there_are_pages() -> None:
    assert len(PAGES) >= 19


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")  # of plt.show
def test_a_page_runs_and_draws(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.stem == "plot_18_web_service":
        pytest.importorskip("fastapi")
    import matplotlib
    from matplotlib.animation import Animation

    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.delenv("CNN_EXT_GALLERY", raising=False)
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context({"savefig.dpi": 30}):
        from matplotlib import pyplot as plt

        plt.switch_backend("agg")
        plt.close("all")  # those of a page that failed
        page = runpy.run_path(str(path))
        pictures = [plt.figure(number) for number in plt.get_fignums()]
        for value in page.values():
            if isinstance(value, Animation):
                assert "<img" in value.to_jshtml()  # which draws every frame
        for picture in pictures:
            picture.draw_without_rendering()
        plt.close("all")
    assert pictures
    assert all(picture.axes for picture in pictures)
