"""Sphinx's settings for the documentation site; build.py puts the sources together and runs it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import rekur

project = "rekur"
copyright = "the rekur developers, Apache-2.0"
release = version = rekur.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference"]
root_doc = "index"
include_patterns = [
    "index.md", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**", "cpp/examples/README.md",
    "examples/browser/README.md", "bindings/rust/README.md",
]  # fmt: skip
exclude_patterns = ["docs/conf"]
nitpicky = True  # a reference to what is not there is a warning, and warnings are errors
default_role = "code"
language = "en"

# Pages: Markdown that GitHub shows as well.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

# The reference: signatures without annotations, since the sections of the docstrings say types in words.
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
autodoc_mock_imports = ["torch", "jax", "jaxlib", "flax", "equinox"]
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
add_module_names = False

html_theme = "furo"
html_title = f"rekur {release}"
html_static_path = ["static"]
html_css_files = ["rekur.css"]
html_favicon = "static/favicon.svg"
html_copy_source = html_show_sourcelink = False
html_show_sphinx = False
html_last_updated_fmt = None
html_theme_options = {
    "sidebar_hide_name": False,
    "light_css_variables": {"color-brand-primary": "#0b5fa5", "color-brand-content": "#0b5fa5"},
    "dark_css_variables": {"color-brand-primary": "#7cbcf5", "color-brand-content": "#7cbcf5"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
