"""How Sphinx makes the site of the documentation: ``sphinx-build -W --keep-going docs build/site``.

The examples of the gallery are shown without being run, but with ``-D plot_gallery=1``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

sys.path.insert(0, str(Path(__file__).parents[1]))

from cnn_ext import __version__

HERE = Path(__file__).parent
SOURCES = "https://github.com/cnn-ext/cnn_ext/blob/main/"

project = "cnn_ext"
release = version = __version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
]
exclude_patterns = ["gallery"]  # what is made of it is in `auto_examples`
suppress_warnings = ["config.cache"]

has_gallery = any((HERE / "gallery").glob("plot_*.py"))
if has_gallery:
    extensions.append("sphinx_gallery.gen_gallery")
    sphinx_gallery_conf = {
        "examples_dirs": "gallery",
        "gallery_dirs": "auto_examples",
        "within_subsection_order": "FileNameSortKey",
        "matplotlib_animations": True,
        "capture_repr": (),
        "remove_config_comments": True,
        "plot_gallery": False,
        "abort_on_example_error": True,
        "download_all_examples": False,
        "show_memory": False,
    }

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the sections of the docstrings say it
default_role = "py:obj"
templates_path = ["_templates"]
numpydoc_show_class_members = False  # the template of a class shows them
#: what is wrong wherever it stands: sections and parameters that are not as they are called
numpydoc_validation_checks = {"GL06", "GL07", "GL09", "SS04", "PR02", "PR05", "PR10"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "cnn_ext"
html_static_path = ["_static"]
html_css_files = ["site.css"]
SIDE_BY_SIDE = ("from-pytorch", "from-keras", "from-sklearn")  # which need the whole width
html_sidebars = {page: [] for page in ("quickstart", "tutorial", *SIDE_BY_SIDE)}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "github_url": "https://github.com/cnn-ext/cnn_ext",
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "navbar_align": "left",
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        **{page: [] for page in SIDE_BY_SIDE},
    },
}


#: pages of the navigation that not every checkout has
OPTIONAL = {"auto_examples/index": has_gallery, "report": (HERE / "report.md").exists()}


def prepare(app: Sphinx, name: str, text: list[str]) -> None:
    """Leave out pages that are not there.

    Links out of this folder lead to the repository, and where a link's text is the name of a file
    its title stands on the site.
    """
    if name == "index":
        for page, is_there in OPTIONAL.items():
            text[0] = text[0] if is_there else text[0].replace(f"{page}\n", "")
    elif app.env.doc2path(name).suffix == ".md":
        text[0] = re.sub(r"\]\(\.\./", f"]({SOURCES}", text[0])
        text[0] = re.sub(r"\[[\w-]+\.md\]\((?=[\w-]+\.md)", "[](", text[0])


def read_switch(app: Sphinx, config: Config) -> None:
    """Take ``-D plot_gallery=1``, which is text, as the switch that sphinx-gallery declares."""
    if has_gallery and isinstance(config.plot_gallery, str):
        config.plot_gallery = config.plot_gallery == "1"


def setup(app: Sphinx) -> None:
    app.connect("config-inited", read_switch, priority=1)
    app.connect("source-read", prepare)
