"""Sphinx configuration: `make docs`."""

from importlib.metadata import version as installed_version

project = "isometry"
copyright = "2026, the isometry authors"
release = version = installed_version("isometry")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/**/*.ipynb", "gallery/**/*.py"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"isometry {release}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

# The examples train for minutes: they are shown here, and the tests run them.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "plot_gallery": False,
    "download_all_examples": False,
    "show_signature": False,
}
